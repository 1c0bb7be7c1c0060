"""What a search may know: nothing of a test fold; and what it makes of arms that only guess."""

import functools
import io

import jax
import numpy as np
import pytest
from conftest import change, rows, small
from rich.console import Console

from jaxbrain.config.studies import SearchConfig
from jaxbrain.data import phantom
from jaxbrain.data.records import from_arrays
from jaxbrain.errors import DivergedError
from jaxbrain.runs import search
from jaxbrain.study import nested
from jaxbrain.study.methods import Classifier
from jaxbrain.study.protocols import INNER

QUIET = {"console": Console(file=io.StringIO())}


def images():
    """32 phantoms without copies, their records, and a configuration of small nets."""
    cfg = change(small(), "classifier", epochs=1, batch_size=4)
    data = phantom.dataset(jax.random.key(0), 16, 16, 0.2)
    return cfg, data, from_arrays(data, ("no", "yes"), "test")


def corrupted(plan, fold: int, *arguments):
    """`plan`, with the labels of one outer fold's test turned round in its cells, inner ones
    too."""
    fits, cells = plan(*arguments)
    test = next(c.test for c in cells if c.protocol == "P3" and c.fold == fold)
    found = []
    for cell in cells:
        if (cell.fold // 2 if cell.protocol == INNER else cell.fold) == fold:
            label = cell.label.copy()
            label[test] = 1 - label[test]
            cell = cell._replace(label=label)
        found.append(cell)
    return fits, found


def test_the_choice_looks_at_no_test_image(tmp_path, monkeypatch):
    """Other pictures and other labels in the test of fold 1: its inner answers and its choice
    are the same bits, of floors and of networks; its test answers and other folds are not."""
    cfg, data, records = images()
    options = SearchConfig(folds=3, inner_folds=2)
    arms = {
        "ridge": {"classifier": "ridge"},
        "nn1": {"classifier": "nn1"},
        "net": {"classifier": "cnn_lstm_rows", "classifier.epochs": 2},
        "cnn": {"classifier": "cnn"},
    }
    one = search.search(cfg, data, records, tmp_path / "one", arms=arms, options=options, **QUIET)
    test = {row["id"] for row in rows(tmp_path / "one" / "predictions.csv") if row["fold"] == "1"}
    index = [i for i, path in enumerate(records.path) if path in test]
    image = np.array(data.image)
    image[index] = np.random.default_rng(0).integers(0, 256, image[index].shape, np.uint8)
    other = data._replace(image=image)
    again = from_arrays(other, ("no", "yes"), "test")
    monkeypatch.setattr(nested, "plan", functools.partial(corrupted, nested.plan, 1))
    two = search.search(cfg, other, again, tmp_path / "two", arms=arms, options=options, **QUIET)
    # No picture is a copy of another, so that both have the same folds.
    assert one["groups"] == two["groups"] == {"total": 32, "no": 16, "yes": 16}

    def answers(workdir, name, folds):
        return [row for row in rows(workdir / name) if row["fold"] in folds]

    for name, folds, same in (
        ("inner.csv", "23", True),
        ("inner.csv", "01", False),
        ("inner.csv", "45", False),
        ("predictions.csv", "1", False),
        ("predictions.csv", "0", False),
    ):
        pair = [answers(tmp_path / run, name, folds) for run in ("one", "two")]
        assert len(pair[0]) == len(pair[1]) > 0
        assert (pair[0] == pair[1]) == same, (name, folds)
    assert one["choices"][1] == two["choices"][1]
    assert one["choices"][1]["fold"] == 1
    assert one["choices"][0]["inner_accuracy"] != two["choices"][0]["inner_accuracy"]


def guessing(cfg, train, weight, test, key):
    """Probabilities out of the air."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    p = rng.random(len(test))
    return np.stack([1 - p, p], axis=1)


def test_among_arms_that_guess_choosing_by_the_tests_claims_most(tmp_path):
    """16 arms of pure noise on 100 images, three times: one of them is 6 to 10 points above a
    half on the test folds, and the nested figure is a half."""
    cfg = small()
    data = phantom.dataset(jax.random.key(0), 50, 16, 0.5)
    records = from_arrays(data, ("no", "yes"), "test")
    noise = Classifier("noise", guessing, sees="thumbnails")
    options = SearchConfig(seeds=1, folds=4)
    figures = []
    for name in "abc":
        # Other names are other draws.
        arms = {f"{name}{i}": {"classifier": noise} for i in range(16)}
        workdir = tmp_path / name
        found = search.search(cfg, data, records, workdir, arms=arms, options=options, **QUIET)
        (one,) = found["searches"]
        figures.append([one["chosen"]["accuracy"], one["naive"]["accuracy"]])
        difference = one["selection_effect"]["difference"]
        assert difference == pytest.approx(figures[-1][1] - figures[-1][0]) and difference > 0
        # Inside, too, the best of 16 looks better than it is: that figure is not reported as
        # what the search reaches.
        assert one["inner_of_chosen"] > 0.6
        low, high = one["chosen"]["interval"]
        assert low < 0.5 < high
        assert search.verify(workdir) == []
    assert np.asarray(figures) == pytest.approx(np.array([[0.46, 0.58], [0.53, 0.56], [0.49, 0.6]]))
    nested_mean, naive_mean = np.mean(figures, axis=0)
    assert abs(nested_mean - 0.5) < 0.02 and naive_mean > 0.57


def failing(seen: list, cfg, train, weight, test, key):
    """NaN in the first call."""
    seen.append(1)
    return np.full((len(test), 2), np.nan if len(seen) == 1 else 0.5)


def test_an_arm_that_diverges(tmp_path):
    """Of skipped trainings the report tells, and the arm is not chosen in that fold."""
    cfg, data, records = images()
    options = SearchConfig(folds=2, inner_folds=2)

    def arms() -> dict:
        bad = Classifier("bad", functools.partial(failing, []))
        return {"bad": {"classifier": bad}, "nn1": {"classifier": "nn1"}}

    how = {"options": options} | QUIET
    with pytest.raises(DivergedError, match="inner/none/bad/true/0/0 predicts NaN"):
        search.search(cfg, data, records, tmp_path / "one", arms=arms(), **how)
    how["on_divergence"] = "skip"
    found = search.search(cfg, data, records, tmp_path / "two", arms=arms(), **how)
    assert [one["name"] for one in found["skipped"]] == ["inner/none/bad/true/0/0"]
    assert list(found["choices"][0]["inner_accuracy"]) == ["nn1"]
    assert list(found["choices"][1]["inner_accuracy"]) == ["bad", "nn1"]
    assert found["choices"][0]["arm"] == "nn1"
    assert search.verify(tmp_path / "two") == []
