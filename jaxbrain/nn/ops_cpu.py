"""Convolutions in the forms that a CPU computes fast, closed under differentiation
(`trilinear`). XLA's own gradients are convolutions that its CPU backend runs as naive
loops inside a compiled loop.

Mapped over seeds, each runs once per seed: a convolution with a kernel per example would
become a grouped one, which is several times slower.

`pads` and `size` as in `trilinear`.
"""

import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxbrain.nn import trilinear
from jaxbrain.types import Array

LAYOUT = ("NHWC", "HWIO", "NHWC")

# Work on pieces of a batch whose gathered columns stay about this large: they then stay
# in the cache and their memory is used again (measured: benchmarks/README.md).
_PIECE_BYTES = 10 * 2**20

# Channels that are too few to fill a matrix product.
_FEW = 8

# With a smaller share of products on pixels, padding is skipped (same source).
_SPARSE = 0.8


def pad_image(x: Array, rows: tuple, columns: tuple, value: float = 0.0) -> Array:
    """Padding of an image, each side (before, after, between); negative amounts crop."""
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


def _reach(k: int, stride: int, low: int, size: int, count: int) -> list:
    """For each kernel row, the rows of y at which it meets a row of x, and those rows."""
    slices = []
    for i in range(k):
        first = max(-(-(low - i) // stride), 0)
        last = min((size - 1 + low - i) // stride, count - 1)
        start = stride * first + i - low
        rows = slice(first, last + 1), slice(start, start + stride * (last - first) + 1, stride)
        slices.append(rows if last >= first else None)
    return slices


def _taps(k: int, stride: int, pads, size, count) -> list:
    """(i, j, part of y, part of x) for each kernel pixel that meets a pixel of x."""
    rows, columns = (_reach(k, stride, pads[a][0], size[a], count[a]) for a in (0, 1))
    return [
        (i, j, (slice(None), row[0], column[0]), (slice(None), row[1], column[1]))
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        if row and column
    ]


def _sparse(k: int, stride: int, pads, size, count) -> bool:
    """Whether windows lie on padding for so large a part that the forms in taps, with a
    product per kernel pixel and none with padding, are the faster."""
    met = sum(
        (y[1].stop - y[1].start) * (y[2].stop - y[2].start)
        for _, _, y, _ in _taps(k, stride, pads, size, count)
    )
    return met < _SPARSE * k * k * count[0] * count[1]


def result_size(size, k: int, stride: int, pads) -> list:
    """(H', W') of a convolution's result."""
    return [(n + sum(pad) - k) // stride + 1 for n, pad in zip(size, pads, strict=True)]


def _wide(dtype):
    """Sums over pieces and taps are kept in float32 or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def _add(total: Array, part: Array, at: tuple) -> Array:
    # XLA writes this in place; `total.at[].add` becomes a scatter.
    start = [piece.start or 0 for piece in at] + [0]
    return lax.dynamic_update_slice(total, total[at] + part.astype(total.dtype), start)


def conv_taps(x: Array, kernel: Array, stride: int, pads) -> Array:
    """As one matrix product for each kernel pixel, none of them with padding."""
    k, _, _, c_out = kernel.shape
    count = result_size(x.shape[1:3], k, stride, pads)
    y = jnp.zeros((x.shape[0], *count, c_out), _wide(x.dtype))
    for i, j, to, of in _taps(k, stride, pads, x.shape[1:3], count):
        y = _add(y, jnp.einsum("bhwk,ko->bhwo", x[of], kernel[i, j]), to)
    return y.astype(x.dtype)


def windows(x: Array, k: int, stride: int, pads) -> Array:
    """The pixels under each place of a kernel: [B, H, W, C] -> [B, H', W', k * k * C]."""
    x = pad_image(x, (*pads[0], 0), (*pads[1], 0))
    height, width = ((n - k) // stride * stride + 1 for n in x.shape[1:3])
    shifts = [
        x[:, i : i + height : stride, j : j + width : stride] for i in range(k) for j in range(k)
    ]
    return jnp.concatenate(shifts, axis=-1)


def conv_gemm(x: Array, kernel: Array, stride: int, pads) -> Array:
    """As one matrix product on gathered windows."""
    columns = windows(x, kernel.shape[0], stride, pads)
    return jnp.einsum("bhwk,ko->bhwo", columns, kernel.reshape(-1, kernel.shape[3]))


def conv_direct(x: Array, kernel: Array, stride: int, pads) -> Array:
    """As XLA's convolution, whose forward pass is fast."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=LAYOUT)


def transpose_stamps(y: Array, kernel: Array, stride: int, pads, size) -> Array:
    """As one matrix product and a sum of shifted copies."""
    k, _, c_in, c_out = kernel.shape
    columns = jnp.einsum("bhwo,ko->bhwk", y, kernel.reshape(-1, c_out))
    # Split, not indexed: the gradient of indexing adds arrays of full size.
    parts = jnp.split(columns, k * k, axis=-1)

    def place(axis: int, offset: int):
        last = offset + (y.shape[1 + axis] - 1) * stride
        return offset - pads[axis][0], size[axis] + pads[axis][0] - 1 - last, stride - 1

    return sum(
        pad_image(parts[i * k + j], place(0, i), place(1, j)) for i in range(k) for j in range(k)
    )


def _phase(phase: int, k: int, stride: int, low: int, size: int, count: int):
    """What rows stride * q + `phase` of x read of the `count` rows of y: the slice of the
    turned kernel, and the padding of y."""
    # Row q takes kernel row phase + low - stride t times row q + t of y.
    taps = [t for t in range(-k, k + 1) if 0 <= phase + low - stride * t < k]
    if not taps:
        return None
    start = k - 1 - (phase + low - stride * taps[0])
    rows = -(-(size - phase) // stride)
    stop = start + stride * (len(taps) - 1) + 1
    return slice(start, stop, stride), (-taps[0], rows + taps[-1] - count)


def transpose_phases(y: Array, kernel: Array, stride: int, pads, size) -> Array:
    """As one plain convolution for each of the stride * stride phases of x, so that no
    inserted zeros are multiplied."""
    k, _, c_in, _ = kernel.shape
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    rows, columns = (
        [_phase(p, k, stride, pads[a][0], size[a], y.shape[1 + a]) for p in range(stride)]
        for a in (0, 1)
    )
    height, width = (-(-n // stride) for n in size)

    def one(row, column):
        if row is None or column is None:  # a stride larger than the kernel
            return jnp.zeros((y.shape[0], height, width, c_in), y.dtype)
        part = conv_direct(y, turned[row[0], column[0]], 1, (row[1], column[1]))
        # Phases of an odd side have a row less.
        return pad_image(part, (0, height - part.shape[1], 0), (0, width - part.shape[2], 0))

    x = jnp.stack([jnp.stack([one(r, c) for c in columns], axis=3) for r in rows], axis=2)
    x = x.reshape(y.shape[0], height * stride, width * stride, c_in)
    return x[:, : size[0], : size[1]]


def transpose_taps(y: Array, kernel: Array, stride: int, pads, size) -> Array:
    """As one matrix product for each kernel pixel, none of them with what is cropped."""
    k, _, c_in, _ = kernel.shape
    high, wide = (-(-n // stride) for n in size)
    # Phases apart, so that sums are of whole blocks.
    zeros = jnp.zeros((y.shape[0], high, wide, c_in), _wide(y.dtype))
    phases = [[zeros] * stride for _ in range(stride)]
    for i, j, of, (every, row, column) in _taps(k, stride, pads, size, y.shape[1:3]):
        part = jnp.einsum("bhwo,ko->bhwk", y[of], kernel[i, j])
        (top, p), (left, q) = divmod(row.start, stride), divmod(column.start, stride)
        at = every, slice(top, top + part.shape[1]), slice(left, left + part.shape[2])
        phases[p][q] = _add(phases[p][q], part, at)
    x = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
    x = x.reshape(y.shape[0], high * stride, wide * stride, c_in).astype(y.dtype)
    return x[:, : size[0], : size[1]]


def outer_taps(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    """As one matrix product for each kernel pixel, none of them with padding."""
    kernel = [[jnp.zeros((x.shape[3], y.shape[3]), x.dtype)] * k for _ in range(k)]
    for i, j, of_y, of_x in _taps(k, stride, pads, x.shape[1:3], y.shape[1:3]):
        kernel[i][j] = jnp.einsum("bhwk,bhwo->ko", x[of_x], y[of_y])
    return jnp.stack([jnp.stack(row) for row in kernel])


def _outer_piece(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    batch, _, _, c_in = x.shape
    _, height, width, c_out = y.shape
    # Channels first and phases apart: then every shifted copy has long contiguous rows.
    high, wide = (-(-(k + stride * (n - 1)) // stride) for n in (height, width))
    sides = [
        (low, stride * n - size - low, 0)
        for (low, _), n, size in zip(pads, (high, wide), x.shape[1:3], strict=True)
    ]
    x = lax.pad(x.transpose(3, 0, 1, 2), jnp.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), *sides))
    x = x.reshape(c_in, batch, high, stride, wide, stride).transpose(3, 5, 0, 1, 2, 4)

    def row(columns, i):
        return columns[i % stride, :, :, i // stride : i // stride + height]

    shifts = [x[:, j % stride, :, :, :, j // stride : j // stride + width] for j in range(k)]
    if c_in < _FEW:
        # A product as wide as the kernel, since copies of few channels cost little.
        windows = [row(shift, i) for i in range(k) for shift in shifts]
        whole = jnp.concatenate(windows).reshape(k * k * c_in, -1) @ y.reshape(-1, c_out)
        return whole.reshape(k, k, c_in, c_out)
    columns = jnp.concatenate(shifts, axis=1)
    extra = high - height
    if height >= 8 * extra:
        # Shift y along the rows, in whole blocks, and leave x where it is.
        shifts = [
            jnp.pad(y, ((0, 0), (i, extra - i), (0, 0), (0, 0))).reshape(-1, c_out)
            for i in range(extra + 1)
        ]
        rows = [columns[i % stride].reshape(k * c_in, -1) @ shifts[i // stride] for i in range(k)]
    else:
        # Few rows: products over padding would cost more than copies of x.
        y = y.reshape(-1, c_out)
        rows = [row(columns, i).reshape(k * c_in, -1) @ y for i in range(k)]
    return jnp.stack(rows).reshape(k, k, c_in, c_out)


def outer_pieces(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    """As one matrix product per kernel row, over pieces of the batch."""
    batch, height, width, _ = y.shape
    copies = k * k if x.shape[3] < _FEW else k * stride
    image_bytes = copies * x.shape[3] * (height + k) * width * x.dtype.itemsize
    piece = max(_PIECE_BYTES // image_bytes, 1)
    count, rest = divmod(batch, piece)
    if count == 0 or (count == 1 and rest == 0):
        return _outer_piece(x, y, k, stride, pads)
    whole = count * piece

    def body(total, one):
        return total + _outer_piece(*one, k, stride, pads).astype(total.dtype), None

    pieces = [leaf[:whole].reshape(count, piece, *leaf.shape[1:]) for leaf in (x, y)]
    total = jnp.zeros((k, k, x.shape[-1], y.shape[-1]), _wide(x.dtype))
    total, _ = lax.scan(body, total, tuple(pieces))
    if rest:
        total, _ = body(total, (x[whole:], y[whole:]))
    return total.astype(x.dtype)


def _per_seed(function):
    """`function`, which under `vmap` runs once for each seed.

    Eight at a time are written out, since they are independent and XLA runs such side by
    side; a loop over single seeds is slower than separate calls of the program.
    """
    one = custom_vmap(function)

    @one.def_vmap
    def rule(size, mapped, *args):
        def body(_, rows):
            rows = iter(rows)
            own = [next(rows) if is_row else arg for arg, is_row in zip(args, mapped, strict=True)]
            return None, one(*own)

        rows = [arg for arg, is_row in zip(args, mapped, strict=True) if is_row]
        return lax.scan(body, None, rows, unroll=min(8, size))[1], True

    return one


def _conv(x: Array, kernel: Array, stride: int, pads) -> Array:
    k, size = kernel.shape[0], x.shape[1:3]
    count = result_size(size, k, stride, pads)
    if _sparse(k, stride, pads, size, count):
        form = conv_taps
    else:
        # XLA's convolution splits its work by output pixels: too few of them run badly.
        form = conv_gemm if count[0] * count[1] <= 16 else conv_direct
    return _per_seed(lambda x, kernel: form(x, kernel, stride, pads))(x, kernel)


def _transpose(y: Array, kernel: Array, stride: int, pads, size) -> Array:
    # Stamps do no work outside of y, and are the better with few channels to stamp.
    beyond = size[0] * size[1] > 1.5 * stride**2 * y.shape[1] * y.shape[2]
    if _sparse(kernel.shape[0], stride, pads, size, y.shape[1:3]):
        form = transpose_taps
    else:
        form = transpose_stamps if beyond or kernel.shape[2] < _FEW else transpose_phases
    return _per_seed(lambda y, kernel: form(y, kernel, stride, pads, size))(y, kernel)


def _outer(x: Array, y: Array, k: int, stride: int, pads) -> Array:
    form = outer_taps if _sparse(k, stride, pads, x.shape[1:3], y.shape[1:3]) else outer_pieces
    return _per_seed(lambda x, y: form(x, y, k, stride, pads))(x, y)


conv, transpose, outer = trilinear.closed(_conv, _transpose, _outer)
