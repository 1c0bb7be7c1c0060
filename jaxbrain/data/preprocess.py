"""Head box, square, size of one file's grey image; bytes to floats and back, for batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy import ndimage

from jaxbrain.data.decode import MAX_PIXELS, refuse_shape
from jaxbrain.errors import DataError
from jaxbrain.types import Array, Dataset, require_bytes


def head(image: np.ndarray, opening: int = 0) -> np.ndarray:
    """The pixels of the head: [H, W] float32 in [0, 1] -> [H, W] bool.

    The head is the largest connected region brighter than Otsu's threshold of the image
    halved, since scalp and brain are darker than the brightest parts, with its holes
    filled. A constant image gives the whole frame. `opening` takes away first what is
    narrower than twice as many pixels, such as letters and lines that touch the head.

    References:
        Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    counts, edges = np.histogram(image, bins=64, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * gap**2)
    # Every threshold in a gap of the histogram is as good: take the middle.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    threshold = edges[best + 1].mean() / 2
    bright = image > threshold
    if opening:
        bright = ndimage.binary_opening(bright, iterations=opening)
    regions, count = ndimage.label(bright)
    if not count:
        return np.ones(image.shape, bool)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(regions == sizes.argmax())


def head_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """The box around `head`: (top, left, bottom, right), the last two exclusive."""
    rows, columns = ndimage.find_objects(head(image).astype(np.uint8))[0]
    return rows.start, columns.start, rows.stop, columns.stop


def without_border(image: np.ndarray) -> np.ndarray:
    """A picture [H, W] in [0, 1] without the plain rows and columns at its edges, of any
    grey; a plain picture as it is. Plain is what varies by less than eight of 255 levels."""
    rows = np.flatnonzero(np.ptp(image, axis=1) > 8 / 255)
    if not len(rows):
        return image
    image = image[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(np.ptp(image, axis=0) > 8 / 255)
    return image[:, columns[0] : columns[-1] + 1] if len(columns) else image


def isotropic(image: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """A picture whose pixels are not square, resized so that they are.

    Args:
        image: [H, W] float32 in [0, 1].
        spacing: distance of rows, and of columns, in one unit. Pixels of less than one per
            cent from square, and distances that are none, leave the picture as it is.

    Returns:
        [H', W'] float32 in [0, 1]: the axis of the finer spacing keeps its length, the
        other grows.

    Raises:
        DataError: if the picture would be longer than 4 to 1.
    """
    height, width = image.shape
    known = all(np.isfinite(spacing)) and min(spacing) > 0
    if not known or max(spacing) < 1.01 * min(spacing):
        return np.ascontiguousarray(image)
    finest = min(spacing)
    size = round(width * spacing[1] / finest), round(height * spacing[0] / finest)
    refuse_shape(*size)
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{size[0]}x{size[1]} with square pixels, more than {MAX_PIXELS}")
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32), "F")
    return np.clip(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), 0.0, 1.0)


def prepare(image: np.ndarray, size: int, crop: str, square: str) -> np.ndarray:
    """A grey picture of any shape to the study's square of bytes.

    Args:
        image: [H, W] float32 in [0, 1].
        size: side of the result, pixels.
        crop: "none", or "head" for the box of `head_box`.
        square: "stretch", or "pad" with black to a square first.

    Returns:
        [size, size, 1] uint8, resized with an antialiased bicubic filter (MATLAB's
        `imresize`).
    """
    if crop == "head":
        top, left, bottom, right = head_box(image)
        image = image[top:bottom, left:right]
    if square == "pad":
        missing = [max(image.shape) - length for length in image.shape]
        image = np.pad(image, [(lack // 2, (lack + 1) // 2) for lack in missing])
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32), "F")
    resized = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
    return np.round(np.clip(resized, 0.0, 1.0) * 255.0).astype(np.uint8)[..., None]


def resize(image: Array, size: int) -> Array:
    """Antialiased bicubic resize of a batch: [N, S, S, C] float32 -> [N, size, size, C].

    Traceable; used between the GAN's size and the classifier's.
    """
    if image.shape[1] == size:
        return image
    shape = (image.shape[0], size, size, image.shape[3])
    return jax.image.resize(image, shape, "cubic", antialias=True)


def to_float(image: Array, channels: int) -> Array:
    """[..., S, S, 1] uint8 -> [..., S, S, channels] float32 in [-1, 1].

    Raises:
        DataError: for another dtype, while tracing too: floats would pass for black.
    """
    require_bytes(image)
    scaled = image.astype(jnp.float32) / 127.5 - 1.0
    return jnp.broadcast_to(scaled, (*scaled.shape[:-1], channels))


def to_uint8(image: Array) -> Array:
    """[..., S, S, C] float32 in [-1, 1] -> [..., S, S, 1] uint8, the channels' mean."""
    grey = image.mean(axis=-1, keepdims=True)
    return jnp.clip(jnp.round((grey + 1.0) * 127.5), 0, 255).astype(jnp.uint8)


def resized(data: Dataset, size: int) -> Dataset:
    """A copy of `data` at another size: antialiased bicubic, rounded to bytes.

    Raises:
        DataError: for data that are no bytes, see `Dataset.check`.
    """
    data.check()
    if data.image.shape[1] == size:
        return data
    parts = [
        np.asarray(_resized(size, np.asarray(data.image[i : i + _BLOCK])))
        for i in range(0, len(data.label), _BLOCK)
    ]
    return data._replace(image=np.concatenate(parts))


# Images at a time, so that memory does not grow with the data.
_BLOCK = 256


# A GPU would be tried out for each of its two products: 8 s of an H200's time, twice a run.
@partial(jax.jit, static_argnums=0, compiler_options={"xla_gpu_autotune_level": 0})
def _resized(size: int, image: Array) -> Array:
    return to_uint8(resize(to_float(image, 1), size))
