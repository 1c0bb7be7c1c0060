"""Classification metrics: masked sums on the device, ratios once on the host."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.types import Array, Counts


def counts(probability: Array, label: Array, weight: Array) -> Counts:
    """Sums from which every metric follows.

    Args:
        probability: [N, K] float32, rows sum to 1.
        label: [N] int32 in [0, K).
        weight: [N] float32; 0 leaves an example out.
    """
    num_classes = probability.shape[-1]
    truth = jax.nn.one_hot(label, num_classes)
    guess = jax.nn.one_hot(probability.argmax(axis=-1), num_classes)
    confusion = jnp.einsum("n,nt,np->tp", weight, truth, guess)

    def rank(score, positive):
        """Weighted Mann-Whitney count of one class against the others."""
        order = score.argsort()
        negative = weight * (1.0 - positive)
        below = jnp.concatenate([jnp.zeros(1), negative[order].cumsum()])
        left = jnp.searchsorted(score[order], score, side="left")
        right = jnp.searchsorted(score[order], score, side="right")
        wins = (weight * positive * 0.5 * (below[left] + below[right])).sum()
        return wins, (weight * positive).sum() * negative.sum()

    wins, pairs = jax.vmap(rank, in_axes=1)(probability, truth)
    chosen = jnp.take_along_axis(probability, label[:, None], axis=1)[:, 0]
    loss = -(weight * jnp.log(jnp.maximum(chosen, 1e-12))).sum()
    return Counts(confusion, wins, pairs, loss)


def _ratio(top, bottom):
    """top / bottom, and 0 where bottom is 0 (scikit-learn's zero_division)."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def summarise(sums: Counts) -> dict[str, float | None]:
    """The metrics of a `Counts`, on the host, as plain numbers.

    accuracy (equation 6 of the paper, read as trace / N), balanced_accuracy, mcc, auroc
    (for more than two classes the mean of one-against-rest), nll (nats), and
    macro_ and weighted_ precision, recall and f1. With two classes also precision,
    recall, f1 (equations 3 to 5) and specificity of class 1, the tumour. A ratio whose
    denominator is 0 is 0; an AUROC without pairs is None.

    Raises:
        ValueError: if the counts hold no example.
    """
    matrix = np.asarray(sums.confusion, np.float64)
    total = matrix.sum()
    if total == 0:
        raise ValueError("no example has a weight above 0")
    hits, truth, guess = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    precision, recall = _ratio(hits, guess), _ratio(hits, truth)
    f1 = _ratio(2 * hits, guess + truth)
    present = truth > 0
    used = present | (guess > 0)
    covariance = hits.sum() * total - (truth * guess).sum()
    spread = (total**2 - (guess**2).sum()) * (total**2 - (truth**2).sum())
    pairs = np.asarray(sums.pairs, np.float64)
    two = len(matrix) == 2
    auroc = None
    if pairs.min() > 0:
        areas = np.asarray(sums.wins, np.float64) / pairs
        auroc = float(areas[1] if two else areas.mean())
    result = {
        "accuracy": hits.sum() / total,
        "balanced_accuracy": recall[present].mean(),
        "mcc": covariance / np.sqrt(spread) if spread > 0 else 0.0,
        "nll": float(sums.loss) / total,
    }
    if two:
        result |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
        result["specificity"] = recall[0]
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[f"macro_{name}"] = values[used].mean()
        result[f"weighted_{name}"] = (values * truth).sum() / total
    return {name: float(value) for name, value in result.items()} | {"auroc": auroc}


def called(p: np.ndarray) -> np.ndarray:
    """[N, K] probabilities -> [N] int64, the class that each image is called: the most
    probable one, the first of equal ones; of two classes 1 if its p > 0.5."""
    return (p[:, 1] > 0.5).astype(np.int64) if p.shape[1] == 2 else p.argmax(axis=1)


def tally(p: np.ndarray, label: np.ndarray) -> Counts:
    """`counts` of saved predictions, on the host in float64.

    Args:
        p: [N, K], rows sum to 1; label: [N] int in [0, K); N at least 1.
    """
    import scipy.stats

    p, label = np.asarray(p, np.float64), np.asarray(label, np.int64)
    confusion = np.zeros((p.shape[1], p.shape[1]))
    np.add.at(confusion, (label, called(p)), 1)
    positives = confusion.sum(axis=1)
    ranks = scipy.stats.rankdata(p, axis=0)
    rank_sum = np.asarray([ranks[label == k, k].sum() for k in range(p.shape[1])])
    wins = rank_sum - positives * (positives + 1) / 2
    chosen = p[np.arange(len(p)), label]
    loss = -np.log(np.maximum(chosen, 1e-12)).sum()
    return Counts(confusion, wins, positives * (len(label) - positives), loss)


def predicted(p: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Every metric of saved predictions: `two_class` of two, else `summarise`.

    Args:
        p: [N, K], rows sum to 1; label: [N] int in [0, K); N at least 1.
    """
    return two_class(p[:, 1], label) if p.shape[1] == 2 else summarise(tally(p, label))


def two_class(p: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Every metric of saved predictions of two classes, on the host in float64.

    Those of `summarise`, and: auprc (average precision; None without both classes), brier
    (mean squared error of p), ece (expected calibration error of class 1 over 15 bins of
    equal width). An image is called class 1 if p > 0.5; nll clips p at 1e-12.

    Args:
        p: [N] probability of class 1; label: [N] int, 0 or 1; N at least 1.

    References:
        Guo et al., "On calibration of modern neural networks", 2017.
    """
    p, label = np.asarray(p, np.float64), np.asarray(label, np.int64)
    sums = tally(np.stack([1.0 - p, p], axis=1), label)
    result = summarise(sums)
    place = np.minimum((p * 15).astype(np.int64), 14)
    gap = np.bincount(place, p - label, minlength=15)
    result["brier"] = float(np.square(p - label).mean())
    result["ece"] = float(np.abs(gap).sum() / len(p))
    result["auprc"] = _average_precision(p, label) if sums.pairs[1] else None
    return result


def _average_precision(p: np.ndarray, label: np.ndarray) -> float:
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(label[order])
    # At the last of equal scores only: a threshold takes all of them or none.
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    precision = hits[last] / (last + 1)
    gained = np.diff(hits[last], prepend=0) / label.sum()
    return float((precision * gained).sum())
