"""Near-copies of training images among synthetic ones: counted, with intervals.

What is found was found by one distance (`data.nearest`): mirrored, shifted and gain-changed
copies count, turned, enlarged or partly copied images do not. A low number says that this
distance met few near-copies, and no more: not that nothing of a training image can be told.

Images are uint8 [N, S, S, 1]; the sets may have different sides.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from jaxbrain.data import duplicates
from jaxbrain.data.nearest import apart, distances
from jaxbrain.errors import DataError
from jaxbrain.scoring.intervals import percentiles

__all__ = ["Kept", "authentic", "copied", "distances", "kept"]

# Of the held-out images' distances: nearer than this share of them is a near-copy.
SHARE = 0.05


class Kept(NamedTuple):
    """Which images count, of each group of near-duplicates one at most.

    group: [N] int32, of all training images; near-duplicates share one.
    members: ascending indices of training images, the first of each group that holds no
        held-out image. held_out: likewise of held-out images, of groups without a training
        image.
    twins: training images that are near-duplicates of earlier ones. copies: held-out images
        that are near-duplicates of training images. held_out_twins: of earlier held-out ones.
    """

    group: np.ndarray
    members: np.ndarray
    held_out: np.ndarray
    twins: int
    copies: int
    held_out_twins: int


def kept(training: np.ndarray, held_out: np.ndarray, threshold: float = 0.98) -> Kept:
    """Look for near-duplicates: by the groups of `duplicates.groups` over both sets, of whole
    images and of head crops, mirrored ones too.

    Raises:
        DataError: if no held-out image is left.
    """
    both = [one[..., 0] for images in (training, held_out) for one in np.asarray(images)]
    scaled = [one / np.float32(255.0) for one in both]
    small = np.stack([duplicates.small(one) for one in scaled])
    heads = np.stack([duplicates.small_head(one) for one in scaled])
    with_mirrored = lambda x: np.concatenate([x, x[:, :, ::-1]])  # noqa: E731
    names = [_digest(one) for one in both] + [_digest(one[:, ::-1]) for one in both]
    # An image and its own mirror image are one group, as slices of a patient are.
    same = np.tile(np.arange(len(both)), 2)
    small, heads = with_mirrored(small), with_mirrored(heads)
    group = duplicates.groups(small, names, threshold, same.tolist(), heads)[: len(both)]
    ours, theirs = group[: len(training)], group[len(training) :]
    members, others = _first_alone(ours, theirs), _first_alone(theirs, ours)
    copies = int(np.isin(theirs, ours).sum())
    if not len(others):
        raise DataError(
            f"{len(held_out)} held-out images, of which {copies} are copies of training images: "
            "expected at least 1 that is none"
        )
    twins = len(ours) - len(np.unique(ours))
    return Kept(ours, members, others, twins, copies, len(theirs) - copies - len(others))


def _first_alone(group: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Indices of the first image of each group that has none in `other`."""
    names, first = np.unique(group, return_index=True)
    return np.sort(first[~np.isin(names, other)])


def _digest(image: np.ndarray) -> str:
    # With the side: bytes alone would let a longer image pass for another.
    return f"{len(image)} {hashlib.sha256(np.ascontiguousarray(image)).hexdigest()}"


def near(distance: np.ndarray, share: float = SHARE) -> tuple[float, float]:
    """A threshold under few of the held-out images' distances [H], H at least 1.

    It is the k-th smallest one, k = max(floor(share (H + 1)), 1): of images like the held-out
    ones no more than k / (H + 1) are expected at or below it. That is `share` at most, but
    of H < 1 / share - 1 images, where the smallest one has to serve.

    Returns:
        (threshold, that expected share).

    Example:
        >>> near(np.arange(1.0, 40.0))
        (2.0, 0.05)
    """
    count = len(distance)
    k = max(int(share * (count + 1) + 1e-9), 1)
    return float(np.partition(distance, k - 1)[k - 1]), k / (count + 1)


def copied(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    rng: np.random.Generator,
    *,
    among: Kept | None = None,
    draws: int = 2000,
) -> dict:
    """The share of synthetic images that are as near to a training image as hardly any
    held-out image is: `near` of the held-out images' distances, or nearer.

    Images that no generator copied reach about "expected" of it. Few held-out images (under
    40, say) make the threshold itself uncertain, which the interval shows.

    Args:
        synthetic, training, held_out: see the module.
        rng: of the bootstrap over synthetic and over held-out images.
        among: from `kept`; None calls it.

    Returns:
        {"value", "interval": [low, high] (95 %), "threshold": distance, "expected": share of
        images like the held-out ones, "synthetic", "training", "held_out": numbers of images
        used, "twins" (used: the nearest of twins is the nearest), "copies", "held_out_twins"
        (both left out): see `Kept`, "distance": [M] float64 and "nearest": [M] int64, of each
        synthetic image the nearest training image; "order": [M] int64, the nearest pairs
        first; "held_out_distance": [H] float64}.

    Raises:
        DataError: for empty sets, other dtypes or shapes, or if no held-out image is left.
    """
    among = kept(training, held_out) if among is None else among
    distance, nearest = distances(synthetic, training)
    others, _ = distances(held_out[among.held_out], training)
    threshold, expected = near(others)
    shares = np.empty(draws)
    for i in range(draws):
        limit, _ = near(rng.choice(others, len(others)))
        shares[i] = (rng.choice(distance, len(distance)) <= limit).mean()
    return {
        "value": float((distance <= threshold).mean()),
        "interval": list(percentiles(shares)),
        "threshold": threshold,
        "expected": expected,
        "synthetic": len(distance),
        "training": len(training),
        "held_out": len(others),
        "twins": among.twins,
        "copies": among.copies,
        "held_out_twins": among.held_out_twins,
        "distance": distance,
        "nearest": nearest,
        "order": np.argsort(distance, kind="stable"),
        "held_out_distance": others,
    }


def authentic(
    synthetic: np.ndarray,
    training: np.ndarray,
    rng: np.random.Generator,
    *,
    group: np.ndarray | None = None,
    found: tuple[np.ndarray, np.ndarray] | None = None,
    draws: int = 2000,
) -> dict:
    """AuthPct: the share of synthetic images that are farther from their nearest training
    image than that one is from its nearest other training image, of another group.

    Without groups a training image with a twin is at distance 0 from it, and any copy of it
    passes for authentic.

    Args:
        group: [N] int, of training images, `Kept.group`; None gives each its own.
        found: the "distance" and "nearest" that `copied` returned; None computes them.

    Returns:
        {"value", "interval": [low, high] (95 %, over synthetic images), "authentic": [M] bool}.

    Raises:
        DataError: for fewer than 2 groups, other dtypes or shapes.

    References:
        Alaa et al., "How faithful is your synthetic data?", 2022, as dgm-eval counts (Stein
        et al., "Exposing flaws of generative model evaluation metrics", 2023).
    """
    group = np.arange(len(training)) if group is None else np.asarray(group)
    if len(np.unique(group)) < 2:
        raise DataError(
            f"{len(training)} training images in one group: expected at least 2 groups, to "
            "compare an image with another one"
        )
    distance, nearest = distances(synthetic, training) if found is None else found
    own, _ = apart(training, group)
    far = own[nearest] < distance
    shares = rng.binomial(len(far), far.mean(), size=draws) / len(far)
    return {"value": float(far.mean()), "interval": list(percentiles(shares)), "authentic": far}
