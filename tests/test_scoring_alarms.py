"""Warnings of a run on itself, from counts alone."""

import numpy as np
import pytest
import scipy.stats

from jaxbrain.scoring import alarms, metrics

NAMES = "no", "yes"


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[0, 21], [0, 19]], "it answers yes to 40 of 40 images, 21 of which are not"),
        # Two others of forty are a few; three are not.
        ([[2, 19], [0, 19]], "it answers yes to 38 of 40 images, 19 of which are not"),
        ([[3, 18], [0, 19]], ""),
        ([[18, 3], [2, 17]], ""),
        # Nearly all images are of this class: so are the answers of a good classifier.
        ([[97, 0], [0, 3]], ""),
        ([[100, 0], [0, 0]], ""),
        ([[97, 0], [3, 0]], "it answers no to 100 of 100 images, 3 of which are not"),
    ],
)
def test_a_constant_classifier(matrix, said):
    assert alarms.constant(matrix, NAMES) == said


def test_a_constant_classifier_of_three_classes():
    matrix = [[0, 10, 0], [0, 9, 1], [0, 10, 0]]
    assert alarms.constant(matrix, "abc") == "it answers b to 29 of 30 images, 20 of which are not"


def test_the_interval_of_an_auroc_covers():
    """Of 400 draws of normal scores about 95 of 100 hold the true area."""
    rng, true = np.random.default_rng(0), scipy.stats.norm.cdf(1.0 / np.sqrt(2.0))
    label = np.repeat([0, 1], 30)
    covered = 0
    for _ in range(400):
        score = rng.normal(label.astype(float))
        p = 1 / (1 + np.exp(-score))
        area = metrics.two_class(p, label)["auroc"]
        low, high = alarms.auroc_interval(area, 30, 30)
        covered += low <= true <= high
    assert 0.92 <= covered / 400 <= 0.98
    assert alarms.auroc_interval(1.0, 5, 5) == (1.0, 1.0)


def test_chance():
    """The interval holds the largest class, or lies below it."""
    assert alarms.chance(0.475, (0.32, 0.63), 0.525) == (
        "accuracy is 47.5 % (95 %: 32.0 to 63.0), and the largest class alone is 52.5 %"
    )
    assert alarms.chance(0.2, (0.1, 0.3), 0.5)
    assert alarms.chance(0.9, (0.8, 0.95), 0.61, 0.95, (20, 20)) == ""
    assert alarms.chance(0.9, (0.8, 0.95), 0.61, 0.55, (20, 20)) == (
        "AUROC is 0.55 (95 %: 0.37 to 0.73), and chance is .50"
    )


def test_images_that_are_not_used_and_too_few():
    assert alarms.unused({"no": 98, "yes": 155}, {"no": 98, "yes": 100}) == [
        "55 of 155 images of class yes are not used: data.n_per_class takes at most 100 of each "
        "class (--data.n-per-class 0 takes all)"
    ]
    assert alarms.small({"no": 20, "yes": 20}) == alarms.small({"no": 50, "yes": 99}, 30) == []
    (text,) = alarms.small({"no": 5, "yes": 20}, 8, (0.3, 0.7))
    assert text == (
        "too few images to mean anything: 5 images of class no, 20 images of class yes, 8 real "
        "ones tested, and 20 of each class and 30 tested ones are the least; the 95 % interval "
        "of accuracy is 40 points wide"
    )
    assert alarms.small({"no": 50, "yes": 50}, 29)


def results(matrix, auroc: float, real: float | None = None) -> dict:
    """Of one seed, as `results.json` has it: 200 images, 60 of them tested."""
    matrix = np.asarray(matrix)
    right = float(np.trace(matrix) / matrix.sum())
    low, high = alarms.intervals.wilson(np.trace(matrix), int(matrix.sum()))
    seed = {"seed": 0, "matrix": matrix.tolist(), "num_test_real": 60, "metrics": {"auroc": auroc}}
    summary = {"accuracy": right, "interval": [low, high]}
    summary |= {} if real is None else {"accuracy_real": real}
    counts = {"no": 100, "yes": 100}
    data = {"found": counts, "used": counts}
    return {"seeds": [seed], "summary": summary, "data": data}


def test_what_a_run_says_of_itself():
    assert alarms.of_paper(results([[55, 5], [6, 54]], 0.96, 0.9)) == []
    found = alarms.of_paper(results([[0, 60], [0, 60]], 0.5, 0.5))
    assert [text.split(":")[0] for text in found] == [
        "seed 0",
        "the classifier is not better than chance",
        "on real images the classifier is not better than chance",
    ]
    # Synthetic images are easily told: the real half alone is at random.
    (text,) = alarms.of_paper(results([[50, 10], [10, 50]], 0.9, 0.52))
    assert text.startswith(
        "on real images the classifier is not better than chance: accuracy is 52"
    )


def test_what_a_cell_says_of_its_classifier():
    cell = {"protocol": "P3", "generator": "cgan", "classifier": "cnn", "labels": "true"}
    cell |= {"accuracy": 0.5, "interval": [0.37, 0.63], "num_seeds": 1, "metrics": {"auroc": 0.5}}
    p = np.tile([0.4, 0.6], (60, 1))
    label = np.repeat([0, 1], 30)
    lines = alarms.of_cell(cell, p, label, NAMES)
    assert [line.partition(": ")[0] for line in lines] == ["the answers of cnn + cgan under P3"] * 2
    # Elsewhere than under P3 at least that all are alike; controls are meant to be so.
    assert len(alarms.of_cell(cell | {"protocol": "P0"}, p, label, NAMES)) == 1
    assert alarms.of_cell(cell | {"labels": "shuffled"}, p, label, NAMES) == []
    assert alarms.of_cell(cell | {"classifier": "majority"}, p, label, NAMES) == []
