"""Intervals and paired tests against SciPy, published values and plain loops."""

import numpy as np
import pytest
import scipy.stats
from scipy.stats import binomtest

from jaxbrain.scoring import intervals


@pytest.mark.parametrize("successes, total", [(0, 10), (1, 7), (59, 60), (119, 120), (60, 60)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_equals_scipy(successes, total, confidence):
    want = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    got = intervals.wilson(successes, total, confidence)
    assert got == pytest.approx((want.low, want.high), abs=1e-12)


def test_interval_of_the_real_half():
    """59 of 60 gives [91.1, 99.7]."""
    low, high = intervals.wilson(59, 60)
    assert (round(100 * low, 1), round(100 * high, 1)) == (91.1, 99.7)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 5), (6, 5), (1, 5, 1.0)])
def test_refuses(arguments):
    with pytest.raises(ValueError, match="out of range"):
        intervals.wilson(*arguments)


def test_bootstrap_of_single_answers_has_the_binomial_spread():
    hits = np.repeat([[1.0, 0.0]], 200, axis=1).reshape(1, -1)[:, :300]
    counts = np.ones_like(hits)
    draws = intervals.clustered_bootstrap(hits, counts)[:, 0]
    p = hits.mean()
    assert draws.mean() == pytest.approx(p, abs=0.003)
    assert draws.std() == pytest.approx(np.sqrt(p * (1 - p) / 300), rel=0.05)
    alone = intervals.clustered_bootstrap(np.zeros((1, 0)), np.zeros((1, 0)), alone=[[200, 300]])
    assert alone.mean() == pytest.approx(p, abs=0.003)
    assert alone.std() == pytest.approx(draws.std(), rel=0.05)


def test_bootstrap_of_clusters_is_wider_and_pairs_cells():
    """Ten answers a cluster, all alike: the spread of as many single answers as clusters."""
    hits = np.array([[10.0] * 30 + [0.0] * 20, [10.0] * 30 + [0.0] * 20])
    counts = np.full_like(hits, 10.0)
    draws = intervals.clustered_bootstrap(hits, counts)
    assert draws.std(axis=0) == pytest.approx(np.sqrt(0.6 * 0.4 / 50), rel=0.05)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    low, high = intervals.percentiles(draws[:, 0])
    want = scipy.stats.binom(50, 0.6).ppf([0.025, 0.975]) / 50
    assert (low, high) == pytest.approx(tuple(want), abs=0.021)
    assert intervals.percentiles(draws[:, 0] - draws[:, 1]) == (0.0, 0.0)
    assert intervals.percentiles(np.array([0.5, np.nan])) == (0.5, 0.5)
    assert intervals.percentiles(np.array([np.nan])) is None


def test_bootstrap_equals_a_plain_one():
    rng = np.random.default_rng(3)
    group = rng.integers(0, 12, 70)
    hit = rng.random(70) < 0.7
    counts = np.bincount(group, minlength=12)
    hits = np.bincount(group, hit, minlength=12)
    draws = intervals.clustered_bootstrap(hits[None], counts[None], draws=4000)[:, 0]
    plain = []
    for _ in range(4000):
        chosen = rng.integers(0, 12, 12)
        plain.append(hits[chosen].sum() / counts[chosen].sum())
    assert scipy.stats.ks_2samp(draws, plain).pvalue > 0.001


def test_mcnemar_is_the_exact_binomial():
    first = np.array([1, 1, 1, 1, 0, 1, 1, 0], bool)
    second = np.array([1, 0, 0, 0, 1, 0, 0, 0], bool)
    assert intervals.mcnemar(first, second) == pytest.approx(2 * (1 + 6) / 2**6)
    assert intervals.mcnemar(second, first) == intervals.mcnemar(first, second)
    assert intervals.mcnemar(first, first) == 1.0


def test_corrected_t():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.05, 0.1, 15)
    # Without the correction it is the plain one-sample test.
    want = scipy.stats.ttest_1samp(differences, 0.0).pvalue
    assert intervals.corrected_t(differences, 0.0) == pytest.approx(want)
    t = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 15 + 0.25))
    want = 2 * scipy.stats.t.sf(abs(t), 14)
    assert intervals.corrected_t(differences, 0.25) == pytest.approx(want)
    assert intervals.corrected_t(np.zeros(3), 0.3) == 1.0
    assert intervals.corrected_t(np.ones(3), 0.3) == 0.0
    with pytest.raises(ValueError, match="at least 2"):
        intervals.corrected_t(np.ones(1), 0.3)


def test_holm():
    """The example of Holm's procedure: sorted p times 4, 3, 2, 1, never falling."""
    assert intervals.holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert intervals.holm([0.6, 0.9]) == [1.0, 1.0]
    assert intervals.holm([]) == []
