"""Every formulation equals the stock one, and equations (1) and (2) as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.nn import ops, ops_cpu, ops_gpu

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


def draw(seed: int, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def same(one, other, *args) -> None:
    """Values, gradients, and gradients of a function of gradients (as R1 takes)."""
    value = jax.jit(one)(*args)
    np.testing.assert_allclose(value, jax.jit(other)(*args), rtol=1e-5, atol=1e-5)
    (weight,) = draw(99, value.shape)

    def loss(form):
        return lambda *a: (form(*a) * weight).sum()

    def penalty(form):
        def squared(*a):
            return (jax.grad(lambda x: (jnp.tanh(form(x, *a[1:])) * weight).sum())(a[0]) ** 2).sum()

        return squared

    every = tuple(range(len(args)))
    for make, tolerance in ((loss, 1e-5), (penalty, 1e-4)):
        got, want = (jax.jit(jax.grad(make(form), every))(*args) for form in (one, other))
        for a, b in zip(got, want, strict=True):
            scale = float(np.abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def pads_of(shape, size, stride, padding):
    return ops._pads(shape, size, stride, padding)


@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_conv(height, width, size, stride, padding):
    x, kernel = draw(1, (2, height, width, 3), (size, size, 3, 4))
    same(
        lambda x, k: ops.conv(x, k, stride, padding),
        lambda x, k: ops.conv_lax(x, k, stride, padding),
        x,
        kernel,
    )


@pytest.mark.parametrize("form", ["conv_gemm", "conv_direct", "conv_taps"])
@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_forms_of_conv(form, height, width, size, stride, padding):
    x, kernel = draw(1, (2, height, width, 3), (size, size, 3, 4))
    pads = pads_of(x.shape, size, stride, padding)
    got = jax.jit(lambda x, k: getattr(ops_cpu, form)(x, k, stride, pads))(x, kernel)
    want = ops.conv_lax(x, kernel, stride, padding)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("c_out", [3, 9])
@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_conv_transpose(c_out, height, width, size, stride, padding):
    x, kernel = draw(2, (2, height, width, 3), (size, size, 3, c_out))
    same(
        lambda x, k: ops.conv_transpose(x, k, stride, padding),
        lambda x, k: ops.conv_transpose_lax(x, k, stride, padding),
        x,
        kernel,
    )


@pytest.mark.parametrize("form", ["transpose_stamps", "transpose_phases", "transpose_taps"])
@pytest.mark.parametrize("height, width, size, stride, padding", [*CASES, (7, 8, 1, 2, "SAME")])
def test_forms_of_the_transpose(form, height, width, size, stride, padding):
    """Also with pixels of x that no window reads, and with windows smaller than steps."""
    x, kernel = draw(3, (2, height, width, 3), (size, size, 3, 4))
    pads = pads_of(x.shape, size, stride, padding)
    stock = lambda x: ops.conv_lax(x, kernel, stride, padding)  # noqa: E731
    (y,) = draw(4, jax.eval_shape(stock, x).shape)
    run = lambda y, k: getattr(ops_cpu, form)(y, k, stride, pads, (height, width))  # noqa: E731
    got = jax.jit(run)(y, kernel)
    want = jax.jit(lambda x, y: jax.vjp(stock, x)[1](y)[0])(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def outer(x, kernel, stride, padding):
    """A cotangent of the stock convolution, and the kernel's gradient for it."""
    stock = lambda kernel: ops.conv_lax(x, kernel, stride, padding)  # noqa: E731
    (y,) = draw(6, jax.eval_shape(stock, kernel).shape)
    return y, jax.jit(lambda kernel, y: jax.vjp(stock, kernel)[1](y)[0])(kernel, y)


@pytest.mark.parametrize("piece", [1, 2, 100])
@pytest.mark.parametrize("height, width, size, stride, padding", CASES)
def test_forms_of_the_kernel_gradient(piece, height, width, size, stride, padding, monkeypatch):
    """5 images in pieces of 1, of 2 with a rest, and at once."""
    x, kernel = draw(5, (5, height, width, 3), (size, size, 3, 4))
    pads = pads_of(x.shape, size, stride, padding)
    y, want = outer(x, kernel, stride, padding)
    one = size * 3 * stride * (y.shape[1] + size) * y.shape[2] * 4
    monkeypatch.setattr(ops_cpu, "_PIECE_BYTES", piece * one)
    got = jax.jit(lambda x, y: ops_cpu.outer_pieces(x, y, size, stride, pads))(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("height, width, size, stride, padding", [*CASES, (7, 8, 1, 2, "SAME")])
def test_the_kernel_gradient_in_taps(height, width, size, stride, padding):
    x, kernel = draw(5, (5, height, width, 3), (size, size, 3, 4))
    y, want = outer(x, kernel, stride, padding)
    pads = pads_of(x.shape, size, stride, padding)
    got = jax.jit(lambda x, y: ops_cpu.outer_taps(x, y, size, stride, pads))(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


def test_taps_are_taken_where_windows_lie_on_padding():
    """(3 + 4 + 4 + 3) / 20 of the rows at stride 1 meet pixels, so half of the products;
    at stride 2 (4 + 5 + 5 + 3) / 20; from 16 pixels to 8 all but 3 in 40."""
    for size, stride, want in ((4, 1, True), (8, 2, True), (16, 2, False)):
        pads = pads_of((1, size, size, 1), 5, stride, "SAME")
        count = (-(-size // stride),) * 2
        assert ops_cpu._sparse(5, stride, pads, (size, size), count) == want


@pytest.fixture
def on_gpu(monkeypatch):
    monkeypatch.setattr(ops, "backend", lambda: "gpu")


@pytest.mark.parametrize(
    "case, axes, fit",
    [
        (CASES[2], (0, 0), 0),
        (CASES[2], (0, 0), 3),
        (CASES[2], (0, 0), 100),
        (CASES[3], (0, 0), 100),
        (CASES[3], (None, 0), 3),
        (CASES[3], (0, None), 100),
    ],
)
def test_lanes_on_a_gpu(case, axes, fit, on_gpu, monkeypatch):
    """Mapped over kernels, images or both: as XLA's convolutions mapped. So many of the 5
    lanes go together as `fit`, of the transposed convolution 3/4 of these."""
    height, width, size, stride, padding = case
    x, kernel = draw(11, (5, 2, height, width, 3), (5, size, size, 3, 4))
    args = [leaf if axis == 0 else leaf[0] for leaf, axis in zip((x, kernel), axes, strict=True)]
    for form, plain, places in (
        (ops.conv, ops.conv_lax, np.prod(ops.conv_lax(x[0], kernel[0], stride, padding).shape[:3])),
        (ops.conv_transpose, ops.conv_transpose_lax, 2 * height * width),
    ):
        monkeypatch.setattr(ops_gpu, "COLUMN_BYTES", int(fit * places * size**2 * 3 * 4))
        one, other = (
            jax.vmap(lambda x, k, form=form: form(x, k, stride, padding), axes)
            for form in (form, plain)
        )
        same(one, other, *args)


def test_one_training_on_a_gpu_takes_the_stock_convolutions(on_gpu):
    x, kernel = draw(12, (2, 7, 9, 3), (5, 5, 3, 4))
    same(lambda x, k: ops.conv(x, k, 2), lambda x, k: ops.conv_lax(x, k, 2), x, kernel)
    slope = jax.jit(jax.grad(lambda k, x: ops.conv(x, k, 2).sum()))
    text = slope.trace(kernel, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in text and "stablehlo.dot_general" not in text


def test_lanes_on_a_gpu_have_no_grouped_convolution(on_gpu):
    x, kernel = draw(13, (4, 2, 8, 8, 3), (4, 5, 5, 3, 4))
    slope = jax.vmap(jax.grad(lambda k, x: (ops.conv(x, k, 2) ** 2).sum()))
    text = jax.jit(slope).trace(kernel, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.dot_general" in text and "stablehlo.convolution" not in text


def test_a_tpu_takes_the_stock_convolutions(monkeypatch):
    monkeypatch.setattr(ops, "backend", lambda: "tpu")
    x, kernel = draw(14, (4, 2, 8, 8, 3), (4, 5, 5, 3, 4))
    text = jax.jit(jax.vmap(lambda x, k: ops.conv(x, k))).lower(x, kernel).as_text()
    assert "stablehlo.convolution" in text and "stablehlo.dot_general" not in text


@pytest.mark.slow
def test_portable_forms_are_the_stock_ones_for_any_batch():
    """In one program for all backends, with a batch whose size is not known."""
    kernel, kernel_t, x = draw(5, (3, 3, 2, 4), (4, 4, 2, 3), (6, 8, 8, 2))

    def net(x):
        y = ops.in_parts(lambda y: ops.pool(ops.conv(y, kernel), "max", 3, 2), x)
        return y.sum() + ops.conv_transpose(x, kernel_t, 2)

    b, *_ = jax.export.symbolic_shape("b")
    like = jax.ShapeDtypeStruct((b, 8, 8, 2), jnp.float32)
    with ops.portable():
        assert ops.backend() == "any"
        program = jax.export.export(jax.jit(net), platforms=("cpu", "cuda", "tpu"))(like)
    assert ops.backend() == "cpu"
    assert "stablehlo.convolution" in program.mlir_module()
    np.testing.assert_allclose(program.call(x), net(x), rtol=1e-5, atol=1e-5)


def test_mapped_over_kernels_equals_one_by_one():
    """Values and gradients, also where only one operand is mapped."""
    x, kernels, other = draw(7, (2, 8, 8, 3), (4, 5, 5, 3, 9), (4, 5, 5, 9, 3))

    def penalty(kernel, other):
        def score(x):
            y = ops.pool(ops.conv(x, kernel, 2), "max", 3, 2)
            return jnp.tanh(ops.conv_transpose(y, other, 2)).sum()

        return (jax.grad(score)(x) ** 2).sum()

    slope = jax.grad(penalty, argnums=(0, 1))
    got = jax.jit(jax.vmap(slope))(kernels, other)
    for i in range(4):
        want = slope(kernels[i], other[i])
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))


def test_in_a_loop_equals_outside():
    x, kernel = draw(8, (3, 9, 9, 2), (3, 3, 2, 9))

    def step(kernel):
        loss = lambda kernel: (ops.pool(ops.conv(x, kernel), "max", 3, 2) ** 2).mean()  # noqa: E731
        return kernel - 0.1 * jax.grad(loss)(kernel)

    looped = jax.jit(lambda k: jax.lax.fori_loop(0, 3, lambda _, k: step(k), k))(kernel)
    written_out = jax.jit(lambda k: step(step(step(k))))(kernel)
    np.testing.assert_allclose(looped, written_out, rtol=1e-4, atol=1e-6)


def test_conv_transpose_is_the_transpose_of_conv():
    x, y, kernel = draw(3, (2, 8, 6, 3), (2, 4, 3, 5), (5, 5, 3, 5))
    forward = jax.jit(lambda: (ops.conv(x, kernel, 2) * y).sum())()
    turned = kernel.swapaxes(2, 3)
    backward = jax.jit(lambda: (ops.conv_transpose(y, turned, 2) * x).sum())()
    np.testing.assert_allclose(forward, backward, rtol=1e-5)


def test_conv_transpose_refuses_holes():
    x, kernel = draw(4, (1, 4, 4, 1), (2, 2, 1, 1))
    with pytest.raises(ValueError, match="holes"):
        ops.conv_transpose(x, kernel, 3)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", ["max", "average", "min"])
@pytest.mark.parametrize("height, width, size, stride, padding", [*CASES, (7, 8, 1, 2, "SAME")])
def test_pool(kind, height, width, size, stride, padding, ties):
    """Values and gradients; the first of equal pixels takes a gradient, as in XLA."""
    (x,) = draw(5, (2, height, width, 3))
    if ties:
        x = jnp.round(x)
    stock = lambda x: ops.pool_lax(x, kind, size, stride, padding)  # noqa: E731
    (weight,) = draw(6, jax.eval_shape(stock, x).shape)

    def both(form):
        pooled, pull = jax.vjp(lambda x: form(x, kind, size, stride, padding), x)
        return pooled, pull(weight)[0]

    got, want = (jax.jit(both, static_argnums=0)(form) for form in (ops.pool, ops.pool_lax))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-6)


def test_a_wide_pool():
    """169 pixels in a window, of which the first largest takes the gradient."""
    (x,) = draw(15, (1, 17, 19, 2))
    form = lambda pool: jax.value_and_grad(lambda x: jnp.sin(pool(x, "max", 13, 4)).sum())  # noqa: E731
    got, want = jax.jit(form(ops.pool))(x), jax.jit(form(ops.pool_lax))(x)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-6)


def test_pool_differentiates_twice():
    x, weight = draw(10, (2, 9, 8, 3), (2, 5, 4, 3))

    def slope(form):
        def inner(x):
            return jax.grad(lambda x: (jnp.sin(form(x, "max", 3, 2)) * weight).sum())(x)

        return jax.jit(jax.grad(lambda x: (inner(x) ** 2).sum()))(x)

    np.testing.assert_allclose(slope(ops.pool), slope(ops.pool_lax), rtol=1e-5, atol=1e-6)


def test_padding_name():
    x, kernel = draw(7, (1, 4, 4, 1), (3, 3, 1, 1))
    with pytest.raises(ValueError, match="SAME"):
        ops.conv(x, kernel, 1, "same")


def test_equation_1():
    """k * I = sum_ij k_ij I(x+i-1, y+j-1): no flip of the kernel."""
    image, kernel = draw(8, (1, 6, 5, 1), (3, 3, 1, 1))
    padded, taps = np.pad(np.asarray(image)[0, :, :, 0], 1), np.asarray(kernel)[:, :, 0, 0]
    want = np.zeros((6, 5), np.float32)
    for x in range(6):
        for y in range(5):
            for i in range(3):
                for j in range(3):
                    want[x, y] += taps[i, j] * padded[x + i, y + j]
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
