"""Does a generator draw all that it was shown? Counted where it is known what there is: on
phantoms with known modes (`jaxbrain.data.modes`).

An oracle, a CNN trained on thousands of fresh phantoms, says which mode an image is of. It
answers "none" for what is far from every phantom, for what has not their fine detail and
for what it is not sure of, so that noise, the chequered images of a GAN that failed and
pictures between two modes count for nothing.
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.config import ClassifierConfig, CNNConfig, Config, DataConfig, OptimConfig
from jaxbrain.data import modes
from jaxbrain.data.preprocess import resized
from jaxbrain.errors import DataError
from jaxbrain.scoring.intervals import percentiles
from jaxbrain.training import loops
from jaxbrain.types import Array, ClassifierState, Dataset

NONE = -1
# Of a mode's share in the training images, what the samples must hold for it to count as
# drawn. The oracle's own errors put less than that into a mode that is not there.
ENOUGH = 0.1
# Share of fresh phantoms that each of the three reasons for "none" refuses.
_REFUSED = 0.01
_SIDE = 32
_CHECKED = 2000

_train = jax.jit(loops.train_classifier, static_argnums=0)
_predict = jax.jit(loops.predict, static_argnums=0)


class Oracle(NamedTuple):
    """Says which mode an image is of; `fitted` makes one.

    cfg, state: of its CNN. known: [R, 1024] float32 thumbnails of the phantoms it has seen;
    detail: [R, B] float64, their `_detail`. limits: [3], of `_doubts`, the largest that it
    takes: the 99 % quantiles of fresh phantoms. accuracy: of its answers on fresh
    phantoms that it took: of the "mode" and of each factor ("label", "contrast",
    "ventricles", and of tumours "side", "half"); "none": share of them that it refused.
    """

    cfg: Config
    state: ClassifierState
    known: np.ndarray
    detail: np.ndarray
    limits: np.ndarray
    accuracy: dict[str, float]


def _config(epochs: int) -> Config:
    optim = OptimConfig("adam", 3e-3, l2=0.0, weight_decay=0.02, schedule="one_cycle", warmup=0.15)
    return Config(
        data=DataConfig(num_classes=len(modes.TABLE), image_size=_SIDE, normalise="minmax"),
        cnn=CNNConfig(filters=(16, 32, 32), first_kernel_size=5, norm="group"),
        classifier=ClassifierConfig(
            mode="cnn", epochs=epochs, batch_size=32, shuffle="every_epoch", optim=optim
        ),
        compute="float32",
    )


def _small(image: np.ndarray, mode: np.ndarray | None = None) -> Dataset:
    unused = np.zeros(len(image), np.int32)
    return resized(Dataset(np.asarray(image), unused if mode is None else mode, unused), _SIDE)


def _flat(small: Dataset) -> np.ndarray:
    return np.asarray(small.image).reshape(len(small.label), -1) / np.float32(255.0)


def _nearest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of each row of `one` [N, D] to the nearest row of `other`, root of the mean
    square of a pixel: [N]."""
    squares = np.square(other).sum(axis=1)
    found = []
    for start in range(0, len(one), 500):
        some = one[start : start + 500]
        gap = np.square(some).sum(axis=1)[:, None] + squares - 2.0 * some @ other.T
        found.append(gap.min(axis=1))
    return np.sqrt(np.maximum(np.concatenate(found), 0.0) / one.shape[1])


def _detail(image: np.ndarray) -> np.ndarray:
    """Logarithms of what averages over 2 x 2 pixels take away from an image, and from what
    is left, up to four times: [N, S, S, 1] uint8 -> [N, B] float64."""
    grey, found = image[..., 0] / 255.0, []
    while len(found) < 4 and grey.shape[1] % 2 == 0:
        count, half = len(grey), grey.shape[1] // 2
        cells = grey.reshape(count, half, 2, half, 2)
        grey = cells.mean(axis=(2, 4))
        lost = (cells - grey[:, :, None, :, None]).reshape(count, -1).std(axis=1)
        found.append(np.log(lost + 1e-3))
    return np.stack(found, axis=1)


def _doubts(oracle: Oracle, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest mode [N], and [N, 3] reasons not to believe it, the more the larger: the
    distance of the thumbnail to the nearest phantom's, Mahalanobis' distance of the detail
    to that of phantoms, and how unsure the CNN is."""
    small = _small(image)
    share = np.asarray(_predict(oracle.cfg, oracle.state, small))
    gap = _detail(np.asarray(image)) - oracle.detail.mean(axis=0)
    inverse = np.linalg.inv(np.atleast_2d(np.cov(oracle.detail, rowvar=False)))
    rough = np.sqrt(np.einsum("ni,ij,nj->n", gap, inverse, gap))
    near = _nearest(_flat(small), oracle.known)
    return share.argmax(axis=1), np.stack([near, rough, 1.0 - share.max(axis=1)], axis=1)


def fitted(
    key: Array, size: int, difficulty: float = 0.5, *, num: int = 5000, epochs: int = 10
) -> Oracle:
    """An oracle for phantoms of a size and difficulty.

    It looks at images of 32 x 32. About a minute on two cores with the defaults.

    Args:
        key: of the phantoms and of the CNN. The key is consumed.
        size: side of the phantoms, pixels, even. difficulty: in [0, 1].
        num: of the phantoms it learns from. epochs: how often it sees each.

    Raises:
        DataError: for an odd size, and fewer than 48 phantoms.
    """
    if size % 2:
        raise DataError(f"size is {size}: expected an even number of pixels")
    seen_key, check_key, fit_key = jax.random.split(key, 3)
    seen, mode = modes.dataset(seen_key, num, size, difficulty)
    cfg, small = _config(epochs), _small(seen.image, mode)
    state, _ = _train(cfg, small, fit_key)
    oracle = Oracle(cfg, state, _flat(small), _detail(seen.image), np.full(3, np.inf), {})
    fresh, truth = modes.dataset(check_key, _CHECKED, size, difficulty)
    found, doubts = _doubts(oracle, fresh.image)
    limits = np.quantile(doubts, 1.0 - _REFUSED, axis=0)
    taken = (doubts <= limits).all(axis=1)
    accuracy = _accuracy(found[taken], truth[taken]) | {"none": float(1.0 - taken.mean())}
    return oracle._replace(limits=limits, accuracy=accuracy)


def _accuracy(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    hit = modes.TABLE[found] == modes.TABLE[truth]
    tumour = modes.TABLE[truth, 0] == 1
    rows = {"label": 0, "contrast": 1, "ventricles": 2}
    of_all = {name: float(hit[:, column].mean()) for name, column in rows.items()}
    of_tumours = {"side": float(hit[tumour, 3].mean()), "half": float(hit[tumour, 4].mean())}
    return {"mode": float((found == truth).mean())} | of_all | of_tumours


def of_images(oracle: Oracle, image: np.ndarray) -> np.ndarray:
    """The mode of each image: [N, S, S, 1] uint8 -> [N] int32, rows of `modes.TABLE`, or
    `NONE`."""
    found, doubts = _doubts(oracle, image)
    taken = (doubts <= oracle.limits).all(axis=1)
    return np.where(taken, found, NONE).astype(np.int32)


def recall_of_modes(
    mode: np.ndarray,
    label: np.ndarray,
    trained: np.ndarray,
    rng: np.random.Generator,
    *,
    draws: int = 1000,
) -> dict:
    """How many of the modes of the training images a generator draws.

    A mode is drawn if the samples of its class hold at least a tenth (`ENOUGH`) of the share
    that it has among the training images of the class.

    Args:
        mode: [M] int32 of the samples (`of_images`). label: [M], the class each was asked
            to be of.
        trained: [T] int32, modes of the training images, of every class in `label`.
        rng: of the bootstrap, over the samples of each class. draws: of the bootstrap.

    Returns:
        "recall": share of the training images' modes that are drawn, of all classes
        together. "precision": share of samples in a mode of their own class that the
        training images have. Both {"value", "interval": [low, high]}, 95 %; the spread is
        that of the samples, given the training. "overlap": sum over modes of the smaller of
        their two shares, of the samples and of the training images, 1 if they agree: mean
        of the classes. "none": share of samples in no mode at all. "classes": recall,
        precision and overlap of each. "missing": names of the modes that are not drawn.

    Raises:
        DataError: if a class has samples or training images only.

    Example:
        >>> trained, label = np.array([0, 0, 1, 1]), np.zeros(4, int)
        >>> mode = np.array([0, 0, 0, NONE])
        >>> found = recall_of_modes(mode, label, trained, np.random.default_rng(0))
        >>> found["recall"]["value"], found["precision"]["value"], found["missing"]
        (0.5, 0.75, ['T1, large ventricles'])
    """
    mode, label, trained = map(np.asarray, (mode, label, trained))
    of_training = modes.TABLE[trained, 0]
    asked, known = np.unique(label).tolist(), np.unique(of_training).tolist()
    if asked != known:
        raise DataError(
            f"samples are of the classes {asked}, training images of {known}: expected the same"
        )
    parts = [_one_class(mode[label == k], trained[of_training == k], rng, draws) for k in asked]
    drawn = np.concatenate([part.drawn for part in parts], axis=1)
    total = np.array([part.right for part in parts]).sum(axis=0) / len(mode)
    there = np.concatenate([part.modes for part in parts])
    return {
        "recall": _with_interval(drawn.mean(axis=1)),
        "precision": _with_interval(total),
        "overlap": float(np.mean([part.overlap for part in parts])),
        "none": float((mode == NONE).mean()),
        "classes": {
            str(k): {
                "recall": float(part.drawn[0].mean()),
                "precision": float(part.right[0] / (label == k).sum()),
                "overlap": part.overlap,
            }
            for k, part in zip(asked, parts, strict=True)
        },
        "missing": [modes.name(m) for m in there[~drawn[0]]],
    }


class _Class(NamedTuple):
    """Figures of one class, of its samples (row 0) and of resampled ones: drawn [1 + B, m],
    whether each of its modes [m] is; right [1 + B], how many samples are in one of them."""

    modes: np.ndarray
    drawn: np.ndarray
    right: np.ndarray
    overlap: float


def _one_class(mode: np.ndarray, trained: np.ndarray, rng, draws: int) -> _Class:
    there, times = np.unique(trained, return_counts=True)
    expected, total = times / times.sum(), len(mode)
    count = (mode[:, None] == there).sum(axis=0)
    elsewhere = total - count.sum()
    again = rng.multinomial(total, np.append(count, elsewhere) / total, size=draws)[:, :-1]
    held = np.concatenate([count[None], again])
    overlap = float(np.minimum(held[0] / total, expected).sum())
    return _Class(there, held >= ENOUGH * expected * total, held.sum(axis=1), overlap)


def _with_interval(values: np.ndarray) -> dict:
    return {"value": float(values[0]), "interval": list(percentiles(values[1:]))}
