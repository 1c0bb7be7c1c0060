"""How a GAN's images compare with real ones while it trains: cheap numbers on thumbnails,
and what they say of a GAN that failed."""

import numpy as np

_SIDE = 8
# Reports in a row before something is said.
_REPORTS = 3


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


def warnings(events: list[dict], real_spread: float) -> list[str]:
    """What the last reports of a GAN's training say of a failure, a line each.

    events: rows of `metrics.jsonl` of one training, in order; real_spread: `spread` of the
    images it was trained on.
    """
    last = events[-_REPORTS:]
    if len(last) < _REPORTS:
        return []
    found = []
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
