"""Codes of real images: where in the generator's latent space an image stands.

A code holds an image's principal components within its class, at 16 x 16 pixels, in standard
deviations; latents that samples are drawn from have the same mean and `gan.spread` times the
deviation. A generator that must also draw every real image at its code
(`gan.anchor`) learns anatomy from pixels, within a few hundred updates, and leaves to the
discriminator what pixels cannot teach. The idea that latents of training images are given, and
the rest of the space is what lies between them, is that of:

    Bojanowski et al., "Optimizing the latent space of generative networks", 2018 (there the codes
    are learnt); Larsen et al., "Autoencoding beyond pixels", 2016 (there a network finds them).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxbrain.config import Config
from jaxbrain.data.preprocess import resize, to_float
from jaxbrain.types import Array

_SIDE = 16
# Eigenvalues below this share of the largest are noise of rounding, or none at all.
_LEAST = 1e-5
# Standard deviation of what is added to a code, so that its surroundings are drawn alike.
_JITTER = 0.1


class Codes(NamedTuple):
    """What makes a code of an image.

    mean: [K, 256] float32, of each class. basis: [256, L] float32, L = cfg.gan.latent_size;
    zeros where the training images have no L components.
    """

    mean: Array
    basis: Array


def empty(cfg: Config) -> Codes:
    """Codes of no image, for their shapes."""
    size = _SIDE * _SIDE
    return Codes(jnp.zeros((cfg.data.num_classes, size)), jnp.zeros((size, cfg.gan.latent_size)))


def small(image: Array) -> Array:
    """[B, S, S, 1] uint8 -> [B, 256] float32 in about [-1, 1]."""
    return _flat(to_float(image, 1))


def _flat(image: Array) -> Array:
    return resize(image.mean(axis=-1, keepdims=True), _SIDE).reshape(-1, _SIDE * _SIDE)


def fit(cfg: Config, small: Array, label: Array) -> Codes:
    """The codes of training images and of their mirror images.

    small: [N, 256] float32, `small`; label: [N] int32.
    """
    turned = small.reshape(-1, _SIDE, _SIDE)[:, :, ::-1].reshape(small.shape)
    truth = jax.nn.one_hot(label, cfg.data.num_classes)
    count = jnp.maximum(truth.sum(axis=0), 1.0)
    mean = jnp.einsum("nk,nd->kd", truth, 0.5 * (small + turned)) / count[:, None]
    x = jnp.concatenate([small, turned]) - jnp.tile(mean[label], (2, 1))
    value, vector = jnp.linalg.eigh(jnp.einsum("nd,ne->de", x, x) / x.shape[0])
    # The largest first, as many as there are latents.
    missing = max(cfg.gan.latent_size - value.shape[0], 0)
    value, vector = value[::-1][: cfg.gan.latent_size], vector[:, ::-1][:, : cfg.gan.latent_size]
    known = value > _LEAST * value[0]
    basis = jnp.where(known[None], vector / jnp.sqrt(jnp.where(known, value, 1.0))[None], 0.0)
    return Codes(mean, jnp.pad(basis, ((0, 0), (0, missing))))


def of(codes: Codes, image: Array, label: Array, noise: Array, spread: float = 1.0) -> Array:
    """Latents [B, L] float32 of images [B, S, S, C] float32 in [-1, 1] of classes label [B].

    noise: [B, L] standard normal; a little of it is added, and `spread` times it alone stands
    where there are no components.
    """
    code = jnp.einsum("bd,dl->bl", _flat(image) - codes.mean[label], codes.basis)
    known = (codes.basis != 0.0).any(axis=0)
    return jnp.where(known[None], code + _JITTER * noise, spread * noise)


def difference(one: Array, two: Array) -> Array:
    """How unlike images [B, S, S, C] are: mean absolute difference of pixels, of means of 2 x 2
    and of 4 x 4 pixels where the side has them, summed: [B] float32."""
    total = jnp.abs(one - two).mean(axis=(1, 2, 3))
    for _ in range(2):
        if one.shape[1] % 2:
            break
        one, two = _halved(one), _halved(two)
        total = total + jnp.abs(one - two).mean(axis=(1, 2, 3))
    return total


def _halved(image: Array) -> Array:
    count, side, _, channels = image.shape
    return image.reshape(count, side // 2, 2, side // 2, 2, channels).mean(axis=(2, 4))
