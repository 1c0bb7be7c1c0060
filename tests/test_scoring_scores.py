"""Numbers from a hand-made predictions.csv, and refusals that name the line."""

import csv

import numpy as np
import pytest

from jaxbrain.errors import DataError
from jaxbrain.scoring import intervals, scores


def write(folder, rows, classes=("no", "yes")):
    groups = {f"no/{i}": i for i in range(40)}
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "group"], *groups.items()])
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([scores.header(classes), *rows])
    return folder / "predictions.csv", folder / "images.csv", 0.25


def cell(protocol, generator, hits, seed=0, classifier="ridge", synthetic=0, labels="true"):
    """Rows of label 1 that are right (p 0.9) or wrong (0.2); the last ones synthetic."""
    rows = []
    for i, hit in enumerate(hits):
        real = i < len(hits) - synthetic
        own = [f"no/{i}", "real", i % 2] if real else [f"synthetic/{i}", "synthetic", ""]
        head = [protocol, generator, classifier, labels, seed, 0]
        p = 0.9 if hit else 0.2
        rows.append([*head, *own, 1, p, 1 - p, p])
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


def test_other_views_of_real_images_are_not_compared(tmp_path):
    hits = [1, 0] * 10
    rows = []
    for classifier in ("ridge", "cnn"):
        rows += cell("P3", "cgan", hits, classifier=classifier)
        rows += cell("P3", "none", hits[::-1], classifier=classifier)
    found = scores.scores(*write(tmp_path, rows), [["cgan", "ridge"]])
    assert [(r["classifier"], r["leak"]) for r in found["leaks"]] == [("cnn", "synthesis")]
    pairs = [(c["first"], c["second"]) for c in found["comparisons"]]
    assert (["cgan", "cnn"], ["none", "cnn"]) in pairs
    assert (["cgan", "ridge"], ["none", "ridge"]) not in pairs


def test_other_tests_are_not_paired(tmp_path):
    rows = cell("P3", "linear", [1] * 10) + cell("P3", "none", [1] * 12)
    assert scores.scores(*write(tmp_path, rows))["comparisons"] == []


def test_a_seed_that_one_cell_lacks_is_left_out_of_what_is_compared(tmp_path):
    """Seed 1 of the cell without synthesis is missing, where the other cell is wrong."""
    rows = cell("P3", "linear", [1] * 20) + cell("P3", "linear", [0] * 20, seed=1)
    rows += cell("P3", "none", [1] * 15 + [0] * 5) + cell("P2", "linear", [1] * 20, seed=1)
    found = scores.scores(*write(tmp_path, rows))
    own, without, upper = found["cells"]
    assert (own["accuracy"], own["accuracy_by_seed"], own["seeds"]) == (0.5, [1.0, 0.0], [0, 1])
    assert (own["num_tests"], without["num_tests"], upper["seeds"]) == (2, 1, [1])
    leaks = {row["leak"]: row for row in found["leaks"]}
    assert (leaks["synthesis"]["difference"], leaks["synthesis"]["num_seeds"]) == (0.25, 1)
    low, high = leaks["synthesis"]["interval"]
    # Five of the 20 images of one seed.
    assert 0.0 < low < 0.15 and 0.35 < high < 0.55
    assert leaks["L3+L4"]["difference"] == 1.0
    (compared,) = found["comparisons"]
    assert compared["difference"] == 0.25
    assert (compared["num_tests"], compared["num_tests_of_one"]) == (1, 1)
    assert (compared["mcnemar_p_by_seed"], compared["corrected_t_p"]) == ([2 / 2**5], None)


def test_cells_without_a_seed_in_common_are_not_compared(tmp_path):
    rows = cell("P3", "linear", [1] * 9) + cell("P3", "none", [1] * 9, seed=1)
    found = scores.scores(*write(tmp_path, rows))
    assert (found["leaks"], found["comparisons"], len(found["cells"])) == ([], [], 2)


def test_a_fold_that_one_classifier_lacks(tmp_path):
    rows = []
    for fold in range(3):
        for classifier, hits in (("a", [1, 1, 1, 0]), ("b", [1, 0, 0, 0])):
            if (classifier, fold) != ("b", 2):
                some = cell("P3", "none", hits, classifier=classifier)
                rows += [[*row[:5], fold, *row[6:]] for row in some]
    (compared,) = scores.scores(*write(tmp_path, rows))["comparisons"]
    assert (compared["difference"], compared["num_tests"]) == (0.5, 2)
    assert compared["mcnemar_p_by_seed"] == [2 / 2**4]
    assert compared["corrected_t_p"] == 0.0


CLASSES = ("glioma", "none", "pituitary")


def three(labels, chosen, told, classifier="any:thing"):
    """Rows of three classes (or of the probe's two), each called `chosen`."""
    rows = []
    for i, (guess, label) in enumerate(zip(chosen, told, strict=True)):
        p = ["", "", ""]
        count = 2 if labels == "origin" else 3
        p[:count] = [0.1] * count
        p[guess] = 1.0 - 0.1 * (count - 1)
        head = ["P3", "own@50", classifier, labels, 0, 0, f"no/{i}", "real", 0]
        rows.append([*head, label, *p])
    return rows


def test_three_classes_and_the_probe(tmp_path):
    rows = three("true", [0, 1, 2, 2, 1, 0], [0, 1, 2, 2, 2, 1])
    rows += three("origin", [0, 1, 1, 0], [0, 1, 0, 0])
    plain, probe = scores.scores(*write(tmp_path, rows, CLASSES))["cells"]
    assert plain["accuracy"] == pytest.approx(4 / 6)
    assert plain["interval"] == list(intervals.wilson(4, 6))
    assert plain["metrics"]["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    assert "recall" not in plain["metrics"]
    assert probe["accuracy"] == 0.75
    assert (probe["metrics"]["recall"], probe["metrics"]["specificity"]) == (1.0, 2 / 3)
    assert probe["metrics"]["brier"] == pytest.approx((3 * 0.1**2 + 0.9**2) / 4)
    read = scores.read(tmp_path / "predictions.csv", {f"no/{i}": i for i in range(9)})
    shapes = [one.p.shape for one in read.values()]
    assert shapes == [(6, 3), (4, 2)]


def test_ties_are_class_0_of_two_and_the_first_of_more(tmp_path):
    head = ["P3", "none", "x", "true", 0, 0, "no/1", "real", 0]
    two = scores.scores(*write(tmp_path, [[*head, 0, 0.5, 0.5, 0.5]]))
    # In float32 a softmax of equals can miss one half on one side alone.
    near = scores.scores(*write(tmp_path, [[*head, 0, 0.5, 0.49999997, 0.5]]))
    more = scores.scores(*write(tmp_path, [[*head, 1, 0.2, 0.4, 0.4]], CLASSES))
    assert [found["cells"][0]["accuracy"] for found in (two, near, more)] == [1.0, 1.0, 1.0]


def test_columns():
    assert scores.header(("no", "yes"))[10:] == ["p", "p_no", "p_yes"]
    assert scores.header(CLASSES)[10:] == ["p_glioma", "p_none", "p_pituitary"]
    assert scores.header(CLASSES)[:10] == list(scores.COLUMNS)


@pytest.mark.parametrize(
    "change, message",
    [
        ({10: "1.5", 12: "1.5", 11: "-0.5"}, "predictions.csv, line 2: p .* from 0 to 1"),
        ({10: "nan", 12: "nan"}, "line 2: p .* from 0 to 1"),
        ({10: "nan"}, "line 2: p nan: expected that of class 1, 0.9"),
        ({10: "0.8"}, "line 2: p 0.8: expected that of class 1, 0.9"),
        ({11: "0.2"}, "line 2: p .* the sum is 1.1, expected 1"),
        ({11: ""}, "line 2: could not convert"),
        ({9: "2"}, "line 2: label 2: expected 0 to 1"),
        ({9: "-1"}, "line 2: label -1"),
        ({6: "no/99"}, "line 2: id 'no/99' is not in images.csv"),
        ({4: "x"}, "line 2: invalid literal"),
    ],
)
def test_refuses(tmp_path, change, message):
    row = cell("P3", "none", [1])[0]
    for place, value in change.items():
        row[place] = value
    with pytest.raises(DataError, match=message):
        scores.scores(*write(tmp_path, [row]))


def test_refuses_rows_of_another_number_of_classes(tmp_path):
    with pytest.raises(DataError, match="line 3: 12 values: expected 13"):
        scores.scores(
            *write(tmp_path, [row[:n] for row in cell("P3", "none", [1]) for n in (13, 12)])
        )
    probe = three("origin", [0], [0])
    probe[0][12] = "0.1"
    with pytest.raises(DataError, match="line 2: p .* expected 2 probabilities"):
        scores.scores(*write(tmp_path, probe, CLASSES))


@pytest.mark.parametrize("columns", [("a", "b"), (*scores.COLUMNS, "p", "p_no"), ()])
def test_refuses_other_columns(tmp_path, columns):
    arguments = write(tmp_path, [])
    arguments[0].write_text(",".join(columns) + "\n")
    with pytest.raises(DataError, match="columns"):
        scores.scores(*arguments)


def test_refuses_nothing(tmp_path):
    with pytest.raises(DataError, match="no predictions"):
        scores.scores(*write(tmp_path, []))


def test_one_test_with_copies_in_it_takes_the_bootstrap():
    """Ten answers of one group are not ten; another source's images are drawn apart."""
    group = np.repeat([0, 1, 2, 3], 10)
    count = len(group)
    zeros, names = np.zeros(count, int), np.array([f"{i}" for i in range(count)])
    right = group != 0
    p = np.where(right[:, None], [0.9, 0.1], [0.2, 0.8])
    key = ("P4", "none", "ridge", "true")
    one = scores.Answers(zeros, zeros, group, names, zeros, zeros, p)
    (cell,), draws = scores.cells({key: one})
    assert (cell["accuracy"], cell["interval_kind"]) == (0.75, "clustered bootstrap")
    assert set(np.round(4 * draws[key])) <= {0, 1, 2, 3, 4}
    alone = one._replace(group=np.arange(count))
    (cell,), _ = scores.cells({key: alone})
    assert cell["interval_kind"] == "wilson"
    own = {("P3", *key[1:]): alone._replace(fold=np.arange(count) % 2)}
    before = scores.cells(own)[0]
    assert scores.cells(own | {key: one._replace(group=group + count)})[0][0] == before[0]


def test_what_each_generator_is_worth(tmp_path):
    """Against real images alone and against the same without its filter, under P2 and P3; p
    values adjusted over a protocol's rows."""
    rng, rows = np.random.default_rng(0), []
    modes = {"a": {"unfiltered": ""}, "a@filtered": {"unfiltered": "a"}}
    right = {"none": 0.6, "a": 0.7, "a@filtered": 0.95}
    for seed in range(4):
        for generator, share in right.items():
            for protocol in ("P1", "P2", "P3"):
                hits = rng.random(40) < share
                rows += cell(protocol, generator, hits, seed) if protocol != "P1" else []
                rows += cell(protocol, generator, hits, seed, "other")
    arguments = write(tmp_path, rows)
    assert "worth" not in scores.scores(*arguments)
    found = scores.scores(*arguments, [["a@filtered", "other"]], modes)["worth"]
    named = [(r["protocol"], r["classifier"], r["generator"], r["against"]) for r in found]
    pairs = [("a", "none"), ("a@filtered", "none"), ("a@filtered", "a")]
    assert set(named) == {
        (protocol, classifier, *pair)
        for protocol in ("P2", "P3")
        for classifier in ("ridge", "other")
        for pair in pairs
        if (classifier, pair) != ("other", pairs[1])
    }
    by_name = dict(zip(named, found, strict=True))
    one = by_name["P3", "ridge", "a@filtered", "a"]
    answers = scores.read(arguments[0], scores.read_groups(arguments[1]))
    first, second = (answers["P3", name, "ridge", "true"].hit for name in ("a@filtered", "a"))
    gaps = (1.0 * first - second).reshape(4, 40).mean(axis=1)
    assert one["difference"] == pytest.approx(gaps.mean())
    assert one["interval"][0] < gaps.mean() < one["interval"][1]
    assert one["corrected_t_p"] == pytest.approx(intervals.corrected_t(gaps, 0.25))
    for protocol in ("P2", "P3"):
        own = [row for row in found if row["protocol"] == protocol]
        adjusted = intervals.holm([row["corrected_t_p"] for row in own])
        assert [row["corrected_t_p_holm"] for row in own] == adjusted
