"""ROC curves and their intervals, against definitions, scikit-learn and known answers."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from jaxbrain.scoring import metrics, roc


def test_curves_against_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 30, 200) / 30.0  # with ties
    positive = rng.random(200) < 0.3 + 0.3 * score
    found = roc.curves(score, positive)
    fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(found.fpr[0], fpr)
    np.testing.assert_allclose(found.tpr[0], tpr)
    assert found.auroc()[0] == pytest.approx(roc_auc_score(positive, score))
    assert found.auroc()[0] == pytest.approx(metrics.two_class(score, positive)["auroc"])
    assert found.tpr_at(0.2)[0] == tpr[fpr <= 0.2].max()
    # A weight counts as so many examples.
    weight = rng.integers(0, 3, (2, 200)).astype(float)
    found = roc.curves(score, positive, weight)
    for k in range(2):
        assert found.auroc()[k] == pytest.approx(
            roc_auc_score(positive, score, sample_weight=weight[k])
        )


def test_rate_at_a_small_false_positive_rate_by_hand():
    """Of 100 negatives one may be passed, not two; a tie passes both."""
    negatives = np.arange(100.0)
    positives = np.array([99.5, 98.5, 97.5, 98.0])
    score, kind = np.append(positives, negatives), np.arange(104) < 4
    found = roc.judged(score, kind, np.random.default_rng(0), draws=20)
    assert found["tpr_at"]["value"] == 0.5
    assert (found["positives"], found["negatives"]) == (4, 100)
    found = roc.judged(np.append(positives, negatives[:40]), kind[:44], np.random.default_rng(0))
    assert found["tpr_at"]["value"] == found["value"] == 1.0


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Scores N(1, 1) against N(0, 1): AUROC is the normal's value at 1 / sqrt(2), .760."""
    rng = np.random.default_rng(1)
    kind = np.arange(120) < 60
    held = 0
    for _ in range(60):
        score = rng.normal(size=120) + kind
        low, high = roc.judged(score, kind, rng, draws=200)["interval"]
        held += low <= 0.7602 <= high
    assert 51 <= held <= 60


def test_groups_are_drawn_as_wholes_and_tests_are_averaged():
    rng = np.random.default_rng(2)
    weight = roc.group_weights(np.array([5, 5, 9, 7]), 500, rng)
    np.testing.assert_array_equal(weight[:, 0], weight[:, 1])
    assert (weight[:, [0, 2, 3]].sum(axis=1) == 3).all() and 0.9 < weight.mean() < 1.1
    score = np.array([[3.0, 2, 1, 0], [0, 1, 2, np.nan]])
    kind = np.array([[True, True, False, False], [True, False, True, False]])
    found = roc.judged(score, kind, rng, draws=50)
    assert found["value"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["positives"] == 4 and found["negatives"] == 3
    assert found["roc"][-1] == [1.0, 1.0] and found["roc"][0][0] == 0.0
    with pytest.raises(ValueError, match="only positives, or only negatives"):
        roc.judged([1.0, 2.0], [True, True], rng)


def test_long_curves_are_thinned():
    rng = np.random.default_rng(3)
    found = roc.judged(rng.normal(size=3000), rng.random(3000) < 0.5, rng, draws=5)
    assert len(found["roc"]) <= 200 and found["roc"][-1] == [1.0, 1.0]
    rise = np.diff(np.array(found["roc"]), axis=0)
    assert (rise >= 0).all()
