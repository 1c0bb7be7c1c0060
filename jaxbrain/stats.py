"""Intervals, from saved predictions."""

import math
import statistics


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
