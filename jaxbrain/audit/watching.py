"""How a GAN's images compare with real ones while it trains: cheap numbers on thumbnails,
and what they say of a GAN that failed."""

import numpy as np

from jaxbrain.audit import generative

_SIDE = 8
# Reports in a row before something is said.
_REPORTS = 3
# Images of each class of a half of the real ones, as many as a report draws: the distance of
# few images is large, so both must be of as many.
HALF = 50
# Times the distance of two halves of the real images from which on a GAN is far from them. GANs
# of phantoms and of Kaggle's images were at 0.9 to 2.0 times at their end, at 4.6 to 41 times
# after a fifth of their steps.
FAR = 5.0


def features(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 64] float64 in [0, 1]: means over an 8 x 8 grid of cells."""
    edges = np.linspace(0, image.shape[1], _SIDE + 1).round().astype(int)
    grey = image[..., 0].astype(np.float64) / 255.0
    rows = np.add.reduceat(grey, edges[:-1], axis=1) / np.diff(edges)[:, None]
    cells = np.add.reduceat(rows, edges[:-1], axis=2) / np.diff(edges)
    return cells.reshape(len(image), -1)


def spread(image: np.ndarray, label: np.ndarray) -> float:
    """How different the images of a class are: the standard deviation of each pixel over
    the images of its class, averaged over pixels and classes, in [0, 0.5]; 0 if a class
    holds one picture only.

    image: [N, S, S, 1] uint8; label: [N] int32.
    """
    grey = image.astype(np.float64) / 255.0
    return float(np.mean([grey[label == k].std(axis=0).mean() for k in np.unique(label)]))


def between_halves(image: np.ndarray, label: np.ndarray) -> float | None:
    """The Frechet distance of the thumbnails of two halves of some real images, drawn at random,
    at most `HALF` of each class in one; None where a class has fewer than four.

    What a generator's distance is to be read beside: two sets of the same origin are as far
    apart.

    image: [N, S, S, 1] uint8; label: [N] int32.
    """
    rng, halves = np.random.default_rng(0), ([], [])
    for k in np.unique(label):
        own = rng.permutation(np.flatnonzero(label == k))
        size = min(len(own) // 2, HALF)
        if size < 2:
            return None
        halves[0].append(own[:size])
        halves[1].append(own[size : 2 * size])
    return generative.frechet(*(features(image[np.concatenate(one)]) for one in halves))


def _far(last: dict) -> list[str]:
    """That the last samples are far from real images; reports of earlier versions do not say
    how far halves of these are from one another."""
    distance, halves = last.get("frechet_thumbnail"), last.get("frechet_halves")
    if distance is None or halves is None or distance <= FAR * halves:
        return []
    return [
        f"the samples are far from real images: thumbnail Frechet {distance:.3f} at step "
        f"{last['step']}, {distance / max(halves, 1e-12):.0f} times that of two halves of the "
        f"real images ({halves:.3f}): train longer, and look at samples/"
    ]


def warnings(events: list[dict], real_spread: float) -> list[str]:
    """What the last reports of a GAN's training say of a failure, a line each.

    events: rows of `metrics.jsonl` of one training, in order; real_spread: `spread` of the
    images it was trained on.
    """
    last = events[-_REPORTS:]
    found = _far(last[-1]) if last else []
    if len(last) < _REPORTS:
        return found
    widest = max(event["sample_spread"] for event in last)
    if widest < 0.1 * real_spread:
        found.append(
            f"mode collapse suspected: the samples of a class are alike (they differ by "
            f"{widest:.4f} a pixel, real images by {real_spread:.4f}) in the last {_REPORTS} "
            f"reports, to step {last[-1]['step']}"
        )
    surest = min(event.get("discriminator_accuracy", 0.0) for event in last)
    if surest > 0.99:
        found.append(
            f"the discriminator is certain ({100 * surest:.1f} % right in the last {_REPORTS} "
            f"reports, to step {last[-1]['step']}): the generator learns little from it"
        )
    return found
