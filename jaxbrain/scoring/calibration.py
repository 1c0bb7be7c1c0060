"""Whether probabilities mean what they say: reliability, its error, and one temperature.

References:
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017. Naeini,
    Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

BINS = 10
# Temperatures are sought between its inverse and it.
MOST = 20.0
# The least probability of a true class that a likelihood is taken of.
_LEAST = 1e-12


class Bins(NamedTuple):
    """Images by the probability of the class that they are called.

    low, high: [B] float64, the bins' ends: a bin holds what is above `low`, to `high`. count: [B]
    int. confidence, accuracy: [B] float64, means in each, NaN in an empty one.
    """

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # a tuple has a method of that name
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(p: np.ndarray, label: np.ndarray, bins: int = BINS) -> Bins:
    """Confidence beside accuracy in bins of equal width over [0, 1].

    p: [N, K] float, rows sum to 1. label: [N] int.
    """
    p, edges = np.asarray(p, np.float64), np.linspace(0.0, 1.0, bins + 1)
    sure, hit = p.max(axis=1), p.argmax(axis=1) == label
    # Sums of float32 may come to a little more than 1.
    which = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (
            np.bincount(which, weights=values, minlength=bins) / count for values in (sure, hit)
        )
    return Bins(edges[:-1], edges[1:], count, confidence, accuracy)


def ece(p: np.ndarray, label: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error in [0, 1]: the mean over images of |accuracy - confidence| of
    their bin (`reliability`). Of few images it is too large: bins then differ by chance.

    Example:
        >>> p = np.asarray([[0.2, 0.8]] * 10)
        >>> round(ece(p, np.asarray([1] * 5 + [0] * 5)), 6)
        0.3
    """
    found = reliability(p, label, bins)
    gap = np.nan_to_num(np.abs(found.accuracy - found.confidence))
    return float((found.count * gap).sum() / found.count.sum())


def nll(p: np.ndarray, label: np.ndarray) -> float:
    """Mean negative logarithm of the true class's probability, nats."""
    own = np.asarray(p, np.float64)[np.arange(len(label)), label]
    return float(-np.log(np.maximum(own, _LEAST)).mean())


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(z / temperature) of the logits z that gave probabilities p: [N, K] float64.

    Above 1 a temperature makes them less sure, below 1 surer; no image changes its class. A
    probability of 0 is taken for the smallest that float32 holds.
    """
    # A softmax forgets no more of its logits than a constant, which another softmax ignores.
    logits = np.log(np.maximum(np.float64(p), np.finfo(np.float32).tiny)) / temperature
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def temperature(p: np.ndarray, label: np.ndarray) -> float:
    """The temperature of the least `nll` between 1/20 and 20. In its inverse the problem is
    convex.

    Where all images are called rightly surer is always better, and where all are called wrongly
    less sure is: neither says how sure to be, so 1 is returned, which changes nothing.

    p: [N, K] float, of images that its classifier did not learn; label: [N] int.
    """
    hit = np.asarray(p).argmax(axis=1) == label
    if hit.all() or not hit.any():
        return 1.0
    found = optimize.minimize_scalar(
        lambda inverse: nll(tempered(p, 1.0 / inverse), label),
        bounds=(1.0 / MOST, MOST),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(1.0 / found.x)


def crossed(p: np.ndarray, label: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] of each half of the images at the other half's temperature: what a
    temperature is worth on images that did not choose it.

    half: [N] bool, which half an image is in; copies on one side.
    """
    found = np.empty(np.shape(p))
    for side in (half, ~half):
        found[side] = tempered(p[side], temperature(p[~side], label[~side]))
    return found
