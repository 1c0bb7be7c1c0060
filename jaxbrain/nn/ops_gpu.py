"""Convolutions in the forms that a GPU computes fast, closed under differentiation
(`trilinear`).

One training takes XLA's convolutions. Mapped over kernels, as trainings side by side are,
those become grouped ones: many small groups, whose gradients are slow and each of which is
tuned on the device while it is compiled (github.com/jax-ml/jax/issues/13800). Here they become
batched matrix products on gathered windows, one for all lanes; lanes so wide that each fills the
device go one after another.

The rule follows from counts, not from timings of it: a narrow net's step takes as long on a
GPU as a wide one's, so that launches are what it costs, and these are fewer. A TPU compiler
finds more memory in this form than in grouped convolutions (benchmarks/README.md, `aot`).

`pads` and `size` as in `trilinear`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxbrain.nn import ops_cpu, trilinear
from jaxbrain.nn.ops_cpu import conv_direct, conv_gemm, transpose_stamps, windows
from jaxbrain.types import Array

# Gathered windows of lanes that go together take at most so much memory.
COLUMN_BYTES = 2**30


def transpose_direct(y: Array, kernel: Array, stride: int, pads, size) -> Array:
    """As XLA's own gradient of a convolution."""
    x = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: conv_direct(x, kernel, stride, pads), x)(y)[0]


def outer_direct(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    """As XLA's own gradient of a convolution."""
    kernel = jax.ShapeDtypeStruct((k, k, x.shape[3], y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda kernel: conv_direct(x, kernel, stride, pads), kernel)(y)[0]


def outer_gemm(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    """As one matrix product on gathered windows."""
    columns = windows(x, k, stride, pads)
    return jnp.einsum("bhwk,bhwo->ko", columns, y).reshape(k, k, x.shape[3], y.shape[3])


def _lanes(single, many, how: tuple, columns: int, kernels: tuple[bool, bool]):
    """`single(a, b, *how)`, which mapped over lanes with kernels of their own is `many`.

    columns: how many numbers `many` gathers for a lane.
    kernels: which argument, mapped, means that lanes have kernels of their own.
    """
    one = custom_vmap(lambda a, b: single(a, b, *how))

    @one.def_vmap
    def rule(size, mapped, a, b):
        if not any(is_row and own for is_row, own in zip(mapped, kernels, strict=True)):
            return jax.vmap(one.fun, [0 if is_row else None for is_row in mapped])(a, b), True
        together = COLUMN_BYTES // (columns * a.dtype.itemsize)
        form, batch = (many, min(together, size)) if together > 1 else (single, None)

        def lane(rows):
            return form(*(rows.get(name, whole) for name, whole in (("a", a), ("b", b))), *how)

        rows = {n: x for n, x, is_row in zip("ab", (a, b), mapped, strict=True) if is_row}
        if batch == size:
            return jax.vmap(lane)(rows), True
        return lax.map(lane, rows, batch_size=batch), True

    return one


def _conv(x: Array, kernel: Array, stride: int, pads) -> Array:
    places = math.prod(ops_cpu.result_size(x.shape[1:3], kernel.shape[0], stride, pads))
    columns = x.shape[0] * places * math.prod(kernel.shape[:3])
    return _lanes(conv_direct, conv_gemm, (stride, pads), columns, (False, True))(x, kernel)


def _transpose(y: Array, kernel: Array, *how) -> Array:
    columns = math.prod(y.shape[:3]) * math.prod(kernel.shape[:3])
    return _lanes(transpose_direct, transpose_stamps, how, columns, (False, True))(y, kernel)


def _outer(x: Array, y: Array, k: int, *how) -> Array:
    columns = math.prod(y.shape[:3]) * k * k * x.shape[3]
    return _lanes(outer_direct, outer_gemm, (k, *how), columns, (True, True))(x, y)


conv, transpose, outer = trilinear.closed(_conv, _transpose, _outer)
