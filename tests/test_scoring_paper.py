"""The entries of results.json from a hand-made predictions.csv."""

import csv

import numpy as np
import pytest

from jaxbrain.errors import DataError
from jaxbrain.quoted import PAPER_ACCURACY
from jaxbrain.scoring import intervals, paper, scores

KEYS = (
    "seed confusion matrix accuracy accuracy_real accuracy_synthetic num_test num_test_real metrics"
)
SUMMARY = (
    "num_seeds accuracy accuracy_sd accuracy_min accuracy_max interval interval_kind num_test "
    "paper_accuracy paper_inside_range paper_inside_interval accuracy_real accuracy_synthetic"
)


def write(folder, rows, classes=("no", "yes")):
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "group"], *([f"{i}.png", i] for i in range(30))])
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([scores.header(classes), *rows])
    return folder / "predictions.csv", folder / "images.csv"


def table3(seed, tp, fp, fn, tn, protocol="P0", labels="true", classifier="cnn_lstm_rows"):
    """One row an image; the first half of each count real, the other synthetic."""
    rows = []
    for label, p, count in ((1, 0.8, tp), (0, 0.8, fp), (1, 0.3, fn), (0, 0.3, tn)):
        for i in range(count):
            own = [f"{i}.png", "real", 0] if 2 * i < count else [f"synthetic/{i}", "synthetic", ""]
            head = [protocol, "cgan", classifier, labels, seed, 0, *own]
            rows.append([*head, label, p, 1 - p, p])
    return rows


def test_one_seed(tmp_path):
    rows = (
        table3(3, 12, 2, 4, 10)
        + table3(3, 1, 1, 1, 1, "P3")
        + table3(3, 1, 1, 1, 1, "P0", "shuffled")
    )
    found = paper.results(*write(tmp_path, rows))
    (seed,) = found["seeds"]
    assert list(seed) == KEYS.split()
    assert seed["confusion"] == {"tp": 12, "fp": 2, "fn": 4, "tn": 10}
    assert seed["matrix"] == [[10, 2], [4, 12]]
    assert (seed["seed"], seed["num_test"], seed["num_test_real"]) == (3, 28, 14)
    assert seed["accuracy"] == 22 / 28
    assert seed["accuracy_real"] == seed["accuracy_synthetic"] == 11 / 14
    assert seed["metrics"]["recall"] == 12 / 16
    assert seed["metrics"]["precision"] == 12 / 14
    assert seed["metrics"]["auroc"] == pytest.approx(
        (12 * 10 + 0.5 * (12 * 2 + 4 * 10)) / (16 * 12)
    )
    assert "brier" not in seed["metrics"]
    summary = found["summary"]
    assert set(summary) == set(SUMMARY.split())
    assert summary["interval"] == list(intervals.wilson(22, 28))
    assert (summary["interval_kind"], summary["accuracy_sd"]) == ("wilson", None)
    assert summary["paper_accuracy"] == PAPER_ACCURACY
    assert not summary["paper_inside_range"] and not summary["paper_inside_interval"]


def test_the_interval_is_that_of_the_study_and_extra_is_merged(tmp_path):
    rows = [row for seed in range(3) for row in table3(seed, 10 + seed, 2, 4 - seed, 12)]
    files = write(tmp_path, rows)
    extra = {0: {"accuracy_fresh": 0.5, "gan": {"last": 1}}, 2: {"accuracy_fresh": 0.75}}
    found = paper.results(*files, extra)
    (cell,) = scores.scores(*files, 0.25)["cells"]
    summary = found["summary"]
    assert summary["interval"] == cell["interval"]
    assert summary["interval_kind"] == cell["interval_kind"] == "clustered bootstrap"
    assert summary["accuracy"] == pytest.approx(cell["accuracy"])
    assert summary["accuracy"] == pytest.approx(np.mean([22, 23, 24]) / 28)
    assert summary["accuracy_sd"] == pytest.approx(1 / 28)
    assert summary["accuracy_fresh"] == 0.625
    assert found["seeds"][0]["gan"] == {"last": 1} and "gan" not in found["seeds"][1]
    assert (summary["num_seeds"], summary["num_test"]) == (3, 28)


def test_three_classes_have_a_matrix_alone(tmp_path):
    head = ["P0", "mine", "yours", "true", 0, 0]
    rows = [
        [*head, f"{i}.png", "real", 0, label, *np.eye(3)[guess]]
        for i, (label, guess) in enumerate([(0, 0), (1, 2), (2, 2), (2, 2)])
    ]
    (seed,) = paper.results(*write(tmp_path, rows, ("a", "b", "c")))["seeds"]
    assert seed["matrix"] == [[1, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert "confusion" not in seed
    assert (seed["accuracy"], seed["accuracy_synthetic"]) == (0.75, None)


@pytest.mark.parametrize(
    "rows, count",
    [
        (table3(0, 1, 1, 1, 1, "P3"), 0),
        (table3(0, 1, 1, 1, 1) + table3(0, 1, 1, 1, 1, classifier="ridge"), 2),
    ],
)
def test_refuses_no_or_several_cells(tmp_path, rows, count):
    with pytest.raises(DataError, match=f"{count} pairs of a generator and a classifier"):
        paper.results(*write(tmp_path, rows))
