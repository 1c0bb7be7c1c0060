"""Intervals and paired tests, from saved predictions."""

import math
import statistics

import numpy as np


def wilson(successes: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Args:
        successes: in [0, total]; a mean over repeats need not be whole.
        total: number of trials, at least 1.
        confidence: in (0, 1).

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> [round(x, 3) for x in wilson(119, 120)]
        [0.954, 0.999]

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference",
        1927.
    """
    if total < 1 or not 0 <= successes <= total or not 0 < confidence < 1:
        raise ValueError(f"wilson({successes}, {total}, {confidence}): out of range")
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / total
    scale = 1 / (1 + z * z / total)
    centre = scale * (p + z * z / (2 * total))
    half = scale * z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    # At the ends the exact bounds are 0 and 1; rounding must not pass them.
    low = 0.0 if successes == 0 else max(centre - half, 0.0)
    high = 1.0 if successes == total else min(centre + half, 1.0)
    return low, high


def clustered_bootstrap(
    hits: np.ndarray,
    counts: np.ndarray,
    *,
    alone: np.ndarray | None = None,
    draws: int = 5000,
    seed: int = 0,
) -> np.ndarray:
    """Resampled accuracies of several cells whose tests share clusters of images.

    Args:
        hits, counts: [C, G], right answers and all answers of cell c in cluster g (a group
            of near-duplicates, over all seeds and folds). Clusters are drawn with
            replacement, the same ones for every cell, so that differences are paired.
        alone: [C, 2] right and all answers on images that are each a cluster of their own
            (synthetic ones), drawn beside.
        draws: B. seed: of the draws.

    Returns:
        [B, C] accuracies; NaN where a draw holds no answer of a cell. Percentiles of a
        column give a cell's interval, those of a difference of columns a difference's.
        Trainings are not resampled: the spread is that of images, given the seeds run.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; Field and Welsh,
        "Bootstrapping clustered data", 2007.
    """
    hits, counts = np.asarray(hits, np.float64), np.asarray(counts, np.float64)
    num_cells, num_clusters = hits.shape
    rng = np.random.default_rng(seed)
    right, total = np.zeros((draws, num_cells)), np.zeros((draws, num_cells))
    # A few draws at a time: their weights are as many as there are clusters.
    for start in range(0, draws if num_clusters else 0, 250):
        some = slice(start, min(start + 250, draws))
        even = np.full(num_clusters, 1.0 / num_clusters)
        weight = rng.multinomial(num_clusters, even, size=some.stop - start)
        right[some], total[some] = weight @ hits.T, weight @ counts.T
    if alone is not None:
        # n single answers, h of them right, drawn with replacement: a binomial count.
        for c, (h, n) in enumerate(np.asarray(alone, np.int64)):
            if n:
                right[:, c] += rng.binomial(n, h / n, size=draws)
                total[:, c] += n
    return np.divide(right, total, out=np.full_like(right, np.nan), where=total > 0)


def percentiles(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float] | None:
    """The middle `confidence` of resampled values [B], draws without an answer (NaN) left
    out; None if nothing is left."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    edge = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [edge, 100.0 - edge])
    return float(low), float(high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p value of McNemar's test.

    first, second: [N] bool, whether each of two classifiers was right on the same images.
    1 where they never differ.

    References:
        McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", 1947.
    """
    import scipy.stats

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def corrected_t(differences: np.ndarray, test_over_train: float) -> float:
    """Two-sided p value of Nadeau and Bengio's corrected resampled t test.

    differences: [J] accuracies of one classifier minus another's, one per repeat and fold;
    J at least 2. test_over_train: size of a test set over that of its training set.
    Repeats share training images, so the variance is not divided by J alone.

    References:
        Nadeau and Bengio, "Inference for the generalization error", 2003.
    """
    import scipy.stats

    differences = np.asarray(differences, np.float64)
    count = len(differences)
    if count < 2:
        raise ValueError(f"corrected_t of {count} differences: expected at least 2")
    variance = differences.var(ddof=1) * (1.0 / count + test_over_train)
    if variance == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    t = differences.mean() / math.sqrt(variance)
    return float(2.0 * scipy.stats.t.sf(abs(t), count - 1))


def holm(p_values: list[float]) -> list[float]:
    """p values adjusted for their number, in their order.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(order), 0, -1) * np.asarray(p_values)[order]
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(steps, 1.0))
    return adjusted.tolist()
