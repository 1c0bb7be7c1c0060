"""`mirror_kernel`: a head compared with its mirror image, by two sets of features and
kernel ridge regression.

A brain is nearly symmetric and a tumour seldom is, so each place is compared with its mirror
place. All looks at the head alone: what is around it may tell classes apart that come from
different sources (docs/results.md, What an honest classifier reaches).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from PIL import Image
from scipy import ndimage

from jaxbrain.baselines import floors
from jaxbrain.data import preprocess
from jaxbrain.types import Array

# Side of the head crop, and images at a time.
_SIDE, _BLOCK = 128, 32


def head_crop(image: np.ndarray) -> np.ndarray:
    """The head of each picture, the rest of it black, stretched to a square.

    The head is `preprocess.head` after a binary opening; its grey is a share of the 99.5th
    percentile inside, at most 1. A picture without one stays whole.

    Args:
        image: [N, S, S, 1] uint8.

    Returns:
        [N, 128, 128] float32 in [0, 1].
    """
    return np.stack([_crop(one[..., 0] / np.float32(255.0)) for one in image])


def _crop(image: np.ndarray) -> np.ndarray:
    # Otsu's threshold needs black around a head, and a head crop leaves little.
    image = np.pad(image, image.shape[0] // 4)
    mask = preprocess.head(image, opening=max(1, min(image.shape) // 150))
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    most = max(float(np.percentile(image[mask], 99.5)), 1e-6)
    inside = (np.clip(image / most, 0.0, 1.0) * mask)[rows, columns]
    picture = Image.fromarray(np.ascontiguousarray(inside, np.float32), "F")
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


# Blobs.

SIGMAS = 2.0, 3.5, 6.0, 9.0, 13.0
_PEAKS = 3


def gaussian(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [size, size] that blur a line, and take its blurred second derivative, as
    `scipy.ndimage.gaussian_filter1d` does (four sigma far, reflected at the edge)."""
    line = np.eye(size)
    return tuple(ndimage.gaussian_filter1d(line, sigma, axis=0, order=order) for order in (0, 2))


def blobs(image: Array) -> Array:
    """What is bright or dark at five scales, and how its mirror place differs.

    Of the grey in standard deviations inside the head (radius below 0.8), for each sigma:
    L, minus sigma^2 times the Laplacian of the Gaussian, b, the Gaussian blur, and dL, db,
    what each has more than its mirror image; for each sign s the three largest local maxima
    of s L: their s L, b, s db, s dL, radius and distance from the axis, and the largest s dL
    and s db anywhere.

    Args:
        image: [B, 128, 128] float32 in [0, 1].

    Returns:
        [B, 200] float32; of a maximum that is not there zeros.

    References:
        Lindeberg, "Feature detection with automatic scale selection", 1998.
    """
    size = image.shape[1]
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2)
    radius = np.hypot(axis[:, None], axis[None, :]).astype(np.float32)
    aside = np.broadcast_to(np.abs(axis)[None, :], radius.shape).astype(np.float32)
    inside = (radius < 0.8)[None]
    mean = image.mean(axis=(1, 2), where=inside, keepdims=True)
    std = image.std(axis=(1, 2), where=inside, keepdims=True)
    z = (image - mean) / jnp.maximum(std, 1e-6)
    found = []
    for sigma in SIGMAS:
        blur, second = (np.float32(matrix) for matrix in gaussian(size, sigma))

        def both(rows, columns, z=z):
            return jnp.einsum("ij,bjk,lk->bil", rows, z, columns)

        b = both(blur, blur)
        log = -(sigma**2) * (both(second, blur) + both(blur, second))
        more_log, more = (value - value[:, :, ::-1] for value in (log, b))
        for sign in (1.0, -1.0):
            values = [sign * log, b, sign * more, sign * more_log]
            found.append(_peaks(values, inside, (radius, aside), int(sigma)))
            found += [
                jnp.where(inside, sign * value, -jnp.inf).max(axis=(1, 2))[:, None]
                for value in (more_log, more)
            ]
    return jnp.concatenate(found, axis=1)


def _peaks(values: list, inside: np.ndarray, places: tuple, reach: int) -> Array:
    """The values and places at the largest local maxima of the first: [B, 3 * 6]."""
    height = around = values[0]
    for window in ((1, 2 * reach + 1, 1), (1, 1, 2 * reach + 1)):
        around = lax.reduce_window(around, -jnp.inf, lax.max, window, (1, 1, 1), "SAME")
    batch = height.shape[0]
    top = jnp.where((height == around) & inside, height, -jnp.inf).reshape(batch, -1)
    # Three searches: XLA's `top_k` sorts all pixels on a CPU.
    index, best, all_rows = [], [], jnp.arange(batch)
    for _ in range(_PEAKS):
        index.append(top.argmax(axis=1))
        best.append(top[all_rows, index[-1]])
        top = top.at[all_rows, index[-1]].set(-jnp.inf)
    index, best = jnp.stack(index, axis=1), jnp.stack(best, axis=1)
    rows = [jnp.take_along_axis(value.reshape(batch, -1), index, axis=1) for value in values]
    rows += [jnp.asarray(place).reshape(-1)[index] for place in places]
    there = jnp.isfinite(best)[..., None]
    return jnp.where(there, jnp.stack(rows, axis=2), 0.0).reshape(batch, -1)


# Scattering.

_J, _L, _PAD = 4, 6, 16


def _periodised(size: int, of_frequency) -> np.ndarray:
    """A filter's Fourier transform on a grid of `size`, its images of the neighbouring
    periods added: [size, size] float64."""
    line = 2 * np.pi * np.fft.fftfreq(size)
    shifts = 2 * np.pi * np.arange(-2, 3)
    return sum(
        of_frequency(line[:, None] + down, line[None, :] + right)
        for down in shifts
        for right in shifts
    )


def filters(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transforms of Morlet wavelets [J, L, size, size] and of the low-pass filter
    [size, size] over 2^J pixels, all real.

    At scale j: a Gaussian of sigma 0.8 2^j, 4 / L times as wide across its direction, at the
    frequency 3 pi / (4 2^j), less what makes its sum zero.

    References:
        Bruna and Mallat, "Invariant scattering convolution networks", 2013.
    """

    def gauss(sigma, slant, turn, centre):
        def at(row, column):
            along = row * np.cos(turn) + column * np.sin(turn) - centre
            across = -row * np.sin(turn) + column * np.cos(turn)
            return np.exp(-(sigma**2) / 2 * (along**2 + (across / slant) ** 2))

        return _periodised(size, at)

    def morlet(j, angle):
        sigma, centre, slant, turn = 0.8 * 2**j, 0.75 * np.pi / 2**j, 4 / _L, np.pi * angle / _L
        wave, bump = gauss(sigma, slant, turn, centre), gauss(sigma, slant, turn, 0.0)
        return wave - wave[0, 0] / bump[0, 0] * bump

    waves = np.stack([np.stack([morlet(j, angle) for angle in range(_L)]) for j in range(_J)])
    return waves, gauss(0.8 * 2 ** (_J - 1), 1.0, 0.0, 0.0)


def _every(spectrum: Array, step: int) -> Array:
    """The Fourier transform of every `step`-th pixel, of that of all: [..., n, n]."""
    n = spectrum.shape[-1] // step
    folded = spectrum.reshape(*spectrum.shape[:-2], step, n, step, n)
    return folded.mean(axis=(-4, -2))


def _times(spectrum: Array, transfer: np.ndarray) -> Array:
    """A spectrum [..., n, n] times a real filter, or several [L, n, n]."""
    shape = (1,) * (spectrum.ndim - transfer.ndim) + transfer.shape
    return spectrum * jnp.complex64(transfer.reshape(shape))


def scattering(image: Array) -> Array:
    """Scattering of orders 0 to 2 over 2^4 pixels, with six directions.

    Each wavelet's modulus is kept at every 2^j-th pixel only, since it has no finer detail.

    Args:
        image: [B, 64, 64] float32, reflected at its edges.

    Returns:
        [B, 241, 4, 4] float32.

    References:
        Bruna and Mallat, "Invariant scattering convolution networks", 2013.
    """
    x = jnp.pad(image, ((0, 0), (_PAD, _PAD), (_PAD, _PAD)), mode="reflect")
    waves, low = filters(x.shape[1])

    def smooth(spectrum, j):
        """Low-passed, of a spectrum at every 2^j-th pixel, at every 2^J-th."""
        # Without a sum over periods: the filter has nothing beyond them.
        kept = _times(spectrum, _every(low, 2**j) * 4**j)
        values = jnp.fft.ifft2(_every(kept, 2 ** (_J - j))).real
        cut = _PAD // 2**_J
        return values[..., cut:-cut, cut:-cut]

    def modulus(spectrum, j, scale):
        """|wavelets at `scale`|, of a spectrum at every 2^j-th pixel: at every 2^scale-th."""
        kept = _times(spectrum[..., None, :, :], _every(waves[scale], 2**j) * 4**j)
        found = jnp.fft.ifft2(_every(kept, 2 ** (scale - j)))
        return jnp.fft.fft2(jnp.abs(found))

    whole = jnp.fft.fft2(x)
    orders = [smooth(whole, 0)[:, None]]
    second = []
    for j in range(_J):
        first = modulus(whole, 0, j)
        orders.append(smooth(first, j))
        for scale in range(j + 1, _J):
            deeper = smooth(modulus(first, j, scale), scale)
            second.append(deeper.reshape(deeper.shape[0], -1, *deeper.shape[-2:]))
    return jnp.concatenate([*orders, *second], axis=1)


def folded(image: Array) -> Array:
    """`scattering` of a head and of its mirror image, taken together.

    With a of the image and m of its mirror image, after log(1 + 20 u): means and maxima over
    the map of a + m and |a - m|.

    Args:
        image: [B, 128, 128] float32 in [0, 1]; seen at 64 x 64, means of 2 x 2 pixels.

    Returns:
        [B, 964] float32.
    """
    half = image.shape[1] // 2
    small = image.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))
    one, mirrored = (
        jnp.log1p(20.0 * jnp.maximum(scattering(x), 0.0)) for x in (small, small[:, :, ::-1])
    )
    maps = jnp.concatenate([one + mirrored, jnp.abs(one - mirrored)], axis=1)
    return jnp.concatenate([maps.mean(axis=(2, 3)), maps.max(axis=(2, 3))], axis=1)


@jax.jit
def _both(image: Array) -> Array:
    return jnp.concatenate([blobs(image), folded(image)], axis=1)


BLOBS = 200


def features(image: np.ndarray) -> np.ndarray:
    """`blobs` and `folded` of the `head_crop` of each picture: [N, S, S, 1] uint8 ->
    [N, 1164] float64."""
    crops = head_crop(image) if len(image) else np.zeros((0, _SIDE, _SIDE), np.float32)
    found = [np.zeros((0, BLOBS + 964))]
    for start in range(0, len(crops), _BLOCK):
        some = crops[start : start + _BLOCK]
        # Filled to one shape, which is one program.
        full = np.concatenate([some, np.zeros((_BLOCK - len(some), *some.shape[1:]), some.dtype)])
        found.append(np.float64(_both(full))[: len(some)])
    return np.concatenate(found)


def fit_predict(train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int):
    """Kernel ridge regression on targets -1 and 1, of each class against the rest, with the
    mean of two kernels, one of each set of features.

    Features are in standard deviations of the training images, at most 5; a kernel is
    exp(-d^2 / m), m the median squared distance between training images; the coefficients
    solve (K + 0.1 I) a = target. p = (1 + score) / 2, clipped; then `floors.shares`.

    Args:
        train, test: [N, 1164], [T, 1164] float64, `features`. label: [N] int in [0, K).

    Returns:
        [T, K] float64, rows sum to 1.
    """
    own, across = (
        sum(kernels) / 2
        for kernels in zip(
            *(_kernels(train[:, part], test[:, part]) for part in (_FIRST, _REST)), strict=True
        )
    )
    targets = 2.0 * (label[:, None] == np.asarray(floors.one_against_rest(num_classes))) - 1.0
    score = across @ np.linalg.solve(own + 0.1 * np.eye(len(own)), targets)
    return floors.shares(np.clip((1.0 + score) / 2.0, 0.0, 1.0))


_FIRST, _REST = slice(0, BLOBS), slice(BLOBS, None)


def _kernels(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-9, scale, np.inf)
    train, test = (np.clip((x - mean) / scale, -5.0, 5.0) for x in (train, test))
    between = floors.squared_distances(train, train)
    median = floors.median_apart(between)
    across = floors.gaussian(floors.squared_distances(test, train), median)
    return floors.gaussian(between, median), across
