"""The ladder's page and figure from scores, whatever the methods and classes are called."""

import csv
import io

import numpy as np
import pytest
from parsed import EVIL, written
from PIL import Image
from rich.console import Console

from jaxbrain.reports import ladder as report
from jaxbrain.reports import ladder_figures
from jaxbrain.reports.page import markdown
from jaxbrain.runs import figures
from jaxbrain.scoring import scores

CLASSES = ("a|b", "c", "$d_{")
OWN = "my_module:[b]own[/b]@50"


def rows(protocol, generator, classifier, wrong, seed=0, labels="true"):
    """Thirty images of three classes; the first `wrong` are called another class."""
    found = []
    for i in range(30):
        p = np.full(3, 0.1)
        p[(i + (i < wrong)) % 3] = 0.8
        head = [protocol, generator, classifier, labels, seed, 0, f"{i}.png", "real", i % 2]
        found.append([*head, i % 3, *p])
    return found


@pytest.fixture
def results(tmp_path):
    """Two seeds; one training of the cell without synthesis is missing."""
    every = []
    for seed in range(2):
        for protocol, wrong in (("P0", 2), ("P1", 4), ("P2", 6), ("P3", 9)):
            every += rows(protocol, OWN, "cnn_x", wrong, seed)
        every += rows("P3", OWN, "other", 12, seed)
    every += rows("P3", "none", "cnn_x", 15) + rows("P0", OWN, "cnn_x", 20, labels="shuffled")
    every += rows("P3", "none", "other", 3)
    with (tmp_path / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "group"], *([f"{i}.png", i] for i in range(30))])
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([scores.header(CLASSES), *every])
    files = tmp_path / "predictions.csv", tmp_path / "images.csv"
    other_view = [[OWN, "other"]]
    audit = dict(distinct=30, near_pairs=0, across_classes=0, flipped_pairs=0)
    return scores.scores(*files, 0.25, other_view) | {
        "split": "holdout",
        "seeds": 2,
        "folds": 1,
        "other_view": other_view,
        "data": {"source": "folder", "found": dict.fromkeys(CLASSES, 10)},
        "groups": dict.fromkeys(CLASSES, 10) | {"total": 30},
        "audit": audit,
    }


def test_page(results):
    page = markdown(report.page(results))
    plain = page.replace("\\", "")
    # P0, P1, P2, P3, without synthesis, shuffled under P0 and P3.
    line = next(line for line in plain.splitlines() if line.startswith("| cnn_x | my"))
    shown = [cell.split()[0] for cell in line.strip("| ").split(" | ")][2:]
    assert shown == ["93.3", "86.7", "80.0", "70.0", "50.0", "33.3", "-"]
    # Seen otherwise beside synthetic images: no cell without synthesis in its row.
    line = next(line for line in plain.splitlines() if line.startswith("| other | my"))
    assert [cell.split()[0] for cell in line.strip("| ").split(" | ")][5:7] == ["60.0", "-"]
    assert "P3, cnn_x + none (true labels): 1 of 2 trainings; the others are missing" in plain
    assert plain.count("the others are missing") == 3
    assert "| cnn_x + none | 1 of 2 | +20.0 |" in plain
    # Names as they are: brackets, pipes and stars are escaped.
    assert "my\\_module:\\[b\\]own\\[/b\\]@50" in page and "a\\|b" in page
    assert [leak["leak"] for leak in results["leaks"] if leak["classifier"] == "other"] == []


def test_names_are_text(results, tmp_path):
    """Of classes and methods, in every file of the report."""
    results["data"]["found"] = {EVIL: 10, "c": 10, "d": 10}
    results["groups"][EVIL] = results["groups"]["d"] = 10
    for cell in results["cells"]:
        cell["classifier"] = cell["classifier"].replace("other", EVIL)
    written(tmp_path, report.page(results), EVIL)


def test_other_view_may_be_missing(results):
    del results["other_view"]
    line = next(
        line
        for line in markdown(report.page(results)).replace("\\", "").splitlines()
        if line.startswith("| other | my")
    )
    assert [cell.split()[0] for cell in line.strip("| ").split(" | ")][5:7] == ["60.0", "90.0"]


def test_console_and_picture(results, tmp_path):
    console = Console(file=io.StringIO(), width=80)
    report.show(console, results)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    found = set(text.replace("│", " ").split())
    assert "L2        P0 - P1" in text and "+6.7" in found
    for cell in results["cells"]:
        low, high = (f"{100 * value:.1f}" for value in cell["interval"])
        assert {f"{100 * cell['accuracy']:.1f}", f"({low}..{high})"} <= found
    # The summary comes first, in a few lines.
    lines = text.splitlines()
    assert lines[0].startswith("run       images: 10 a|b, 10 c, 10 $d_{, in 30 groups of copies;")
    table = next(i for i, line in enumerate(lines) if line.startswith("┏"))
    assert table < 20 and "highest of 4, other" in text.replace("\n          ", " ")
    warned = [line for line in lines if line.startswith("warning")]
    assert len(warned) == 3 and "1 of 2 trainings" in text
    figures.save(ladder_figures.picture(results), tmp_path / "ladder.png")
    with Image.open(tmp_path / "ladder.png") as picture:
        assert picture.width == 2400


def test_outside_data_has_a_column(results):
    """Only where a method knows other images; the others say none."""
    assert "outside data" not in markdown(report.page(results))
    known = {results["cells"][0]["classifier"]: "ImageNet"}
    page = markdown(report.page(results | {"outside": known}))
    tables = [line for line in page.splitlines() if line.startswith("| classifier | generator |")]
    assert "| outside data |" in tables[0]
    plain = page.replace("\\", "")
    row = next(line for line in plain.splitlines() if line.startswith("| cnn_x |"))
    assert "| ImageNet |" in row
    assert report.outside(results | {"outside": known}, "another") == ["none"]
