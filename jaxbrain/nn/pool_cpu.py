"""Pooling in the forms that a CPU computes fast; `pads` as in `ops_cpu`."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.nn.ops_cpu import pad_image
from jaxbrain.types import Array


def _largest(x: Array, axis: int, window: int, stride: int) -> tuple[Array, Array]:
    """The largest of each window along one axis, and the offset of the first of them."""
    length = (x.shape[axis] - window) // stride * stride + 1
    slices = [lax.slice_in_dim(x, i, i + length, stride, axis) for i in range(window)]
    best, offset = slices[0], jnp.zeros(slices[0].shape, jnp.int8)
    for i, other in enumerate(slices[1:], 1):
        offset = jnp.where(other > best, jnp.int8(i), offset)
        best = jnp.maximum(best, other)
    return best, offset


def _halves(g: Array, offset: Array, axis: int, window: int, stride: int, size: int):
    """The gradient of `_largest` at rows phase, stride + phase, ... for each phase."""
    count = -(-size // stride)
    parts = []
    for phase in range(stride):
        total = jnp.zeros((), g.dtype)
        for i in range(phase, window, stride):
            own = jnp.where(offset == i, g, jnp.zeros((), g.dtype))
            sides = [(0, 0, 0)] * g.ndim
            sides[axis] = (i // stride, count - g.shape[axis] - i // stride, 0)
            total = total + lax.pad(own, jnp.zeros((), g.dtype), sides)
        # A stride larger than the window leaves pixels out.
        shape = [*g.shape[:axis], count, *g.shape[axis + 1 :]]
        parts.append(jnp.broadcast_to(total, shape))
    return parts


def _pool_forward(x: Array, window: int, stride: int, pads):
    x = pad_image(x, (*pads[0], 0), (*pads[1], 0), -jnp.inf)
    # Columns first: among equal pixels the first row then wins, and the first column in
    # it, as in XLA's own gradient.
    x, column = _largest(x, 2, window, stride)
    y, row = _largest(x, 1, window, stride)
    return y, (row, column)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Array, window: int, stride: int, pads) -> Array:
    """[B, H, W, C] -> [B, H', W', C]; the gradient goes to the first largest pixel."""
    return _pool_forward(x, window, stride, pads)[0]


def _max_pool_forward(x, window, stride, pads):
    y, offsets = _pool_forward(x, window, stride, pads)
    return y, (offsets, x.shape[1:3])


def _max_pool_backward(window, stride, pads, saved, g):
    (row, column), size = saved
    high, wide = (n + sum(pad) for n, pad in zip(size, pads, strict=True))
    above = -(-high // stride) * stride - column.shape[1]
    # Phases of rows, then of columns in each, are woven once at the end: weaving in
    # between costs more than all the arithmetic.
    column = pad_image(column, (0, above, 0), (0, 0, 0))
    column = column.reshape(column.shape[0], -1, stride, *column.shape[2:])
    rows = _halves(g, row, 1, window, stride, high)
    phases = [
        _halves(part, column[:, :, i], 2, window, stride, wide) for i, part in enumerate(rows)
    ]
    x = jnp.stack([jnp.stack(part, axis=3) for part in phases], axis=2)
    x = x.reshape(x.shape[0], x.shape[1] * stride, -1, x.shape[-1])
    (top, _), (left, _) = pads
    return (x[:, top : top + size[0], left : left + size[1]],)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def mean_pool(x: Array, window: int, stride: int, pads) -> Array:
    """[B, H, W, C] -> [B, H', W', C], as a sum of strided slices; padding counts as 0."""
    x = pad_image(x, (*pads[0], 0), (*pads[1], 0))
    for axis in (1, 2):
        length = (x.shape[axis] - window) // stride * stride + 1
        x = sum(lax.slice_in_dim(x, i, i + length, stride, axis) for i in range(window))
    return x / (window * window)
