"""The paper's tables show what they are given."""

import io

import numpy as np
from rich.console import Console

from jaxbrain.reports import paper as report


def printed(table) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_table_3_has_the_papers_orientation():
    """Predicted classes in rows, tumour first: TP 60, FP 1 / FN 0, TN 59."""
    text = printed(report.confusion_table(np.array([[59, 1], [0, 60]]), ("no", "yes")))
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert rows == [["yes", "60", "1", "61"], ["no", "0", "59", "59"], ["sum", "60", "60", "120"]]


def test_table_4_quotes_the_paper_and_ours():
    text = printed(report.comparison_table(0.85, (0.8, 0.9), "phantoms"))
    for value in ("94.0", "89.6", "96.0", "98.3", "99.1", "85.00", "80.00 .. 90.00"):
        assert value in text


def test_any_name_of_a_class_can_be_drawn(tmp_path):
    report.confusion_figure(tmp_path / "c.png", np.eye(2), ("$x_{$", "HGG\udcff"))
    assert (tmp_path / "c.png").stat().st_size > 1000
