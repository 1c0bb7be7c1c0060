"""Numbers from a hand-made predictions.csv, and refusals that name the line."""

import csv

import numpy as np
import pytest

from jaxbrain.errors import DataError
from jaxbrain.scoring import intervals, scores


def write(folder, rows, groups=None):
    groups = groups or {f"no/{i}": i for i in range(40)}
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "group"], *groups.items()])
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([scores.COLUMNS, *rows])
    return folder / "predictions.csv", folder / "images.csv", 0.25, ("cnn",)


def cell(protocol, generator, hits, seed=0, classifier="ridge", synthetic=0, labels="true"):
    """Rows of label 1 that are right (p 0.9) or wrong (0.2); the last ones synthetic."""
    rows = []
    for i, hit in enumerate(hits):
        real = i < len(hits) - synthetic
        own = [f"no/{i}", "real", i % 2] if real else [f"synthetic/{i}", "synthetic", ""]
        head = [protocol, generator, classifier, labels, seed, 0]
        rows.append([*head, *own, 1, 0.9 if hit else 0.2])
    return rows


def test_cells_and_leaks(tmp_path):
    upper = [1] * 18 + [0] * 2
    lower = [1] * 12 + [0] * 8
    rows = cell("P0", "linear", upper, synthetic=10)
    for seed in range(2):
        rows += cell("P2", "linear", upper, seed) + cell("P3", "linear", lower, seed)
        rows += cell("P3", "none", upper, seed)
    found = scores.scores(*write(tmp_path, rows))
    zero, two, three, without = found["cells"]
    assert (zero["accuracy"], zero["accuracy_real"], zero["accuracy_synthetic"]) == (0.9, 1.0, 0.8)
    assert (zero["n"], zero["n_real"], zero["interval_kind"]) == (20, 10, "wilson")
    assert zero["interval"] == list(intervals.wilson(18, 20))
    assert (two["interval_kind"], two["n"]) == ("clustered bootstrap", 40)
    # Two seeds of the same answers: 20 clusters, no more.
    spread = np.sqrt(0.9 * 0.1 / 20)
    assert two["interval"][1] - two["interval"][0] == pytest.approx(3.9 * spread, rel=0.35)
    assert three["accuracy_twin"] == 0.6
    assert three["accuracy_by_seed"] == [0.6, 0.6]
    by_name = {row["leak"]: row for row in found["leaks"]}
    assert set(by_name) == {"L3+L4", "synthesis"}
    assert by_name["L3+L4"]["difference"] == pytest.approx(0.3)
    low, high = by_name["L3+L4"]["interval"]
    # The same 6 of 20 images decide in both seeds.
    assert 0.05 < low < 0.15
    assert 0.45 < high < 0.55
    assert by_name["synthesis"]["difference"] == pytest.approx(-0.3)
    (compared,) = found["comparisons"]
    assert compared["first"] == ["linear", "ridge"]
    assert compared["mcnemar_p_by_seed"] == [2 / 2**6] * 2
    assert compared["corrected_t_p"] == 0.0
    assert without["metrics"]["recall"] == 0.9


def test_beside_a_gan_floors_are_not_compared_with_files(tmp_path):
    hits = [1, 0] * 10
    rows = []
    for classifier in ("ridge", "cnn"):
        rows += cell("P3", "cgan", hits, classifier=classifier)
        rows += cell("P3", "none", hits[::-1], classifier=classifier)
    found = scores.scores(*write(tmp_path, rows))
    assert [(r["classifier"], r["leak"]) for r in found["leaks"]] == [("cnn", "synthesis")]
    pairs = [(c["first"], c["second"]) for c in found["comparisons"]]
    assert (["cgan", "cnn"], ["none", "cnn"]) in pairs
    assert (["cgan", "ridge"], ["none", "ridge"]) not in pairs


def test_other_tests_are_not_paired(tmp_path):
    rows = cell("P3", "linear", [1] * 10) + cell("P3", "none", [1] * 12)
    assert scores.scores(*write(tmp_path, rows))["comparisons"] == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({10: "1.5"}, "line 2: a label"),
        ({10: "nan"}, "line 2: a label"),
        ({9: "2"}, "line 2: a label"),
        ({6: "no/99"}, "line 2: 'no/99'"),
        ({4: "x"}, "line 2: invalid literal"),
    ],
)
def test_refuses(tmp_path, change, message):
    row = cell("P3", "none", [1])[0]
    for place, value in change.items():
        row[place] = value
    with pytest.raises(DataError, match=message):
        scores.scores(*write(tmp_path, [row]))


def test_refuses_other_columns_and_nothing(tmp_path):
    arguments = write(tmp_path, [])
    with pytest.raises(DataError, match="no predictions"):
        scores.scores(*arguments)
    arguments[0].write_text("a,b\n")
    with pytest.raises(DataError, match="columns"):
        scores.scores(*arguments)
