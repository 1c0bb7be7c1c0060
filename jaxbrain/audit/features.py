"""What a set of images is compared by: functions from images to numbers.

Each takes [N, S, S, 1] uint8 of any side S and gives [N, D] float32; an image has the same
numbers whatever stands beside it. Images are brought to one side first, and are looked at
as they are, without a head crop: what surrounds a head is drawn too.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.baselines import mirror
from jaxbrain.baselines import pretrained as imagenet
from jaxbrain.config import Config
from jaxbrain.data.preprocess import resized, to_float
from jaxbrain.nn.cnn_lstm import CNN
from jaxbrain.nn.efficientnet import EfficientNetLite0
from jaxbrain.training import classifier
from jaxbrain.training.loops import train_classifier
from jaxbrain.types import Array, ClassifierState, Dataset

Features = Callable[[np.ndarray], np.ndarray]

# Side of what pixels and texture look at, cells along it, and images at a time.
SIDE, _CELLS, _BLOCK = 64, 16, 32


def _at(image: np.ndarray, side: int) -> np.ndarray:
    """Images [N, S, S, 1] uint8 at another side (`preprocess.resized`).

    Raises:
        DataError: for another dtype or shape, or no image.
    """
    unused = np.zeros(len(image), np.int32)
    return np.asarray(resized(Dataset(np.asarray(image), unused, unused), side).image)


def _in_blocks(function: Callable[[Array], Array], image: np.ndarray, block: int) -> np.ndarray:
    """`function` [B, ...] -> [B, D], a block of images at a time: [N, D] float32."""
    found = []
    for start in range(0, len(image), block):
        some = image[start : start + block]
        # Filled to one shape, which is one program.
        full = np.concatenate([some, np.zeros((block - len(some), *some.shape[1:]), some.dtype)])
        found.append(np.asarray(function(full))[: len(some)])
    return np.concatenate(found)


def pixels(image: np.ndarray) -> np.ndarray:
    """Mean grey of 16 x 16 cells: [N, S, S, 1] uint8 -> [N, 256] float32 in [0, 1].

    Raises:
        DataError: for another dtype or shape, or no image.

    Example:
        >>> pixels(np.full((2, 48, 48, 1), 51, np.uint8)).round(3).max(axis=1).tolist()
        [0.20000000298023224, 0.20000000298023224]
    """
    cell = SIDE // _CELLS
    cells = _at(image, SIDE).reshape(-1, _CELLS, cell, _CELLS, cell)
    means = cells.mean(axis=(2, 4), dtype=np.float32) / np.float32(255.0)
    return means.reshape(len(image), -1)


def texture(image: np.ndarray) -> np.ndarray:
    """Mean over the image of each channel of `mirror.scattering`, after log(1 + 20 u).

    How much of each scale and direction an image holds, alone and after another; little of
    where. Needs no training and no weights.

    Args:
        image: [N, S, S, 1] uint8, seen at 64 x 64.

    Returns:
        [N, 241] float32, at least 0.

    Raises:
        DataError: for another dtype or shape, or no image.

    References:
        Bruna and Mallat, "Invariant scattering convolution networks", 2013.
    """
    return _in_blocks(_texture, _at(image, SIDE), _BLOCK)


@jax.jit
def _texture(image: Array) -> Array:
    maps = mirror.scattering(image[..., 0].astype(jnp.float32) / 255.0)
    return jnp.log1p(20.0 * jnp.maximum(maps, 0.0)).mean(axis=(2, 3))


def of_classifier(cfg: Config, train: Dataset, key: Array) -> Features:
    """The last convolutions of the project's own classifier, trained on training images.

    The classifier of `cfg`, fitted on `train` alone; of its map (`CNN.map`, folded about the
    middle with `cnn.mirror`) the mean over all places, as Inception's features are means of
    its last map. It has as many numbers as the last convolution has filters, twice as many
    with `cnn.mirror`: 64 in the presets. The network knows its training images, so other
    real images differ from them more than by chance: see the real-versus-real row.

    Args:
        train: resized to `cfg.data.image_size` where it has another side.
        key: of the training.

    Returns:
        A function [N, S, S, 1] uint8 -> [N, F or 2 F] float32.

    Raises:
        ConfigError, DataError: as `loops.train_classifier`.
    """
    side = cfg.data.image_size
    train = resized(train, side)
    state, _ = jax.jit(train_classifier, static_argnums=0)(cfg, train, key)

    def features(image: np.ndarray) -> np.ndarray:
        return _in_blocks(partial(_mapped, cfg, state), _at(image, side), _BLOCK)

    return features


@partial(jax.jit, static_argnums=0)
def _mapped(cfg: Config, state: ClassifierState, image: Array) -> Array:
    seen = classifier.normalise(cfg, state, to_float(image, cfg.data.channels))
    net = state.cnn._replace(**state.average["cnn"]) if state.average else state.cnn
    variables = {"params": net.params, "batch_stats": net.batch_stats}
    # Where a network computes in half precision, its means are taken in full.
    return CNN(cfg).apply(variables, seen, method="map").astype("float32").mean(axis=(1, 2))


def pretrained() -> Features:
    """ImageNet's EfficientNet-lite0, frozen: the mean over its last map.

    Returns:
        A function [N, S, S, 1] uint8 -> [N, 1280] float32; it looks at 224 x 224 pixels,
        made of 128 x 128.

    Raises:
        ConfigError: if the extra `pretrained` is not installed, with the command.
        DataError: for another file of weights (`baselines.pretrained.load`).
    """
    values = imagenet.load()

    def features(image: np.ndarray) -> np.ndarray:
        return _in_blocks(partial(_trunk, values), _at(image, 128), 8)

    return features


@jax.jit
def _trunk(values, image: Array) -> Array:
    seen = imagenet.prepared(image[..., 0].astype(jnp.float32) / 255.0)
    return imagenet.means(partial(EfficientNetLite0().apply, values), seen)
