"""Convolution, transposed convolution and pooling with one numerical meaning.

XLA's own forms (`*_lax`) are what a TPU takes. On a GPU they are fast, but for convolutions
mapped over kernels: there the public names take the forms of `ops_gpu`. On a CPU their
gradients are slow, most of all inside compiled loops: there those of `ops_cpu` and `pool_cpu`.
Tests hold the forms to one another: values, gradients, gradients of gradients.

Images are [B, H, W, C]; kernels are [k, k, C_in, C_out]. Padding "SAME" gives
ceil(H / stride) rows and puts an odd pixel at the bottom and right, as MATLAB does.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbrain.config import require_name
from jaxbrain.nn import ops_cpu, ops_gpu, pool_cpu
from jaxbrain.nn.ops_cpu import LAYOUT
from jaxbrain.types import Array

_PORTABLE = contextvars.ContextVar("portable", default=False)


def backend() -> str:
    """ "cpu", "gpu" or "tpu": for which the forms are chosen, while they are traced; or "any"
    (`portable`)."""
    return "any" if _PORTABLE.get() else jax.default_backend()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """What is traced meanwhile takes XLA's own forms, which every backend runs and which do
    not ask how large a batch is: for programs that are exported. Only for functions that are
    not jitted already, since those keep the forms of their first trace."""
    before = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(before)


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _pads(shape, window: int, stride: int, padding: str):
    require_name("padding", padding, ("SAME", "VALID"))
    if padding == "VALID":
        return (0, 0), (0, 0)
    return _same(shape[1], window, stride), _same(shape[2], window, stride)


# A batch is cut into so many parts on a CPU at least, of large images into more, of which each
# then stays in the cache until it is pooled (measured: benchmarks/README.md).
_PARTS, _MOST_PARTS, _PART_PIXELS = 4, 16, 2**14


def in_parts(function: Callable[[Array], Array], x: Array) -> Array:
    """`function(x)`, for a function that treats each image of x [B, H, W, C] alone.

    On a CPU the images go through in independent parts: XLA runs many an operation on one
    core only, but independent ones side by side.
    """
    if backend() != "cpu":
        return function(x)
    wanted = x.shape[0] * x.shape[1] * x.shape[2] // _PART_PIXELS
    size = -(-x.shape[0] // min(max(wanted, _PARTS), _MOST_PARTS))
    if size == x.shape[0]:
        return function(x)
    return jnp.concatenate([function(x[i : i + size]) for i in range(0, x.shape[0], size)])


def conv_lax(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv` by XLA's convolution."""
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)


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
    if backend() in ("tpu", "any"):
        return conv_lax(x, kernel, stride, padding)
    forms = ops_cpu if backend() == "cpu" else ops_gpu
    return forms.conv(x, kernel, stride, _pads(x.shape, kernel.shape[0], stride, padding))


def conv_transpose_lax(x: Array, kernel: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """`conv_transpose` by XLA's convolution on the dilated image."""
    # `lax` correlates with the kernel as it stands; the transpose needs it turned.
    return lax.conv_transpose(
        x, kernel[::-1, ::-1], (stride, stride), padding, dimension_numbers=LAYOUT
    )


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
    require_name("padding", padding, ("SAME", "VALID"))
    if backend() in ("tpu", "any"):
        return conv_transpose_lax(x, kernel, stride, padding)
    window = kernel.shape[0]
    low, high = ((window - stride) // 2, -((stride - window) // 2)) if padding == "SAME" else (0, 0)
    rows, columns = ((n - 1) * stride + window - low - high for n in x.shape[1:3])
    # The transpose of the convolution that takes C_out channels to C_in.
    kernel, pads = kernel.swapaxes(2, 3), ((low, high), (low, high))
    forms = ops_cpu if backend() == "cpu" else ops_gpu
    return forms.transpose(x, kernel, stride, pads, (rows, columns))


_REDUCERS = {"max": (lax.max, -np.inf), "min": (lax.min, np.inf), "average": (lax.add, 0.0)}


def pool_lax(x: Array, kind: str, window: int, stride: int, padding: str = "SAME") -> Array:
    """`pool` by XLA's reduce-window."""
    reducer, start = _REDUCERS[kind]
    sizes, strides = (1, window, window, 1), (1, stride, stride, 1)
    pooled = lax.reduce_window(x, np.asarray(start, x.dtype), reducer, sizes, strides, padding)
    return pooled / (window * window) if kind == "average" else pooled


def pool(x: Array, kind: str, window: int, stride: int, padding: str = "SAME") -> Array:
    """Largest, smallest or mean value of each window; equation (2) of the paper for
    `kind="max"`, `window=3`.

    Padded pixels never win a "max" or "min" and count as zeros in an "average", as in
    MATLAB. Of pixels that tie the first takes the gradient, in rows and then columns.

    Args:
        x: [B, H, W, C] float.
        kind: "max", "min" or "average".
        window, stride: pixels, both ways.
        padding: "SAME" or "VALID".

    Returns:
        [B, H', W', C].

    Raises:
        ConfigError: for another kind.
    """
    require_name("cnn.pool", kind, tuple(_REDUCERS))
    if backend() != "cpu":
        return pool_lax(x, kind, window, stride, padding)
    pads = _pads(x.shape, window, stride, padding)
    if kind == "average":
        return pool_cpu.mean_pool(x, window, stride, pads)
    if kind == "min":
        return -pool_cpu.max_pool(-x, window, stride, pads)
    return pool_cpu.max_pool(x, window, stride, pads)
