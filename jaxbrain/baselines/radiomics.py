"""Texture statistics from the matrices of `texture`, by IBSI's definitions.

Every function gives one row an image and one column a statistic, in the order of the names
beside it; all are finite, also for a region of one level.

References:
    Zwanenburg et al., "Image biomarker standardisation initiative", arXiv:1612.07003,
    sections 3.3 to 3.10; the tests hold them to its digital phantom.
"""

import numpy as np
import scipy.sparse

from jaxbrain.baselines.texture import Cells

FIRST_ORDER = (
    "mean variance skewness kurtosis median minimum percentile10 percentile90 maximum "
    "interquartile_range range mean_deviation robust_mean_deviation median_deviation "
    "coefficient_of_variation quartile_coefficient energy root_mean_square"
).split()
GLCM = (
    "joint_maximum joint_average joint_variance joint_entropy difference_average "
    "difference_variance difference_entropy sum_average sum_variance sum_entropy "
    "angular_second_moment contrast dissimilarity inverse_difference "
    "inverse_difference_normalised inverse_difference_moment "
    "inverse_difference_moment_normalised inverse_variance correlation autocorrelation "
    "cluster_tendency cluster_shade cluster_prominence information_correlation1 "
    "information_correlation2"
).split()
# Of runs (a size is a length) and of zones.
SIZES = (
    "short_emphasis long_emphasis low_level_emphasis high_level_emphasis "
    "short_low_emphasis short_high_emphasis long_low_emphasis long_high_emphasis "
    "level_nonuniformity level_nonuniformity_normalised size_nonuniformity "
    "size_nonuniformity_normalised percentage level_variance size_variance entropy"
).split()
NGTDM = "coarseness contrast busyness complexity strength".split()
GRADIENT = "mean variance skewness kurtosis nonzero".split()


def _shape(values: np.ndarray) -> tuple[float, float]:
    """Skewness and excess kurtosis; 0 for a constant."""
    import scipy.stats

    if np.ptp(values) < 1e-9:
        return 0.0, 0.0
    return float(scipy.stats.skew(values)), float(scipy.stats.kurtosis(values))


def first_order(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """[N, H, W], [N, H, W] bool -> [N, 18], of the pixels of each region."""
    rows = []
    for one, inside in zip(image, region, strict=True):
        x = one[inside].astype(np.float64)
        p10, p25, median, p75, p90 = np.percentile(x, (10, 25, 50, 75, 90))
        mean, variance = x.mean(), x.var()
        kept = x[(x >= p10) & (x <= p90)]
        rows.append(
            (
                mean,
                variance,
                *_shape(x),
                median,
                x.min(),
                p10,
                p90,
                x.max(),
                p75 - p25,
                np.ptp(x),
                np.abs(x - mean).mean(),
                np.abs(kept - kept.mean()).mean(),
                np.abs(x - median).mean(),
                np.sqrt(variance) / mean if mean else 0.0,
                (p75 - p25) / (p75 + p25) if p75 + p25 else 0.0,
                np.square(x).sum(),
                np.sqrt(np.square(x).mean()),
            )
        )
    return np.asarray(rows)


def _entropy(p: np.ndarray) -> np.ndarray:
    """In bits, along the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)


def _moment(p: np.ndarray, value: np.ndarray, centre: np.ndarray, power: int) -> np.ndarray:
    return (p * (value[None] - centre[:, None]) ** power).sum(axis=-1)


def glcm(counts: np.ndarray) -> np.ndarray:
    """Symmetric co-occurrences [..., G, G] -> [..., 25]."""
    shape, size = counts.shape[:-2], counts.shape[-1]
    p = counts.reshape(-1, size * size)
    p = p / np.maximum(p.sum(axis=1, keepdims=True), 1.0)
    i, j = (index.reshape(-1) for index in np.meshgrid(*[np.arange(1, size + 1)] * 2))
    gap, together = np.abs(i - j), i + j
    # What depends on |i - j| or i + j alone is summed over those first.
    everyone, one = np.arange(size * size), np.ones(size * size)
    difference = p @ scipy.sparse.csr_matrix((one, (everyone, gap)), (size * size, size))
    total = p @ scipy.sparse.csr_matrix((one, (everyone, together)), (size * size, 2 * size + 1))
    row = p.reshape(-1, size, size).sum(axis=2)
    level, d = np.arange(1.0, size + 1), np.arange(float(size))
    mean = row @ level
    variance = _moment(row, level, mean, 2)
    spread = np.arange(2.0 * size + 1)
    tendency, shade, prominence = (_moment(total, spread, 2 * mean, n) for n in (2, 3, 4))
    autocorrelation = p @ (i * j).astype(np.float64)
    average = difference @ d
    entropy, own = _entropy(p), _entropy(row)
    varies = variance > 1e-12
    correlation = (autocorrelation - mean**2) / np.where(varies, variance, 1.0)
    inverse = np.divide(1.0, d**2, out=np.zeros(size), where=d > 0)
    columns = (
        p.max(axis=1),
        mean,
        variance,
        entropy,
        average,
        _moment(difference, d, average, 2),
        _entropy(difference),
        total @ spread,
        tendency,
        _entropy(total),
        np.square(p).sum(axis=1),
        difference @ d**2,
        average,
        difference @ (1 / (1 + d)),
        difference @ (1 / (1 + d / size)),
        difference @ (1 / (1 + d**2)),
        difference @ (1 / (1 + (d / size) ** 2)),
        difference @ inverse,
        np.where(varies, correlation, 1.0),
        autocorrelation,
        tendency,
        shade,
        prominence,
        # Of a symmetric matrix the entropy of the product of its margins is twice a margin's.
        np.divide(entropy - 2 * own, own, out=np.zeros(len(p)), where=own > 1e-12),
        np.sqrt(np.maximum(1 - np.exp(-2 * (2 * own - entropy)), 0.0)),
    )
    return np.stack(columns, axis=1).reshape(*shape, len(GLCM))


def sizes(cells: Cells) -> np.ndarray:
    """Runs or zones of N images -> [N, 16]."""
    number = len(cells.pixels)
    level, size = cells.level.astype(np.float64), cells.size.astype(np.float64)

    def over(weight) -> np.ndarray:
        return np.bincount(cells.owner, weight, minlength=number)

    def squares(key: np.ndarray) -> np.ndarray:
        """Sum of the squared counts by owner and `key`."""
        shape = number, key.max(initial=0) + 1
        sums = scipy.sparse.csr_array((count, (cells.owner, key)), shape)
        return sums.power(2).sum(axis=1)

    count = cells.count.astype(np.float64)
    total = np.maximum(over(count), 1.0)

    def mean(values) -> np.ndarray:
        return over(count * values) / total

    share = count / total[cells.owner]
    by_level, by_size = squares(cells.level), squares(cells.size)
    columns = (
        mean(size**-2),
        mean(size**2),
        mean(level**-2),
        mean(level**2),
        mean(level**-2 / size**2),
        mean(level**2 / size**2),
        mean(size**2 / level**2),
        mean(size**2 * level**2),
        by_level / total,
        by_level / total**2,
        by_size / total,
        by_size / total**2,
        total / np.maximum(cells.pixels, 1),
        mean(level**2) - mean(level) ** 2,
        mean(size**2) - mean(size) ** 2,
        over(-share * np.log2(share)),
    )
    return np.stack(columns, axis=1)


def ngtdm(n: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Neighbourhood differences ([N, G], [N, G], see `texture.ngtdm`) -> [N, 5]."""
    total = np.maximum(n.sum(axis=1), 1)
    p = n / total[:, None]
    level = np.arange(1.0, n.shape[1] + 1)
    used = (p > 0).sum(axis=1)
    rough = (p * s).sum(axis=1)
    both = (p[:, :, None] > 0) & (p[:, None, :] > 0)
    gap = level[:, None] - level[None]
    weighted = p * level
    busy = (np.abs(weighted[:, :, None] - weighted[:, None, :]) * both).sum(axis=(1, 2))
    mixed = (p * s)[:, :, None] + (p * s)[:, None, :]
    either = p[:, :, None] + p[:, None, :]
    ratio = np.divide(np.abs(gap) * mixed, either, out=np.zeros_like(mixed), where=both)
    strong = (either * gap**2 * both).sum(axis=(1, 2))
    spread = (p[:, :, None] * p[:, None, :] * gap**2).sum(axis=(1, 2))
    spread /= np.maximum(used * (used - 1), 1)

    def ratio_or(top, bottom, otherwise):
        return np.where(bottom > 1e-12, top / np.where(bottom > 1e-12, bottom, 1.0), otherwise)

    columns = (
        # IBSI's value for a region without any difference.
        ratio_or(1.0, rough, 1e6),
        spread * s.sum(axis=1) / total,
        ratio_or(rough, busy, 0.0),
        ratio.sum(axis=(1, 2)) / total,
        ratio_or(strong, s.sum(axis=1), 0.0),
    )
    return np.stack(columns, axis=1)


def gradient(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Of the absolute gradient in each region: [N, H, W], [N, H, W] bool -> [N, 5].

    The gradient of a pixel is the length of its two central differences.
    """
    down, right = np.gradient(image.astype(np.float64), axis=(1, 2))
    rows = []
    for one, inside in zip(np.hypot(down, right), region, strict=True):
        x = one[inside]
        rows.append((x.mean(), x.var(), *_shape(x), (x > 0).mean()))
    return np.asarray(rows)
