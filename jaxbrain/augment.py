"""Random changes of images, jit-able, key in. Images are [B, S, S, C] in [-1, 1]."""

import jax
import jax.numpy as jnp

from jaxbrain.types import Array


def _per_image(values: Array) -> Array:
    return values.reshape(-1, 1, 1, 1)


def reflect(image: Array, key: Array) -> Array:
    """Left and right swapped in a random half of the images. The key is consumed."""
    swap = jax.random.bernoulli(key, 0.5, (image.shape[0],))
    return jnp.where(_per_image(swap), image[:, :, ::-1], image)


def translate(image: Array, key: Array, share: float) -> Array:
    """Each image moved by up to `share` of its side, whole pixels; black comes in.
    The key is consumed."""
    size = image.shape[1]
    reach = int(size * share + 0.5)
    shift = jax.random.randint(key, (image.shape[0], 2), 0, 2 * reach + 1)
    padded = jnp.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)), constant_values=-1.0)

    def cut(one, start):
        corner = (start[0], start[1], jnp.zeros((), start.dtype))
        return jax.lax.dynamic_slice(one, corner, image.shape[1:])

    return jax.vmap(cut)(padded, shift)


def cutout(image: Array, key: Array, share: float) -> Array:
    """A square of `share` of the side at a random centre set to 0 in each image. The
    key is consumed."""
    size = image.shape[1]
    centre = jax.random.randint(key, (2, image.shape[0], 1), 0, size)
    half = int(size * share / 2)
    offset = jnp.arange(size).reshape(1, 1, size) - centre
    inside = (offset >= -half) & (offset < half)
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return jnp.where(hole[..., None], 0.0, image)


def diffaug(image: Array, key: Array) -> Array:
    """DiffAugment with policy color, translation, cutout; differentiable in `image`.

    Brightness + U(-0.5, 0.5), contrast about the image's mean times U(0.5, 1.5), shift of
    up to an eighth of the side, a hole of half the side. (Saturation does nothing to grey
    images and is left out.) Apply it to real and synthetic images alike. The key is
    consumed.

    References:
        Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    """
    bright_key, contrast_key, shift_key, hole_key = jax.random.split(key, 4)
    count = (image.shape[0],)
    image = image + _per_image(jax.random.uniform(bright_key, count) - 0.5)
    factor = _per_image(jax.random.uniform(contrast_key, count) + 0.5)
    mean = image.mean(axis=(1, 2, 3), keepdims=True)
    image = (image - mean) * factor + mean
    image = translate(image, shift_key, 0.125)
    return cutout(image, hole_key, 0.5)


def standard(image: Array, key: Array) -> Array:
    """Flips left-right, shifts of up to 6 % and a gain of up to 20 %, for the
    classifier. The result stays in [-1, 1]. The key is consumed."""
    flip_key, shift_key, gain_key = jax.random.split(key, 3)
    image = translate(reflect(image, flip_key), shift_key, 0.06)
    gain = jax.random.uniform(gain_key, (image.shape[0],), minval=0.8, maxval=1.2)
    # The gain acts on grey levels above black.
    return jnp.clip((image + 1.0) * _per_image(gain) - 1.0, -1.0, 1.0)
