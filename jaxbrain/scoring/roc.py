"""How well one number tells two kinds apart: ROC curves, with intervals by groups."""

from typing import NamedTuple

import numpy as np

from jaxbrain.scoring.intervals import percentiles

# Draws whose weights are in memory at a time.
_TOGETHER = 100
# Points of a curve that is written down, at most.
_POINTS = 200


class Curve(NamedTuple):
    """Of B weightings: false and true positive rates [B, U + 1], from (0, 0) to (1, 1)."""

    fpr: np.ndarray
    tpr: np.ndarray

    def auroc(self) -> np.ndarray:
        """[B] areas; of equal scores one half counts."""
        wide, high = np.diff(self.fpr, axis=1), self.tpr[:, 1:] + self.tpr[:, :-1]
        return 0.5 * (wide * high).sum(axis=1)

    def tpr_at(self, fpr: float) -> np.ndarray:
        """[B] the largest true positive rate whose false positive rate is at most `fpr`:
        nothing is interpolated."""
        return np.where(self.fpr <= fpr, self.tpr, 0.0).max(axis=1)


def curves(score: np.ndarray, positive: np.ndarray, weight: np.ndarray | None = None) -> Curve:
    """The curves of one score under B weightings of its examples.

    Args:
        score: [N] float, large for positives. positive: [N] bool.
        weight: [B, N], at least 0; None is once 1 for all. Rates of a weighting without one
            of the two kinds are NaN.
    """
    score, positive = np.asarray(score, np.float64), np.asarray(positive, bool)
    weight = np.ones((1, len(score))) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))

    def rates(kind):
        counts = np.add.reduceat((weight * kind)[:, order], first, axis=1).cumsum(axis=1)
        total = counts[:, -1:]
        share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
        return np.pad(share, ((0, 0), (1, 0)))

    return Curve(rates(~positive), rates(positive))


def group_weights(group: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """[draws, N] how often each example is drawn, where whole groups are, with replacement."""
    _, number = np.unique(group, return_inverse=True)
    count = number.max() + 1
    return rng.multinomial(count, np.full(count, 1.0 / count), size=draws)[:, number].astype(float)


def judged(
    score: np.ndarray,
    positive: np.ndarray,
    rng: np.random.Generator,
    *,
    group: np.ndarray | None = None,
    fpr: float = 0.01,
    draws: int = 1000,
) -> dict:
    """AUROC, the true positive rate at a small false positive rate, the curve.

    Args:
        score: [L, N] float, large for positives, of L tests of the same examples (their mean
            is taken), or [N] of one; NaN leaves an example out of a test.
        positive: [L, N] or [N] bool.
        group: [N] int, drawn as wholes for the intervals, the same ones in all tests; None
            gives each example its own.
        draws: of the bootstrap; 95 % intervals.

    Returns:
        {"value": AUROC, "interval": [low, high], "tpr_at": {"fpr", "value", "interval"},
        "roc": [[fpr, tpr], ..] (mean of the tests' tpr, at most 200 points), "positives",
        "negatives": how many there are, over all tests}.

    Raises:
        ValueError: if a test has only one kind.

    Example:
        >>> found = judged([3, 2, 1, 0], [True, True, False, True], np.random.default_rng(0))
        >>> round(found["value"], 3), round(found["tpr_at"]["value"], 3)
        (0.667, 0.667)
    """
    score, positive = np.atleast_2d(np.float64(score)), np.atleast_2d(np.asarray(positive, bool))
    used = ~np.isnan(score)
    if not ((used & positive).any(axis=1) & (used & ~positive).any(axis=1)).all():
        raise ValueError("only positives, or only negatives, have a score: expected both")
    group = np.arange(score.shape[1]) if group is None else np.asarray(group)

    def of_tests(weight):
        found = [
            curves(s[u], p[u], None if weight is None else weight[:, u])
            for s, p, u in zip(score, positive, used, strict=True)
        ]
        return [np.mean(x, axis=0) for x in ([c.auroc() for c in found], _at(found, fpr))], found

    (area, rate), found = of_tests(None)
    drawn = [
        of_tests(group_weights(group, min(_TOGETHER, draws - i), rng))[0]
        for i in range(0, draws, _TOGETHER)
    ]
    areas, ratios = (np.concatenate(x) for x in zip(*drawn, strict=True))
    return {
        "value": float(area[0]),
        "interval": _ends(areas),
        "tpr_at": {"fpr": fpr, "value": float(rate[0]), "interval": _ends(ratios)},
        "roc": mean_points(found),
        "positives": int((used & positive).sum()),
        "negatives": int((used & ~positive).sum()),
    }


def _at(found: list[Curve], fpr: float) -> list[np.ndarray]:
    # A draw without one of the kinds has no rate; `where` would make it 0.
    return [np.where(np.isnan(c.auroc()), np.nan, c.tpr_at(fpr)) for c in found]


def _ends(values: np.ndarray) -> list[float] | None:
    ends = percentiles(values)
    return None if ends is None else list(ends)


def mean_points(found: list[Curve]) -> list[list[float]]:
    """[[fpr, tpr], ..] of the mean true positive rate of curves of one weighting each, at most 200
    points."""
    grid = np.unique(np.concatenate([c.fpr[0] for c in found]))
    if len(grid) > _POINTS:
        grid = grid[np.linspace(0, len(grid) - 1, _POINTS).round().astype(int)]
    # At a threshold, the best that its false positive rate allows.
    high = [c.tpr[0][np.searchsorted(c.fpr[0], grid, side="right") - 1] for c in found]
    return np.stack([grid, np.mean(high, axis=0)], axis=1).round(6).tolist()
