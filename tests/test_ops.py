"""Every formulation equals the stock one, and equations (1) and (2) as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.nn import ops

# Height, width, window, stride, padding: odd and even, with and without remainder.
CASES = [
    (7, 6, 3, 1, "SAME"),
    (8, 8, 5, 2, "SAME"),
    (7, 9, 5, 2, "SAME"),
    (9, 8, 4, 2, "VALID"),
    (4, 4, 4, 1, "VALID"),
    (6, 7, 2, 2, "SAME"),
    (10, 7, 5, 3, "SAME"),
]
TRANSPOSED = {
    "stamps": ops.conv_transpose_stamps,
    "phases": ops.conv_transpose_phases,
    "gemm": ops.conv_transpose_gemm,
}


def draw(seed: int, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def same(one, other, *args) -> None:
    """Values, gradients, and gradients of a function of gradients (as R1 takes)."""
    value = one(*args)
    np.testing.assert_allclose(value, other(*args), rtol=1e-5, atol=1e-5)
    (weight,) = draw(99, value.shape)

    def loss(form):
        return lambda *a: (form(*a) * weight).sum()

    def penalty(form):
        def squared(*a):
            return (jax.grad(lambda x: (jnp.tanh(form(x, *a[1:])) * weight).sum())(a[0]) ** 2).sum()

        return squared

    every = tuple(range(len(args)))
    for make, tolerance in ((loss, 1e-5), (penalty, 1e-4)):
        got, want = jax.grad(make(one), every)(*args), jax.grad(make(other), every)(*args)
        for a, b in zip(got, want, strict=True):
            scale = float(jnp.abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_conv(height, width, size, stride, padding):
    x, kernel = draw(1, (2, height, width, 3), (size, size, 3, 4))
    same(
        lambda x, k: ops.conv_gemm(x, k, stride, padding),
        lambda x, k: ops.conv_lax(x, k, stride, padding),
        x,
        kernel,
    )


@pytest.mark.parametrize("form", TRANSPOSED)
@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_conv_transpose(form, height, width, size, stride, padding):
    # 9 output channels: what `gemm` sends to the phases.
    x, kernel = draw(2, (2, height, width, 3), (size, size, 3, 9))
    same(
        lambda x, k: TRANSPOSED[form](x, k, stride, padding),
        lambda x, k: ops.conv_transpose_lax(x, k, stride, padding),
        x,
        kernel,
    )


def test_conv_transpose_is_the_transpose_of_conv():
    x, y, kernel = draw(3, (2, 8, 6, 3), (2, 4, 3, 5), (5, 5, 3, 5))
    forward = (ops.conv(x, kernel, 2) * y).sum()
    backward = (ops.conv_transpose(y, kernel.swapaxes(2, 3), 2) * x).sum()
    np.testing.assert_allclose(forward, backward, rtol=1e-5)


def test_conv_transpose_refuses_holes():
    x, kernel = draw(4, (1, 4, 4, 1), (2, 2, 1, 1))
    with pytest.raises(ValueError, match="holes"):
        ops.conv_transpose(x, kernel, 3)


@pytest.mark.parametrize("kind", ["max", "average", "min"])
@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_pool(kind, height, width, size, stride, padding):
    (x,) = draw(5, (2, height, width, 3))
    one = ops.pool_slices(x, kind, size, stride, padding)
    other = ops.pool_lax(x, kind, size, stride, padding)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    (weight,) = draw(6, one.shape)

    def slope(form):
        def loss(x):
            return (form(x, kind, size, stride, padding) * weight).sum()

        return jax.jit(jax.grad(loss))(x)

    # No ties in normal draws, so both send the gradient to the same pixel.
    np.testing.assert_allclose(slope(ops.pool_slices), slope(ops.pool_lax), rtol=1e-5, atol=1e-6)


def test_padding_name():
    x, kernel = draw(7, (1, 4, 4, 1), (3, 3, 1, 1))
    with pytest.raises(ValueError, match="SAME"):
        ops.conv_gemm(x, kernel, 1, "same")


def test_equation_1():
    """k * I = sum_ij k_ij I(x+i-1, y+j-1): no flip of the kernel."""
    image, kernel = draw(8, (1, 6, 5, 1), (3, 3, 1, 1))
    padded = np.pad(np.asarray(image)[0, :, :, 0], 1)
    want = np.zeros((6, 5), np.float32)
    for x in range(6):
        for y in range(5):
            for i in range(3):
                for j in range(3):
                    want[x, y] += kernel[i, j, 0, 0] * padded[x + i, y + j]
    got = ops.conv(image, kernel)[0, :, :, 0]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind, reduce", [("max", max), ("min", min)])
def test_equation_2(kind, reduce):
    """The extreme over i, j in {-1, 0, 1} of I(x-i, y-j), at stride 1 and 2."""
    (image,) = draw(9, (1, 6, 8, 1))
    pixels = np.asarray(image)[0, :, :, 0]
    want = np.zeros((6, 8), np.float32)
    for x in range(6):
        for y in range(8):
            want[x, y] = reduce(
                pixels[x - i, y - j]
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
                if 0 <= x - i < 6 and 0 <= y - j < 8
            )
    np.testing.assert_array_equal(ops.pool(image, kind, 3, 1)[0, :, :, 0], want)
    # At stride 2 on an even side the odd padded pixel is at the end: centres 1, 3, 5, 7.
    np.testing.assert_array_equal(ops.pool(image, kind, 3, 2)[0, :, :, 0], want[1::2, 1::2])
