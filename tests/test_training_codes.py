"""Codes of images against NumPy's principal components, and the GAN that is anchored to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.config import GANConfig, OptimConfig
from jaxbrain.data.preprocess import to_float
from jaxbrain.errors import ConfigError
from jaxbrain.training import augment, codes, gan, lanes, loops, streamed
from jaxbrain.types import Dataset

ANCHORED = dict(
    anchor=5.0,
    update="alternating",
    loss="hinge",
    patches=True,
    spread=0.7,
    augment="gentle",
    latent_size=6,
    flip=0.0,
    dropout=0.0,
    steps=4,
    batch_size=8,
)


def anchored(**fields):
    return change(small(), "gan", **(ANCHORED | fields))


def images(count: int, side: int = 32) -> Dataset:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    label = np.arange(count, dtype=np.int32) % 2
    return Dataset(image, label, np.arange(count, dtype=np.int32))


FIT = jax.jit(codes.fit, static_argnums=0)


def test_codes_are_principal_components_within_classes():
    cfg, data = anchored(), images(40)
    small_images = np.asarray(codes.small(data.image))
    found = FIT(cfg, small_images, data.label)
    # Means of 2 x 2 pixels would be nearly the same; the library's resize is held elsewhere.
    x = np.float64(small_images).reshape(40, 16, 16)
    both = np.concatenate([x, x[:, :, ::-1]]).reshape(80, -1)
    label = np.tile(data.label, 2)
    mean = np.stack([both[label == k].mean(axis=0) for k in (0, 1)])
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    centred = both - mean[label]
    value = np.linalg.svd(centred, compute_uv=False)[:6] ** 2 / 80
    # Along each component the spread of all codes is 1, and components are uncorrelated.
    code = centred @ np.float64(found.basis)
    np.testing.assert_allclose(code.T @ code / 80, np.eye(6), atol=1e-3)
    length = np.linalg.norm(np.float64(found.basis), axis=0)
    np.testing.assert_allclose(1.0 / np.square(length), value, rtol=1e-3)
    noise = np.zeros((40, 6), np.float32)
    own = codes.of(found, to_float(data.image, 1), data.label, noise)
    np.testing.assert_allclose(own, code[:40], atol=1e-3)


def test_components_that_images_do_not_have_are_noise():
    cfg, data = anchored(latent_size=12), images(4)
    found = FIT(cfg, codes.small(data.image), data.label)
    # Two images a class and their mirror images: three directions each.
    known = np.asarray((found.basis != 0).any(axis=0))
    assert known.tolist() == [True] * 6 + [False] * 6
    noise = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    code = np.asarray(codes.of(found, to_float(data.image, 1), data.label, noise))
    np.testing.assert_array_equal(code[:, 6:], noise[:, 6:])


def test_difference_of_pyramids():
    rng = np.random.default_rng(5)
    one, two = (rng.normal(size=(3, 8, 8, 1)).astype(np.float32) for _ in range(2))
    want = np.zeros(3)
    for side in (8, 4, 2):
        means = [
            x.reshape(3, side, 8 // side, side, 8 // side).mean(axis=(2, 4)) for x in (one, two)
        ]
        want += np.abs(means[0] - means[1]).mean(axis=(1, 2))
    np.testing.assert_allclose(codes.difference(one, two), want, rtol=1e-5)
    # An odd side has no halves.
    odd = np.ones((2, 7, 7, 1), np.float32)
    np.testing.assert_allclose(codes.difference(odd, 0 * odd), 1.0)


TRAIN = jax.jit(loops.train_gan, static_argnums=0)
INIT = jax.jit(lambda cfg, key, data: loops.init_gan(cfg, key, data=data), static_argnums=0)


def smooth(count: int) -> Dataset:
    """Slopes: noise has no components to speak of."""
    grid = np.linspace(0, 1, 32)
    rows = np.random.default_rng(1).uniform(0, 255, (count, 2))
    plane = rows[:, :1, None] * grid[None, :, None] + rows[:, 1:, None] * (1 - grid)[None, None]
    return images(count)._replace(image=np.uint8(plane / 2)[..., None])


def test_the_anchor_brings_images_to_their_codes(key):
    """Of the reconstruction alone: what is drawn at the codes comes nearer to the images."""
    adam = OptimConfig("adam", 2e-3, b1=0.5, l2=0.0)
    cfg = anchored(anchor=1000.0, augment="none", steps=60, generator_optim=adam)
    data = smooth(8)
    start = INIT(cfg, key, data)
    state, _ = TRAIN(cfg, data, key, state=start)

    @jax.jit
    def apart(state):
        real = to_float(data.image, 1)
        z = codes.of(state.codes, real, data.label, jnp.zeros((8, 6)))
        drawn = gan.generate(cfg, state, z, jnp.asarray(data.label))
        return codes.difference(drawn, real).mean()

    assert float(apart(state)) < 0.5 * float(apart(start))


def test_an_anchored_training_is_cut_and_streamed_without_a_bit(key):
    cfg, data = anchored(), images(24)
    start = INIT(cfg, key, data)
    whole, history = TRAIN(cfg, data, key, state=start, stop=jnp.int32(4))
    half, _ = TRAIN(cfg, data, key, state=start, stop=jnp.int32(2))
    again, _ = TRAIN(cfg, data, key, state=half, stop=jnp.int32(4))
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(history.metrics["real_sign"]).max() <= 8
    on_host, _ = streamed.train_gan(cfg, data, key)
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(on_host), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=2e-4 * max(np.abs(one).max(), 1e-2))
    # Lanes fit their codes on their own images.
    other = data._replace(image=data.image[::-1].copy())
    both = Dataset(*(np.stack(pair) for pair in zip(data, other, strict=True)))

    @jax.jit
    @jax.vmap
    def fit(data):
        return codes.fit(cfg, codes.small(data.image), data.label)

    starts = fit(both)
    np.testing.assert_allclose(lanes.lane(starts, 0).mean, start.codes.mean, atol=1e-5)
    assert not np.allclose(starts.mean[0], starts.mean[1], atol=1e-3)


def test_spread_scales_latents_and_one_leaves_their_bits(key):
    plain, narrow = change(small(), "gan", spread=1.0), change(small(), "gan", spread=0.5)
    z = gan.latents(plain, 5, key)
    np.testing.assert_array_equal(z, jax.random.normal(key, z.shape))
    np.testing.assert_array_equal(gan.latents(narrow, 5, key), np.float32(0.5) * z)


def test_gentle_changes_gain_place_and_a_hole(key):
    image = jnp.full((64, 32, 32, 1), 0.5)
    found = np.asarray(jax.jit(augment.gentle)(image, jax.random.split(key, 64)))
    assert found.shape == image.shape
    # Black of the shift, the hole's grey, and one gain of at most a fifth.
    for one in found:
        levels = np.unique(one.round(5))
        gain = [v for v in levels if v not in (-1.0, 0.0)]
        assert len(gain) == 1 and 0.2 - 1e-4 <= gain[0] <= 0.8 + 1e-4
        assert (one == 0.0).sum() <= 10 * 10
    # It is differentiable.
    slope = jax.jit(jax.grad(lambda x: augment.gentle(x, jax.random.split(key, 64)).sum()))(image)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0.5


def test_what_does_not_fit_is_refused(key):
    with pytest.raises(ConfigError, match="gan.anchor is 1.0: expected 0, since gan.update"):
        GANConfig(anchor=1.0)
    with pytest.raises(ConfigError, match="expected the training images with it"):
        loops.init_gan(anchored(), key)
