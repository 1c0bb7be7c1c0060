"""Convolution, transposed convolution and pooling with one numerical meaning.

XLA's convolutions are fast on accelerators; on a CPU their gradients inside compiled
loops are many times slower than matrix products. So each operation has a stock form
(`*_lax`) and a form made of slices and one matrix product (`*_gemm`), and the public
name picks by the default backend. Tests hold the forms to one another, values and
gradients.

Images are [B, H, W, C]; kernels are [k, k, C_in, C_out]. Padding "SAME" gives
ceil(H / stride) rows and puts an odd pixel at the bottom and right, as MATLAB does.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbrain.types import Array

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _pads(shape, window: int, stride: int, padding: str):
    if padding == "VALID":
        return (0, 0), (0, 0)
    if padding == "SAME":
        return _same(shape[1], window, stride), _same(shape[2], window, stride)
    raise ValueError(f"padding is {padding!r}: expected 'SAME' or 'VALID'")


def _windows(x: Array, window: int, stride: int) -> list[Array]:
    """The window * window strided slices of a padded image, row by row."""
    height = (x.shape[1] - window) // stride * stride + 1
    width = (x.shape[2] - window) // stride * stride + 1
    return [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(window)
        for j in range(window)
    ]


def conv_lax(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv` by XLA's convolution."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def conv_gemm(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv` as one matrix product on gathered windows."""
    size, _, c_in, c_out = kernel.shape
    rows, columns = _pads(x.shape, size, stride, padding)
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    patches = jnp.concatenate(_windows(x, size, stride), axis=-1)
    return jnp.einsum("bhwk,ko->bhwo", patches, kernel.reshape(-1, c_out))


def conv(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """Cross-correlation, equation (1) of the paper without its bias.

    y[b, r, c, o] = sum_ijk x[b, stride r + i, stride c + j, k] kernel[i, j, k, o]

    Args:
        x: [B, H, W, C_in] float.
        kernel: [k, k, C_in, C_out], of x's dtype.
        stride: pixels between windows, both ways.
        padding: "SAME" or "VALID".

    Returns:
        [B, H', W', C_out].
    """
    form = conv_gemm if jax.default_backend() == "cpu" else conv_lax
    return form(x, kernel, stride, padding)


def conv_transpose_lax(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv_transpose` by XLA's convolution on the dilated image."""
    # `lax` correlates with the kernel as it stands; the transpose needs it turned.
    return lax.conv_transpose(
        x, kernel[::-1, ::-1], (stride, stride), padding, dimension_numbers=_LAYOUT
    )


def _crop(size: int, window: int, stride: int, padding: str) -> tuple[int, int]:
    """Rows cut off in front of, and rows kept of, the full transposed convolution."""
    if padding == "VALID":
        return 0, (size - 1) * stride + window
    return (window - stride) // 2, size * stride


def conv_transpose_stamps(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv_transpose` as one matrix product and a sum of shifted copies."""
    size, _, c_in, c_out = kernel.shape
    columns = kernel.transpose(2, 0, 1, 3).reshape(c_in, -1)
    # Split, not indexed: the gradient of indexing adds arrays of full size.
    parts = jnp.split(jnp.einsum("bhwi,ik->bhwk", x, columns), size * size, axis=-1)
    full = sum(
        lax.pad(
            parts[i * size + j],
            jnp.zeros((), x.dtype),
            (
                (0, 0, 0),
                (i, size - 1 - i, stride - 1),
                (j, size - 1 - j, stride - 1),
                (0, 0, 0),
            ),
        )
        for i in range(size)
        for j in range(size)
    )
    top, height = _crop(x.shape[1], size, stride, padding)
    left, width = _crop(x.shape[2], size, stride, padding)
    return full[:, top : top + height, left : left + width]


def conv_transpose_phases(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv_transpose` as one plain convolution that draws stride * stride neighbours.

    Output row stride m + p (its phase p) reads input row m + t through kernel row
    p + crop - stride t, for the few t where that exists; elsewhere the weight is zero.
    """
    size, _, c_in, c_out = kernel.shape
    batch = x.shape[0]
    crop, height = _crop(x.shape[1], size, stride, padding)
    _, width = _crop(x.shape[2], size, stride, padding)
    first, last = -((size - 1 - crop) // stride), (stride - 1 + crop) // stride
    reach = last - first + 1
    offsets = first + np.arange(reach)
    taps = np.arange(stride)[None, :] + crop - stride * offsets[:, None]
    taps = np.where((taps >= 0) & (taps < size), taps, size)
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    weights = padded[taps][:, :, taps].transpose(0, 2, 4, 1, 3, 5)
    weights = weights.reshape(reach, reach, c_in, stride * stride * c_out)
    rows, columns = -(-height // stride), -(-width // stride)
    x = jnp.pad(
        x,
        (
            (0, 0),
            (-first, last + rows - x.shape[1]),
            (-first, last + columns - x.shape[2]),
            (0, 0),
        ),
    )
    y = conv_gemm(x, weights, 1, "VALID")
    y = y.reshape(batch, rows, columns, stride, stride, c_out).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, rows * stride, columns * stride, c_out)
    return y[:, :height, :width]


def conv_transpose_gemm(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv_transpose` by matrix products: stamps are faster for the few channels of an
    image (a product with few columns is slow), phases for many."""
    few = kernel.shape[-1] < 8
    form = conv_transpose_stamps if few else conv_transpose_phases
    return form(x, kernel, stride, padding)


def conv_transpose(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """Transposed convolution: every pixel stamps the kernel onto the output.

    y[b, stride r + i, stride c + j, o] += sum_k x[b, r, c, k] kernel[i, j, k, o]

    "VALID" keeps all (H - 1) stride + k rows; "SAME" crops them to H * stride, an odd
    pixel at the bottom and right. PyTorch's `ConvTranspose2d` means the same.

    Args:
        x: [B, H, W, C_in] float.
        kernel: [k, k, C_in, C_out], of x's dtype; k is at least `stride`.
        stride: how many times larger the output is.
        padding: "SAME" or "VALID".

    Returns:
        [B, H', W', C_out].
    """
    if kernel.shape[0] < stride:
        raise ValueError(f"kernel of {kernel.shape[0]} pixels leaves holes at {stride}")
    form = conv_transpose_gemm if jax.default_backend() == "cpu" else conv_transpose_lax
    return form(x, kernel, stride, padding)


_REDUCERS = {
    "max": (jnp.maximum, lax.max, -jnp.inf),
    "min": (jnp.minimum, lax.min, jnp.inf),
    "average": (jnp.add, lax.add, 0.0),
}


def pool_lax(x: Array, kind: str, window: int, stride: int, padding: str = "SAME") -> Array:
    """`pool` by XLA's reduce-window."""
    _, reducer, start = _REDUCERS[kind]
    pooled = lax.reduce_window(
        x,
        start,
        reducer,
        (1, window, window, 1),
        (1, stride, stride, 1),
        padding,
    )
    return pooled / (window * window) if kind == "average" else pooled


def pool_slices(x: Array, kind: str, window: int, stride: int, padding: str = "SAME") -> Array:
    """`pool` by strided slices, rows first and columns then."""
    combine, _, start = _REDUCERS[kind]
    rows, columns = _pads(x.shape, window, stride, padding)
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=start)
    for axis in (1, 2):
        length = (x.shape[axis] - window) // stride * stride + 1
        slices = [lax.slice_in_dim(x, i, i + length, stride, axis) for i in range(window)]
        x = slices[0]
        for other in slices[1:]:
            x = combine(x, other)
    return x / (window * window) if kind == "average" else x


def pool(x: Array, kind: str, window: int, stride: int, padding: str = "SAME") -> Array:
    """Largest, smallest or mean value of each window; equation (2) of the paper for
    `kind="max"`, `window=3`.

    Padded pixels never win a "max" or "min" and count as zeros in an "average", as in
    MATLAB. Where several pixels tie, the two forms share the gradient differently.

    Args:
        x: [B, H, W, C] float.
        kind: "max", "min" or "average".
        window, stride: pixels, both ways.
        padding: "SAME" or "VALID".

    Returns:
        [B, H', W', C].
    """
    form = pool_slices if jax.default_backend() == "cpu" else pool_lax
    return form(x, kind, window, stride, padding)
