"""What inner folds choose, and what looking at the tests adds, from answers made by hand."""

import numpy as np
import pytest

from jaxbrain.errors import DataError
from jaxbrain.scoring import intervals, nested
from jaxbrain.scoring.scores import Answers

SIZE = 8


def answers(p, seed, fold, image) -> Answers:
    """Of label 1 with probabilities `p`; every image is a group of its own."""
    p = np.float64(p)
    names = np.asarray([f"yes/{i}" for i in image])
    twin = np.zeros(len(p), np.int64)
    label = np.ones(len(p), np.int64)
    both = np.stack([1 - p, p], axis=1)
    return Answers(np.asarray(seed), np.asarray(fold), np.asarray(image), names, twin, label, both)


def outer_of(p) -> Answers:
    """Two folds of one seed: images 0 to 7, then 8 to 15."""
    return answers(p, np.zeros(16, int), np.repeat([0, 1], SIZE), np.arange(16))


def inner_of(p) -> Answers:
    """Two inner folds of each: of outer fold 0 images 8 to 15, of fold 1 images 0 to 7."""
    image = np.concatenate([np.arange(8, 16), np.arange(8)])
    return answers(p, np.zeros(16, int), np.repeat([0, 1, 2, 3], 4), image)


def files(inner: dict, outer: dict) -> tuple[dict, dict]:
    return (
        {("inner", "none", arm, "true"): inner_of(p) for arm, p in inner.items()},
        {("P3", "none", arm, "true"): outer_of(p) for arm, p in outer.items()},
    )


def chosen(inner: dict, names: list[str], ran=None) -> list[str]:
    made, _ = files(inner, {})
    ran = ran or {(arm, "true"): {(0, 0), (0, 1)} for arm in names}
    return [one["arm"] for one in nested.choices(made, names, 2, ran)]


def test_the_best_inner_accuracy_then_the_likelihood_then_the_order():
    good, bad = [0.9] * SIZE, [0.9] * 7 + [0.1]
    assert chosen({"a": good + bad, "b": bad + good}, ["a", "b"]) == ["a", "b"]
    # As often right: the surer one. The likelihood does not count before that.
    sure, unsure = [0.99] * 7 + [0.1], [0.6] * 7 + [0.45]
    assert chosen({"a": unsure + bad, "b": sure + bad}, ["a", "b"]) == ["b", "a"]
    assert chosen({"a": [0.51] * 16, "b": sure + sure}, ["a", "b"]) == ["a", "a"]
    # All alike: the one that is listed first.
    assert chosen({"a": good + good, "b": good + good}, ["a", "b"]) == ["a", "a"]
    assert chosen({"a": good + good, "b": good + good}, ["b", "a"]) == ["b", "b"]


def test_an_arm_that_diverged_is_not_chosen_there():
    inner, _ = files({"a": [0.9] * 16, "b": [0.1] * 16}, {})
    both = {(0, 0), (0, 1)}
    ran = {("a", "true"): {(0, 1)}, ("b", "true"): both}
    assert [one["arm"] for one in nested.choices(inner, ["a", "b"], 2, ran)] == ["b", "a"]
    # Inner fold 3, the second one of outer fold 1, is missing.
    key = "inner", "none", "a", "true"
    inner[key] = Answers(*(leaf[:12] for leaf in inner[key]))
    ran = {("a", "true"): both, ("b", "true"): both}
    assert [one["arm"] for one in nested.choices(inner, ["a", "b"], 2, ran)] == ["a", "b"]


def test_numbers_by_hand():
    """Inside, a wins fold 0 and b fold 1; on the tests a is right in 14 of 16, b in 11."""
    good, poor = [0.9] * SIZE, [0.9] * 4 + [0.1] * 4
    a, b = [0.9] * 7 + [0.1] + [0.9] * 7 + [0.1], [0.9] * 8 + [0.9] * 3 + [0.1] * 5
    picked = a[:SIZE] + b[SIZE:]
    inner, outer = files({"a": good + poor, "b": poor + good}, {"a": a, "b": b, "chosen": picked})
    found = nested.scores_of(outer, inner, ["a", "b"], "chosen", 2, 1.0)
    assert [one["arm"] for one in found["choices"]] == ["a", "b"]
    assert found["choices"][0]["inner_accuracy"] == {"a": 1.0, "b": 0.5}
    wanted = np.log(0.9) / 2 + np.log(0.1) / 2
    assert found["choices"][0]["inner_log_likelihood"]["b"] == pytest.approx(wanted)
    (one,) = found["searches"]
    first, second = one["arms"]
    assert (first["inner"]["accuracy"], first["outer"]["accuracy"]) == (0.75, 14 / 16)
    assert (first["chosen"], second["chosen"]) == (1, 1)
    assert second["outer"]["accuracy"] == 11 / 16
    assert one["chosen"]["accuracy"] == 10 / 16 and one["inner_of_chosen"] == 1.0
    assert one["naive"]["arm"] == "a" and one["naive"]["accuracy"] == 14 / 16
    effect = one["selection_effect"]
    assert effect["difference"] == pytest.approx(4 / 16)
    # The same draws of groups for both: 16 images, four of them decide.
    hits = np.stack([np.float64(a) > 0.5, np.float64(picked) > 0.5])
    draws = intervals.clustered_bootstrap(hits, np.ones((2, 16)))
    assert effect["interval"] == list(intervals.percentiles(draws[:, 0] - draws[:, 1]))
    # Nested against a: no fold 0, four more errors in eight of fold 1.
    against = first["against"]
    assert against["difference"] == pytest.approx(-4 / 16)
    assert against["corrected_t_p"] == pytest.approx(intervals.corrected_t([0, -0.5], 1.0))
    assert against["mcnemar_p_median"] == pytest.approx(0.125)
    raw = [row["against"]["corrected_t_p"] for row in one["arms"]]
    adjusted = [row["against"]["corrected_t_p_holm"] for row in one["arms"]]
    assert adjusted == pytest.approx(intervals.holm(raw))
    assert nested.unlike(outer, "chosen", found["choices"]) == []
    (line,) = nested.unlike(outer, "chosen", [found["choices"][1] | {"arm": "a"}])
    assert "seed 0, fold 1: not the answers of a" in line


def test_among_arms_of_noise_the_naive_figure_alone_is_high():
    """12 arms that guess, 20 searches: looking at the tests adds 14 points, which nested
    choice does not claim."""
    rng, arms = np.random.default_rng(0), [f"arm{i}" for i in range(12)]
    honest, naive = [], []
    for _ in range(20):
        inner, outer = files(*({arm: rng.random(16) for arm in arms} for _ in range(2)))
        ran = nested.answered(outer)
        hits = []
        for one in nested.choices(inner, arms, 2, ran):
            own = outer["P3", "none", one["arm"], "true"]
            hits += own.hit[own.fold == one["fold"]].tolist()
        honest.append(np.mean(hits))
        naive.append(max(one.hit.mean() for one in outer.values()))
    assert 0.45 < np.mean(honest) < 0.55
    assert np.mean(naive) > 0.66


def test_an_inner_answer_on_a_tested_group_is_a_leak():
    inner, outer = files({"a": [0.9] * 16}, {"a": [0.9] * 16, "chosen": [0.9] * 16})
    key = "inner", "none", "a", "true"
    group = inner[key].group.copy()
    # A copy of image 3, which outer fold 0 tests.
    group[0] = 3
    inner[key] = inner[key]._replace(group=group)
    with pytest.raises(DataError, match="inner answers of seed 0, fold 0: group 3 is in the outer"):
        nested.scores_of(outer, inner, ["a"], "chosen", 2, 1.0)


def test_arms_of_other_folds_are_refused():
    inner, outer = files({"a": [0.9] * 16, "b": [0.9] * 16}, {"a": [0.9] * 16, "b": [0.9] * 16})
    key = "P3", "none", "b", "true"
    moved = outer | {key: outer[key]._replace(fold=np.tile([0, 1], SIZE))}
    with pytest.raises(DataError, match="answers of seed 0, fold 0: arms have other images"):
        nested.scores_of(moved, inner, ["a", "b"], "chosen", 2, 1.0)
    key = "inner", "none", "b", "true"
    moved = inner | {key: inner[key]._replace(fold=np.repeat([1, 0, 2, 3], 4))}
    with pytest.raises(DataError, match="inner answers of seed 0, fold 0: arms have other images"):
        nested.choices(moved, ["a", "b"], 2, nested.answered(outer))
