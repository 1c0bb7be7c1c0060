"""Figures by what is in them, and the files they become."""

import io
import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxbrain.quoted import TABLE4
from jaxbrain.reports import ablations, canvas, ladder_figures, paper_figures, progress, search
from jaxbrain.runs import figures
from jaxbrain.scoring import calibration


def texts(figure) -> list[str]:
    return [one.get_text() for axis in figure.axes for one in axis.texts]


def events(seeds: int = 2, held_out: bool = False) -> list[dict]:
    found = []
    for seed in range(seeds):
        for step in (5, 10):
            gan = {"discriminator_loss": 1.5, "generator_loss": 0.5, "real_score": 0.6}
            gan |= {"fake_score": 0.4, "frechet_thumbnail": 2.0 / step, "sample_spread": 0.1}
            gan |= {"real_spread": 0.15 + seed, "frechet_halves": 0.05}
            gan |= {"kid_held_out": -0.1, "real_kid": 0.0} if held_out else {}
            found.append({"training": "gan", "seed": seed, "step": step} | gan)
            of = {"training": "classifier", "seed": seed, "step": step}
            found.append(of | {"loss": 0.7, "accuracy": 0.5 + step / 40})
    return found


def test_progress_has_every_curve_and_its_reference():
    figure = progress.progress_figure(events(), {0: 0.625, 1: 0.5, 7: 0.9})
    titles = [axis.get_title() for axis in figure.axes]
    assert len(titles) == 6 and all(titles)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.lines for axis in figure.axes)
    frechet = figure.axes[titles.index("GAN: thumbnail Frechet distance")]
    assert frechet.get_yscale() == "log"
    curve, other, *references = frechet.lines
    assert curve.get_xydata().tolist() == [[5, 0.4], [10, 0.2]]
    assert [set(line.get_ydata()) for line in references] == [{0.05}, {0.05}]
    shown = [text.get_text() for text in frechet.get_legend().get_texts()]
    assert shown == ["synthetic images", "real images: one half to the other"]
    # A test's accuracy at the end of its seed's training; seed 7 has none here.
    tests = figure.axes[titles.index("Classifier: accuracy")].lines[-1]
    assert tests.get_xydata().tolist() == [[10, 62.5], [10, 50.0]]


def test_progress_of_a_run_that_has_begun():
    """Panels of what there is, none empty."""
    assert progress.progress_figure([]) is None
    gan = [event for event in events(1, held_out=True) if event["training"] == "gan"]
    figure = progress.progress_figure(gan[:1])
    assert len(figure.axes) == 5 and "KID" in figure.axes[-1].get_title()
    assert all(axis.lines for axis in figure.axes)
    for event in gan:  # A set beside itself: no logarithm of 0.
        event["frechet_thumbnail"] = event["frechet_halves"] = 0.0
    assert progress.progress_figure(gan).axes[2].get_yscale() == "linear"


def test_confusion_has_predicted_rows_and_means():
    """Two seeds, true class in rows: the figure has predicted ones there, the last first."""
    matrices = [[[50, 10], [16, 44]], [[40, 20], [4, 56]]]
    figure = paper_figures.confusion_figure(matrices, ("no", "yes"))
    axis = figure.axes[0]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("predicted class", "true class")
    for names in (axis.get_yticklabels(), axis.get_xticklabels()):
        assert [text.get_text() for text in names] == ["yes", "no"]
    wanted = ["50.0\n83.3 %", "15.0\n25.0 %", "10.0\n16.7 %", "45.0\n75.0 %"]
    assert texts(figure) == wanted
    assert "mean of 2 seeds" in axis.get_title()
    one = paper_figures.confusion_figure(matrices[:1], ("no", "yes"))
    assert texts(one)[0] == "44\n73.3 %" and one.axes[0].get_title() == "Test set"


def test_any_name_of_a_class_can_be_drawn(tmp_path):
    names = ("$x_{$", "HGG\udcff", "肿瘤", "a" * 50, *map(str, range(12)))
    figure = paper_figures.confusion_figure([np.eye(16)], names)
    assert not texts(figure)
    figures.save(figure, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


SEEDS = [
    {"accuracy": 0.75, "accuracy_real": 0.8, "accuracy_synthetic": 0.7},
    {"accuracy": 0.85, "accuracy_real": 0.9, "accuracy_synthetic": 0.8},
]


def test_phantoms_are_not_drawn_beside_the_paper():
    summary = {"interval": [0.7, 0.9]}
    own = paper_figures.comparison_figure(summary, SEEDS, phantoms=True)
    assert len(own.axes[0].patches) == 3 and texts(own) == ["mean 80.0", "mean 85.0", "mean 75.0"]
    assert "Phantoms, not brain images" in own.axes[0].get_title()
    named = [tick.get_text().replace("\n", " ") for tick in own.axes[0].get_xticklabels()]
    assert named == [f"this run: {what}" for what in ("all tested", "real half", "synthetic half")]
    figure = paper_figures.comparison_figure(summary, SEEDS, phantoms=False)
    axis = figure.axes[0]
    assert len(axis.patches) == len(TABLE4) + 3
    assert texts(figure)[:5] == [f"{row.accuracy:.1f}" for row in TABLE4.values()]
    assert "not to be compared" in axis.get_title()
    # Every value stands over its bar, its interval and its dots.
    tops = [94.0, 89.6, 96.0, 98.3, 99.1, 90.0, 90.0, 80.0]
    assert all(one.get_position()[1] > top for one, top in zip(axis.texts, tops, strict=True))
    alone = [SEEDS[0] | {"accuracy_synthetic": None}]
    figure = paper_figures.comparison_figure(summary, alone, phantoms=True)
    assert texts(figure) == ["75.0", "80.0"]


def test_roc_names_every_part():
    curve = [0.0, 0.5, 1.0], [0.0, 1.0, 1.0]
    found = {"seeds": [curve] * 2, "mean": [[0.0, 0.0], [1.0, 1.0]], "auroc": [0.75, 0.25]}
    figure = paper_figures.roc_figure({"all tested": found}, "yes")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "all tested: AUROC 0.500 (seeds 0.250 to 0.750)"
    ]
    assert len(figure.axes[0].lines) == 2 + 1 + 1


def test_reliability_has_what_was_answered():
    bins = calibration.reliability(
        np.float32([[0.1, 0.9], [0.42, 0.58], [0.45, 0.55]]), np.int32([1, 1, 0])
    )
    half = {"bins": bins, "ece": 0.125, "n": 3}
    figure = paper_figures.reliability_figure({"real half": half})
    upper, lower = figure.axes
    curve = upper.lines[0].get_xydata()
    np.testing.assert_allclose(curve, [[56.5, 50.0], [90.0, 100.0]], atol=1e-5)
    assert [bar.get_height() for bar in lower.patches] == [0] * 5 + [2, 0, 0, 1, 0]
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "real half: calibration error 0.125, n = 3"


def ladder(protocols, leaks=()) -> dict:
    cells = [
        {
            "protocol": protocol,
            "generator": "linear",
            "classifier": name,
            "labels": "true",
            "accuracy": 0.75,
            "interval": [0.5, 0.875],
        }
        for protocol in protocols
        for name in ("a_$x", "b")
    ]
    keys = "leak", "classifier", "generator", "difference", "interval"
    return {
        "cells": cells,
        "leaks": [dict(zip(keys, one, strict=True)) for one in leaks],
        "data": {"found": {"no": 10, "yes": 10}},
        "external": None,
    }


def test_a_ladder_without_leaks_has_one_panel():
    figure = ladder_figures.picture(ladder(["P0", "P3"]))
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == [r"a_\$x + linear", "b + linear"]
    assert texts(figure) == ["75.0"] * 4 and "%" in axis.get_xlabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["guessing, 50 %", "P0", "P3"]


def test_a_ladder_has_the_columns_that_it_has():
    leaks = [("L2", "b", "linear", 0.125, [0.0, 0.25]), ("L1", "b", "linear", -0.125, None)]
    figure = ladder_figures.picture(ladder(["P0", "P1", "P3"], leaks))
    left, right = figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["P0", "P1", "P3"]
    assert [text.get_text() for text in right.get_yticklabels()] == [
        "L1  b + linear",
        "L2  b + linear",
    ]
    assert [bar.get_width() for bar in right.patches] == [-12.5, 12.5]
    assert "points" in right.get_xlabel()


def test_many_methods_are_told_apart():
    assert len({tuple(canvas.style(i).values()) for i in range(49)}) == 49


def test_ablations_in_a_figure_and_in_the_terminal():
    row = {"ablation": "GAN", "setting": "with", "protocol": "P3", "accuracy": 0.5, "n": 62}
    rows = [row | {"interval": [0.25, 0.75]}, row | {"setting": "without", "interval": None}]
    data = {"found": {"no": 10, "yes": 10}}
    results = {"rows": rows, "data": data, "generator": "cgan", "seeds": 1}
    figure = ladder_figures.ablation_picture(results)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["GAN: with", "GAN: without"] and texts(figure) == ["50.0", "50.0"]
    console = Console(file=io.StringIO(), width=80)
    ablations.show(console, results)
    assert "50.0 (25.0..75.0)" in console.file.getvalue()


def test_a_search_has_its_legend_below():
    cell = {"accuracy": 0.75, "interval": [0.5, 0.875]}
    arms = [{"name": n, "inner": cell, "outer": cell, "chosen": 1} for n in ("a", "b")]
    one = {"labels": "true", "arms": arms, "chosen": cell, "naive": {"arm": "b"}}
    figure = search.picture({"searches": [one], "data": {"found": {"no": 4, "yes": 6}}})
    shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "a, chosen 1 times" in shown and "nested, 75.0 % (band: 95 %)" in shown


def small():
    drawn, (axis,) = canvas.new_figure(2.5, 2.0)
    axis.plot([0, 1], [1, 0], label="a curve")
    axis.set(title="A title", xlabel="step")
    canvas.legend_below(drawn, axis)
    return drawn


@pytest.fixture
def figure():
    return small()


def test_a_figure_is_written_in_every_format(figure, tmp_path):
    figures.save(figure, tmp_path / "a.png", ("pdf", "svg"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == round(200 * figure.get_figwidth())
    root = xml.parse(tmp_path / "a.svg").getroot()  # noqa: S314  (our own)
    assert root.tag.endswith("svg") and len(list(root.iter())) > 100
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.") and pdf.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1 and b"/Subtype /Type3" not in pdf
    figures.save(figure, tmp_path / "b.png")
    assert not (tmp_path / "b.pdf").exists()


def test_the_same_figure_has_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        figures.save(small(), tmp_path / f"{name}.png", canvas.FORMATS)
    for kind in canvas.FORMATS:
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("a", "b"))
        assert one == two, kind
