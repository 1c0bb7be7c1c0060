"""Table 4 on one footing: what a row says, and rows whose trainings are all missing."""

import io

import pytest
from parsed import EVIL, written
from PIL import Image
from rich.console import Console

from jaxbrain import quoted
from jaxbrain.reports import table4 as report
from jaxbrain.reports.page import markdown
from jaxbrain.runs import figures


def cell(accuracy: float, interval=None, auroc=0.9):
    return {"accuracy": accuracy, "interval": interval, "auroc": auroc}


@pytest.fixture
def results():
    compared = dict.fromkeys(("p_value", "p_value_holm", "difference", "seconds"))
    rows = [
        {"name": "cnn_lstm_rows", "P0": cell(0.95, [0.9, 1.0]), "P3": cell(0.7), **compared},
        {"name": "my_$method", "P0": cell(0.5, auroc=None), "P3": None, **compared},
    ]
    rows[0] |= {"p_value": 0.04, "p_value_holm": 0.08, "difference": -0.125, "seconds": 3.0}
    for row in rows:
        row["quoted"], row["quoted_what"] = quoted.quoted(row["name"])
    return {
        "split": "kfold",
        "seeds": 1,
        "folds": 5,
        "generator": "none",
        "reference": None,
        "left_out": [],
        "seconds_of_generator": None,
        "data": {"source": "folder", "found": {"no": 4, "yes": 6}},
        "groups": {"total": 10, "no": 4, "yes": 6},
        "audit": dict(distinct=10, near_pairs=0, across_classes=0, flipped_pairs=0),
        "rows": rows,
    }


def test_rows(results):
    page = markdown(report.page(results)).replace("\\", "")
    quoted_row = (
        "| cnn_lstm_rows | 99.1 | the paper: 119 of 120, half of them synthetic (P0) | "
        "95.0 (90.0..100.0) | 0.900 | 70.0 | 0.900 | -12.5 | 0.040 (0.080) | 3.0 |"
    )
    assert quoted_row in page.splitlines()
    own = "| my_$method | - | not in the paper | 50.0 | - | - | - | - | - | - |"
    assert own in page.splitlines()
    console = Console(file=io.StringIO(), width=80)
    report.show(console, results)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "my_$method" in text
    words = set(text.replace("│", " ").split())
    assert {"99.1", "95.0", "(90.0..100.0)", "0.900", "-12.5", "0.040", "(0.080)", "3.0"} <= words
    # The numbers stand before what a quoted figure was.
    assert text.index("0.040") < text.index("half of")


def test_names_are_text(results, tmp_path):
    results["rows"][1]["name"] = EVIL
    results["left_out"] = [{"name": EVIL, "why": EVIL}]
    written(tmp_path, report.page(results), EVIL)


def test_picture(results, tmp_path):
    figure = report.picture(results)
    (axis,) = figure.axes
    drawn = [(one.get_text(), one.get_position()[1]) for one in axis.texts]
    # Over the bar and its interval; a row without an answer has no bar.
    assert [text for text, _ in drawn] == ["99.1", "95.0", "70.0", "50.0"]
    assert all(place > top for (_, place), top in zip(drawn, (99.1, 100, 70, 50), strict=True))
    assert [name.get_text() for name in axis.get_xticklabels()] == ["cnn_lstm_rows", r"my_\$method"]
    figures.save(figure, tmp_path / "table4.png")
    with Image.open(tmp_path / "table4.png") as picture:
        assert picture.size == (1400, 1000)


def test_quoted_figures():
    assert quoted.quoted("vgg16_scratch")[0] == quoted.TABLE4["vgg16_transfer"].accuracy == 96.0
    assert "without them" in quoted.quoted("vgg16_scratch")[1]
    assert quoted.quoted("cnn_lstm_vector") == quoted.quoted("cnn_lstm")
    for name in ("cnn", "cnn_lstm_both", "cnn_lstm_of_my_own"):
        assert quoted.quoted(name) == (None, "not in the paper")
    assert [row.accuracy for row in quoted.TABLE4.values()] == [94.0, 89.6, 96.0, 98.3, 99.1]
    assert quoted.PAPER_ACCURACY == 119 / 120
