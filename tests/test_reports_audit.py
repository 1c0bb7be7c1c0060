"""An audit's texts and pictures from saved numbers alone, whatever they hold."""

import io

import numpy as np
import pytest
from parsed import EVIL, written
from PIL import Image
from rich.console import Console

from jaxbrain.reports import audit as report
from jaxbrain.reports.page import markdown


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def one(value, *interval) -> dict:
    return {"value": value, "interval": list(interval) or None}


def results() -> dict:
    judged = {name: one(0.5, 0.25, 0.75) for name in report._JUDGED}
    judged["frechet"] |= {"n_over_dim": 12.0}
    top = {name: one(0.125, 0.0, 0.5) for name in report.TOP}
    attack = one(0.6, 0.4, 0.8) | {
        "tpr_at": one(0.05, 0.0, 0.2),
        "control": one(0.9, 0.8, 0.95),
        "positives": 30,
        "negatives": 20,
        "roc": [[0.0, 0.0], [0.5, 0.75], [1.0, 1.0]],
    }
    copies = one(0.125, 0.0, 0.5) | {
        "count": 1,
        "synthetic": 8,
        "held_out": 20,
        "threshold": 0.0625,
        "expected": 0.048,
        "authentic": one(0.9, 0.8, 1.0),
        "worst": [{"file": "a|b.png", "nearest": "x_1.png", "distance": 0.03125, "copied": 1}],
    }
    counts = {"found": {"no": 3, "yes": 5}, "left_out": {"a copy": 2}, "used": 6}
    about = {"kind": "folders", "synthetic": "/a", "training": "/b", "held-out": "/c"}
    return top | {
        "top_features": "texture",
        "top_membership": "distance",
        "about": about,
        "counts": dict.fromkeys(("synthetic", "training", "held-out"), counts),
        "warnings": ["few <images>"],
        "features": {"texture": judged | {"real": judged}},
        "variety": {"synthetic": one(0.9, 0.8, 0.95)},
        "copies": copies,
        "membership": {"distance": attack},
    }


def test_numbers_with_their_intervals():
    assert report.measured(None) == report.measured(one(None)) == "-"
    assert report.measured(one(0.5)) == "0.500"
    assert report.measured(one(-0.25, -0.5, 1 / 3)) == "-0.250 (-0.500..0.333)"
    # Kernel distances of what is no image.
    assert report.measured(one(697945047.877, 1.0, 7e8)) == "6.979e+08 (1..7e+08)"


def test_the_page_says_what_was_measured():
    page = markdown(report.page(results()))
    for words in (
        "| copied\\_fraction | 0.125 (0.000..0.500) |",
        "synthetic (/a): 3 no, 5 yes, 2 a copy; 6 compared",
        "- few \\<images\\>",
        "1 of 8 synthetic images are at most 0.0625 from a training image",
        "| a\\|b.png | x\\_1.png | 0.0312 | yes |",
        "| distance | 0.600 (0.400..0.800) | 0.050 (0.000..0.200) | 0.900 (0.800..0.950) | 30 / 20",
        "No number here shows that synthetic images are anonymous or safe to share",
    ):
        assert words in page, words
    for word in ("guarantee", "private", "safe to publish"):
        assert word not in page.replace("safe to share", "")
    run = results() | {"about": {"kind": "run", "run": "/r", "seed": 1, "checkpoint": {"step": 9}}}
    assert "run /r, seed 1, step 9" in markdown(report.page(run))


def test_names_are_text(tmp_path):
    found = results()
    found["copies"]["worst"][0]["file"] = EVIL
    found["counts"]["training"] = found["counts"]["training"] | {"found": {EVIL: 1}}
    found["warnings"] = [EVIL]
    written(tmp_path, report.page(found), EVIL)


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (9, 32, 32, 1), np.uint8)
    other = image[::-1].copy()
    distance = np.linspace(1.0, 0.2, 9)
    report.pairs(tmp_path / "pairs.png", image, other, distance)
    drawn = opened(tmp_path / "pairs.png")
    # The nearest is the last, then its training image: cells of 3 x 32 pixels and 2 of gap.
    margin = drawn.shape[1] - 8 * 98
    cells = [drawn[2:98, margin + c * 98 : margin + c * 98 + 96] for c in range(8)]
    for cell, wanted in zip(cells, (image[8], other[8], image[7], other[7]), strict=False):
        assert (cell == np.kron(wanted[..., 0], np.ones((3, 3), np.uint8))).all()
    label = np.int32([0, 1] * 4 + [0])
    sets = {"synthetic": (image, label), "training": (other[label == 0], label[label == 0])}
    report.sheet(tmp_path / "sheet.png", sets, ("no", "yes"))
    # A set without images of a class has no row of it.
    high, wide = opened(tmp_path / "sheet.png").shape
    assert high == 3 * 98 + 2 and 40 < wide - 5 * 98 < 120
    found = {"synthetic": distance, "held-out": distance / 2}
    left, right = report.curves(results(), found).axes
    assert left.lines[0].get_xydata().tolist() == [[0.0, 0.0], [0.5, 0.75], [1.0, 1.0]]
    shown = [[one.get_text() for one in axis.get_legend().get_texts()] for axis in (left, right)]
    assert shown[0][0] == "distance, AUROC 0.600 (0.400..0.800)"
    assert shown[1] == ["synthetic", "held-out", "copied at or below"]


@pytest.mark.parametrize("width", [80, 100])
def test_the_end_of_an_audit_fits_the_terminal(width):
    console = Console(file=io.StringIO(), width=width)
    report.show(console, results())
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith("run       images compared: 6 synthetic, 6 training, 6 held-out\n")
    assert "warning   few <images>" in text
    for words in ("0.125 (0.000..0.500)", "(0.250..0.750)", "12.0", "copied_fraction", "30 / 20"):
        assert words in text, words
    assert text.rstrip().splitlines()[-2].startswith("│")
