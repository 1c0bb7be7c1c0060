"""Random changes of images, jit-able. Images are [B, S, S, C] in [-1, 1].

Every image has a key of its own (`keys`, [B] keys, are consumed), so that what happens to
it does not depend on how a batch is spread over devices.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.types import Array


def own_rows(values: Array, axis_name: str | None) -> Array:
    """The rows of this device, of values for the batches of all devices of an axis."""
    if axis_name is None:
        return values
    count = values.shape[0] // lax.axis_size(axis_name)
    return lax.dynamic_slice_in_dim(values, lax.axis_index(axis_name) * count, count)


def _per_image(values: Array) -> Array:
    return values.reshape(-1, 1, 1, 1)


def _split(keys: Array, num: int) -> Array:
    """[B] keys -> [num, B] keys."""
    return jax.vmap(lambda key: jax.random.split(key, num), out_axes=1)(keys)


def _uniform(keys: Array, low: float, high: float) -> Array:
    return jax.vmap(lambda key: jax.random.uniform(key, minval=low, maxval=high))(keys)


def reflect(image: Array, keys: Array) -> Array:
    """Left and right swapped in a random half of the images."""
    swap = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(_per_image(swap), image[:, :, ::-1], image)


def translate(image: Array, keys: Array, share: float) -> Array:
    """Each image moved by up to `share` of its side, whole pixels; black comes in."""
    size = image.shape[1]
    reach = int(size * share + 0.5)
    shift = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * reach + 1))(keys)
    padded = jnp.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)), constant_values=-1.0)

    def cut(one, start):
        corner = (start[0], start[1], jnp.zeros((), start.dtype))
        return lax.dynamic_slice(one, corner, image.shape[1:])

    return jax.vmap(cut)(padded, shift)


def around(reach: int) -> Array:
    """[9, 2] int32: the rows and columns by which `moved` puts an image to each of its eight
    sides, `reach` pixels away, and leaves it in place."""
    steps = jnp.array([-reach, 0, reach], jnp.int32)
    return jnp.stack(jnp.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(9, 2)


def moved(image: Array, step: Array, reach: int) -> Array:
    """All images moved by `step` [2] int32 pixels, each at most `reach`; black comes in."""
    padded = jnp.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)), constant_values=-1.0)
    zero = jnp.zeros((), step.dtype)
    return lax.dynamic_slice(padded, (zero, reach - step[0], reach - step[1], zero), image.shape)


def cutout(image: Array, keys: Array, share: float) -> Array:
    """A square of `share` of the side at a random centre set to 0 in each image."""
    size = image.shape[1]
    centre = jax.vmap(lambda key: jax.random.randint(key, (2, 1), 0, size), out_axes=1)(keys)
    half = int(size * share / 2)
    offset = jnp.arange(size).reshape(1, 1, size) - centre
    inside = (offset >= -half) & (offset < half)
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return jnp.where(hole[..., None], 0.0, image)


def diffaug(image: Array, keys: Array) -> Array:
    """DiffAugment with policy color, translation, cutout; differentiable in `image`.

    Brightness + U(-0.5, 0.5), contrast about the image's mean times U(0.5, 1.5), shift of
    up to an eighth of the side, a hole of half the side. (Saturation does nothing to grey
    images and is left out.) Apply it to real and synthetic images alike.

    References:
        Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    """
    bright_keys, contrast_keys, shift_keys, hole_keys = _split(keys, 4)
    image = image + _per_image(_uniform(bright_keys, -0.5, 0.5))
    factor = _per_image(_uniform(contrast_keys, 0.5, 1.5))
    mean = image.mean(axis=(1, 2, 3), keepdims=True)
    image = (image - mean) * factor + mean
    image = translate(image, shift_keys, 0.125)
    return cutout(image, hole_keys, 0.5)


def gentle(image: Array, keys: Array) -> Array:
    """`diffaug` for few updates: a gain of up to 20 %, shift of up to an eighth of the side, a
    hole of 30 % of it; differentiable in `image`. Grey levels stay close to what they are,
    so that a discriminator learns them within hundreds of updates."""
    gain_keys, shift_keys, hole_keys = _split(keys, 3)
    # The gain acts on grey levels above black.
    image = (image + 1.0) * _per_image(_uniform(gain_keys, 0.8, 1.2)) - 1.0
    return cutout(translate(image, shift_keys, 0.125), hole_keys, 0.3)


def standard(image: Array, keys: Array) -> Array:
    """Flips left-right, shifts of up to 6 % and a gain of up to 20 %, for the
    classifier. The result stays in [-1, 1]."""
    flip_keys, shift_keys, gain_keys = _split(keys, 3)
    image = translate(reflect(image, flip_keys), shift_keys, 0.06)
    # The gain acts on grey levels above black.
    gain = _per_image(_uniform(gain_keys, 0.8, 1.2))
    return jnp.clip((image + 1.0) * gain - 1.0, -1.0, 1.0)


def _warp(image: Array, rows: Array, columns: Array) -> Array:
    """An image [S, S, C] read at places [S, S] each, bilinear; 0 outside."""
    size = image.shape[0]
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]

    def at(row, column):
        inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        row, column = (jnp.clip(x, 0, size - 1).astype(jnp.int32) for x in (row, column))
        return jnp.where(inside[..., None], image[row, column], 0.0)

    upper = at(top, left) * (1.0 - right) + at(top, left + 1.0) * right
    lower = at(top + 1.0, left) * (1.0 - right) + at(top + 1.0, left + 1.0) * right
    return upper * (1.0 - down) + lower * down


def strong(image: Array, keys: Array) -> Array:
    """Turns of up to 10 degrees, sizes of +-10 %, aspects of +-6 %, shifts of +-3 %, gamma
    e^+-0.3, gain +-20 %, noise of 0.02 of the range, for the classifier. Left and right are
    not swapped. The result stays in [-1, 1]; black comes in."""
    size = image.shape[1]
    turn_keys, size_keys, aspect_keys, shift_keys, gamma_keys, gain_keys, noise_keys = _split(
        keys, 7
    )
    turn = _uniform(turn_keys, -jnp.pi / 18, jnp.pi / 18)
    larger, aspect = _uniform(size_keys, 0.9, 1.1), _uniform(aspect_keys, 0.94, 1.06)
    shift = jax.vmap(lambda key: jax.random.uniform(key, (2,), minval=-0.03, maxval=0.03))(
        shift_keys
    )
    middle = (size - 1) / 2
    line = jnp.arange(size, dtype=jnp.float32) - middle
    row, column = jnp.meshgrid(line, line, indexing="ij")

    def one(image, turn, larger, aspect, shift):
        rows = (row * jnp.cos(turn) - column * jnp.sin(turn)) / (larger * aspect)
        columns = (row * jnp.sin(turn) + column * jnp.cos(turn)) / larger
        return _warp(image, rows + middle + shift[0] * size, columns + middle + shift[1] * size)

    grey = jax.vmap(one)((image + 1.0) / 2.0, turn, larger, aspect, shift)
    grey = jnp.clip(grey, 0.0, 1.0) ** _per_image(jnp.exp(_uniform(gamma_keys, -0.3, 0.3)))
    grey = grey * _per_image(_uniform(gain_keys, 0.8, 1.2))
    noise = jax.vmap(lambda key: jax.random.normal(key, image.shape[1:]))(noise_keys)
    return jnp.clip(grey + 0.02 * noise, 0.0, 1.0) * 2.0 - 1.0
