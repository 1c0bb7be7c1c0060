"""Wilson's interval against published and SciPy's values."""

import pytest
from scipy.stats import binomtest

from jaxbrain import stats


@pytest.mark.parametrize("successes, total", [(0, 10), (1, 7), (59, 60), (119, 120), (60, 60)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_equals_scipy(successes, total, confidence):
    want = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    got = stats.wilson(successes, total, confidence)
    assert got == pytest.approx((want.low, want.high), abs=1e-12)


def test_interval_of_the_real_half():
    """PAPER.md 1.5: 59 of 60 gives [91.1, 99.7]."""
    low, high = stats.wilson(59, 60)
    assert (round(100 * low, 1), round(100 * high, 1)) == (91.1, 99.7)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 5), (6, 5), (1, 5, 1.0)])
def test_refuses(arguments):
    with pytest.raises(ValueError, match="out of range"):
        stats.wilson(*arguments)
