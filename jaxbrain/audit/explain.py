"""What of an image a classifier's answer rests on, as maps beside it.

`grad_cam` asks the gradient, `occlusion` covers places and looks what changes, `difference` shows
where a network's map of an image differs from its mirror image. A map is a hint at what the
network used, not at what is ill: it is no segmentation.

Images are uint8 [N, S, S, 1]; maps are [N, S, S] float32.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data.preprocess import to_float
from jaxbrain.errors import ConfigError
from jaxbrain.nn.cnn_lstm import CNN
from jaxbrain.training import classifier
from jaxbrain.types import Array, ClassifierState, require_bytes, require_range

# Images at a time; fewer are filled up to a power of two.
_BLOCK = 16
# Of the side of an image, what an occluding patch covers by default.
_PATCH = 8


def grad_cam(
    cfg: Config, state: ClassifierState, image: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Gradient-weighted class activation maps.

    With A [H, W, F] the activations of the CNN's last convolution (after its ReLU, and the pools
    that are computed with it) and y the logit of the class asked for:
    map = ReLU(sum_f mean_hw(dy / dA_f) A_f), enlarged to the image bilinearly and divided by its
    largest value. A network that folds an image with its mirror image has activations of both:
    the map of the mirror image is turned back and added before the ReLU.

    Args:
        image: [N, S, S, 1] uint8, of `cfg.data.image_size`.
        target: [N] int, the class of each image whose logit is asked for.

    Returns:
        [N, S, S] float32 in [0, 1]; all 0 where nothing speaks for the class.

    References:
        Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
        localization", 2017.
    """
    target = np.asarray(target, np.int32)
    require_range("target", target, cfg.data.num_classes)
    return _in_blocks(partial(_grad_cam, cfg, state), image, target)


def difference(cfg: Config, state: ClassifierState, image: np.ndarray) -> np.ndarray:
    """Where the network's map of an image differs from its mirror image.

    With M [H, W, F] the map that the CNN hands on (`CNN.map`), M' the same turned left to right:
    sum_f |M - M'| at each place, divided by the largest sum_f (|M| + |M'|) of the image, enlarged
    to it bilinearly. An image that is its own mirror image has 0 everywhere.

    Args:
        cfg: with `cnn.mirror`, whose map of a mirrored image is the map mirrored: only there is
            M' what the network sees at the mirror place.

    Returns:
        [N, S, S] float32 in [0, 1], the two halves alike; 1 where one side alone is active, and
        as active as the network is anywhere in the image.

    Raises:
        ConfigError: for a network that does not fold its map.
    """
    if not folds(cfg):
        raise ConfigError("cnn.mirror is False: expected a network that folds its map")
    return _in_blocks(partial(_difference, cfg, state), image)


def folds(cfg: Config) -> bool:
    """Whether a configuration's CNN folds its map with that of the mirror image."""
    return cfg.cnn.mirror and cfg.hybrid.sequence != "mirrored"


def occlusion(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    target: np.ndarray,
    *,
    patch: int = 0,
    stride: int = 0,
) -> np.ndarray:
    """How much the probability of a class falls when a place is covered.

    A grey square, of the image's own mean, is slid over the image; each pixel gets the mean fall
    over the places of the square that cover it.

    Args:
        predict: [M, S, S, 1] uint8 -> [M, K] probabilities, of any model.
        target: [N] int, the class of each image whose probability is looked at.
        patch: side of the square, pixels; 0 takes an eighth of the image's.
        stride: pixels between two places; 0 takes half of the patch.

    Returns:
        [N, S, S] float32 in [-1, 1]: above 0 the place speaks for the class, below 0 against it.

    Raises:
        ConfigError: for a patch that is larger than the image, or a stride that leaves gaps.

    References:
        Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    require_bytes(image)
    side = image.shape[1]
    patch = patch or max(1, side // _PATCH)
    stride = stride or max(1, patch // 2)
    if not 0 < patch <= side or not 0 < stride <= patch:
        raise ConfigError(
            f"patch is {patch} and stride {stride}: expected a patch of 1 to {side} pixels, and a "
            "stride of 1 to the patch"
        )
    starts = sorted({*range(0, side - patch + 1, stride), side - patch})
    covered = np.zeros((len(starts) ** 2, side, side), bool)
    for n, (top, left) in enumerate((top, left) for top in starts for left in starts):
        covered[n, top : top + patch, left : left + patch] = True
    times = covered.sum(axis=0)
    maps = []
    for one, k in zip(np.asarray(image), np.asarray(target).tolist(), strict=True):
        grey = np.uint8(np.round(one.mean()))
        many = np.where(covered[..., None], grey, one[None])
        p = np.float64(predict(np.concatenate([one[None], many])))[:, k]
        maps.append(np.einsum("n,nrc->rc", p[0] - p[1:], covered) / times)
    return np.float32(maps)


def _in_blocks(function: Callable, image: np.ndarray, *more: np.ndarray) -> np.ndarray:
    require_bytes(image)
    found = []
    for i in range(0, len(image), _BLOCK):
        some = [np.asarray(x[i : i + _BLOCK]) for x in (image, *more)]
        rows = len(some[0])
        fill = (1 << (rows - 1).bit_length()) - rows
        filled = (np.concatenate([x, np.repeat(x[:1], fill, axis=0)]) for x in some)
        found.append(np.asarray(function(*filled))[:rows])
    return np.concatenate(found)


def _watched(
    cfg: Config, state: ClassifierState, image: Array, is_it: Callable, change: Array | None = None
) -> tuple[Array, Array]:
    """The logits of an image, and what calls of the CNN's methods gave meanwhile, in one array.

    is_it: (method, its arguments) -> whether it is one of them. change: added to what they give.
    """
    taken: list[Array] = []

    def look(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if isinstance(context.module, CNN) and is_it(context.method_name, args):
            # A CPU has them in several parts.
            first = sum(one.shape[0] for one in taken)
            if change is not None:
                out = out + change[first : first + out.shape[0]]
            taken.append(out)
        return out

    with nn.intercept_methods(look):
        found = classifier.logits(cfg, state, to_float(image, cfg.data.channels))
    return found, jnp.concatenate(taken)


@partial(jax.jit, static_argnums=0)
def _grad_cam(cfg: Config, state: ClassifierState, image: Array, target: Array) -> Array:
    last = len(cfg.cnn.filters)

    def is_last(method: str, args: tuple) -> bool:
        return method == "_block" and args[0] == last

    def chosen(change):
        logits, activations = _watched(cfg, state, image, is_last, change)
        own = jnp.take_along_axis(logits, target[:, None], axis=1)
        return own.sum(), activations

    shape = jax.eval_shape(lambda: _watched(cfg, state, image, is_last)[1])
    slope, activations = jax.grad(chosen, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    weight = slope.mean(axis=(1, 2), keepdims=True)
    found = (weight * activations).sum(axis=-1).astype(jnp.float32)
    if len(found) > len(image):
        plain, mirrored = jnp.split(found, 2)
        found = plain + mirrored[:, :, ::-1]
    found = _enlarged(jax.nn.relu(found), image.shape[1])
    most = found.max(axis=(1, 2), keepdims=True)
    return jnp.where(most > 0, found / jnp.where(most > 0, most, 1.0), 0.0)


@partial(jax.jit, static_argnums=0)
def _difference(cfg: Config, state: ClassifierState, image: Array) -> Array:
    _, found = _watched(cfg, state, image, lambda method, args: method == "map")
    other = found[:, :, ::-1]
    total = (jnp.abs(found) + jnp.abs(other)).sum(axis=-1).max(axis=(1, 2), keepdims=True)
    share = jnp.abs(found - other).sum(axis=-1) / jnp.where(total > 0, total, 1.0)
    return _enlarged(share.astype(jnp.float32), image.shape[1])


def _enlarged(maps: Array, side: int) -> Array:
    return jax.image.resize(maps, (len(maps), side, side), "linear")
