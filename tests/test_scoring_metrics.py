"""Metrics from masked counts equal scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from jaxbrain.scoring import metrics

pytestmark = pytest.mark.smoke

COUNTS = jax.jit(metrics.counts)


def case(seed: int, num: int, num_classes: int):
    """Probabilities with ties, labels, and a mask that hides a third."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(size=(num, num_classes)), 1)
    label = rng.integers(0, num_classes, num).astype(np.int32)
    logits[np.arange(num), label] += 1.0
    p = np.exp(logits)
    probability = (p / p.sum(1, keepdims=True)).astype(np.float32)
    return probability, label, (rng.uniform(size=num) < 0.67).astype(np.float32)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equal_scikit_learn(num_classes, seed):
    probability, label, mask = case(seed, 150, num_classes)
    got = metrics.summarise(COUNTS(probability, label, mask))
    keep = mask > 0
    y, p = label[keep], probability[keep]
    guess = p.argmax(1)
    want = {
        "accuracy": reference.accuracy_score(y, guess),
        "balanced_accuracy": reference.balanced_accuracy_score(y, guess),
        "mcc": reference.matthews_corrcoef(y, guess),
        "nll": -np.log(np.float64(p[np.arange(len(y)), y])).mean(),
    }
    for average in ("macro", "weighted"):
        values = reference.precision_recall_fscore_support(
            y, guess, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):
            want[f"{average}_{name}"] = value
    if num_classes == 2:
        want |= {
            "precision": reference.precision_score(y, guess),
            "recall": reference.recall_score(y, guess),
            "f1": reference.f1_score(y, guess),
            "specificity": reference.recall_score(y, guess, pos_label=0),
            "auroc": reference.roc_auc_score(y, p[:, 1]),
        }
    else:
        one_vs_rest = [reference.roc_auc_score(y == k, p[:, k]) for k in range(num_classes)]
        want["auroc"] = np.mean(one_vs_rest)
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_paper_table_3():
    """TP 60, FP 1, FN 0, TN 59 (the paper's Table 3)."""
    label = np.repeat([1, 0], 60).astype(np.int32)
    guess = np.concatenate([np.ones(60), [1], np.zeros(59)])
    probability = np.stack([1 - guess, guess], 1).astype(np.float32)
    got = metrics.summarise(COUNTS(probability, label, np.ones(120, np.float32)))
    want = {
        "accuracy": 119 / 120,
        "precision": 60 / 61,
        "recall": 1.0,
        "specificity": 59 / 60,
        "f1": 120 / 121,
    }
    for name, value in want.items():
        assert got[name] == pytest.approx(value, abs=1e-9)
    assert got["mcc"] == pytest.approx(0.9835, abs=5e-5)


def test_masked_rows_do_not_count():
    probability, label, mask = case(5, 40, 2)
    spoiled = np.where(mask[:, None] > 0, probability, np.float32([[0.9, 0.1]]))
    one = COUNTS(probability, label, mask)
    other = COUNTS(spoiled, np.where(mask > 0, label, 1).astype(np.int32), mask)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_sums_of_parts_add_up():
    """Confusion and loss are sums, so batches may be added."""
    probability, label, mask = case(6, 60, 3)
    whole = COUNTS(probability, label, mask)
    parts = [
        COUNTS(probability[i : i + 20], label[i : i + 20], mask[i : i + 20]) for i in (0, 20, 40)
    ]
    np.testing.assert_allclose(sum(p.confusion for p in parts), whole.confusion)
    np.testing.assert_allclose(sum(p.loss for p in parts), whole.loss, rtol=1e-5)


def test_degenerate_sets():
    probability = np.float32([[0.2, 0.8], [0.3, 0.7]])
    got = metrics.summarise(COUNTS(probability, np.int32([1, 1]), np.ones(2, np.float32)))
    assert got["auroc"] is None
    assert (got["accuracy"], got["mcc"], got["specificity"]) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="weight"):
        metrics.summarise(COUNTS(probability, np.int32([1, 1]), np.zeros(2, np.float32)))


def test_counts_are_mapped(key):
    probability, label, mask = case(7, 30, 2)
    masks = jnp.stack([jnp.asarray(mask), jnp.ones_like(mask)])
    mapped = jax.vmap(lambda m: metrics.counts(probability, label, m))(masks)
    single = COUNTS(probability, label, mask)
    for a, b in zip(mapped, single, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_two_class_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, 90)
    # Rounded, so that scores tie.
    p = np.round(np.clip(rng.normal(0.4 + 0.3 * label, 0.3), 0, 1), 1)
    got = metrics.two_class(p, label)
    guess = p > 0.5
    want = {
        "accuracy": reference.accuracy_score(label, guess),
        "balanced_accuracy": reference.balanced_accuracy_score(label, guess),
        "mcc": reference.matthews_corrcoef(label, guess),
        "precision": reference.precision_score(label, guess),
        "recall": reference.recall_score(label, guess),
        "specificity": reference.recall_score(label, guess, pos_label=0),
        "f1": reference.f1_score(label, guess),
        "macro_f1": reference.f1_score(label, guess, average="macro"),
        "weighted_precision": reference.precision_score(label, guess, average="weighted"),
        "auroc": reference.roc_auc_score(label, p),
        "auprc": reference.average_precision_score(label, p),
        "brier": reference.brier_score_loss(label, p),
    }
    assert {name: got[name] for name in want} == pytest.approx(want, abs=1e-9)
    inside = np.clip(p, 0.05, 0.95)
    assert metrics.two_class(inside, label)["nll"] == pytest.approx(
        reference.log_loss(label, inside)
    )


def test_expected_calibration_error_by_hand():
    p = np.array([0.01, 0.05, 0.5, 0.52, 0.99, 1.0])
    label = np.array([0, 1, 1, 0, 1, 1])
    # Bins of width 1/15: {0.01, 0.05}, {0.5, 0.52}, {0.99, 1.0}.
    want = (abs(0.06 - 1) + abs(1.02 - 1) + abs(1.99 - 2)) / 6
    assert metrics.two_class(p, label)["ece"] == pytest.approx(want)


def test_two_class_of_one_class():
    got = metrics.two_class(np.array([0.2, 0.7]), np.array([1, 1]))
    assert (got["auroc"], got["auprc"], got["accuracy"]) == (None, None, 0.5)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_tally_is_what_the_device_counts(num_classes):
    probability, label, _ = case(8, 120, num_classes)
    got = metrics.tally(probability, label)
    want = COUNTS(probability, label, np.ones(120, np.float32))
    for name in got._fields:
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-5)
    found = metrics.predicted(probability, label)
    assert found["accuracy"] == reference.accuracy_score(label, probability.argmax(1))
    assert ("brier" in found) == (num_classes == 2)


def test_what_an_image_is_called():
    assert metrics.called(np.array([[0.5, 0.5], [0.4, 0.6]])).tolist() == [0, 1]
    assert metrics.called(np.array([[0.4, 0.2, 0.4], [0.2, 0.4, 0.4]])).tolist() == [0, 1]
