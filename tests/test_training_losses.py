"""Losses equal their definitions, in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.training import losses

pytestmark = pytest.mark.smoke

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=6).astype(np.float32)
FAKE = RNG.normal(size=6).astype(np.float32)
FLIP = np.array([True, False, True, False, False, True])


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


def test_cross_entropy():
    logits = RNG.normal(size=(5, 3)).astype(np.float32)
    label = np.array([0, 2, 1, 1, 0], np.int32)
    p = np.exp(np.float64(logits))
    want = -np.log(p[np.arange(5), label] / p.sum(1))
    np.testing.assert_allclose(losses.cross_entropy(logits, label), want, rtol=1e-5)


def test_smoothed_targets():
    rng = np.random.default_rng(8)
    logits, label = np.float32(rng.normal(size=(5, 3))), np.arange(5) % 3
    target = 0.8 * np.eye(3)[label] + 0.2 / 3
    want = -(target * np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))).sum(1)
    got = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(label, jnp.int32), 0.2)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_bce_is_mathworks_with_flipped_probabilities():
    """-mean log p_real - mean log(1 - p_fake), p_real <- 1 - p_real where flipped."""
    p_real = np.where(FLIP, 1 - sigmoid(REAL), sigmoid(REAL))
    want = -np.log(p_real).mean() - np.log(1 - sigmoid(FAKE)).mean()
    got = losses.discriminator_loss("bce", REAL, FAKE, FLIP)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    want = -np.log(sigmoid(FAKE)).mean()
    np.testing.assert_allclose(losses.generator_loss("bce", FAKE), want, rtol=1e-5)


def test_hinge():
    signed = np.where(FLIP, -REAL, REAL)
    want = np.maximum(0, 1 - signed).mean() + np.maximum(0, 1 + FAKE).mean()
    got = losses.discriminator_loss("hinge", REAL, FAKE, FLIP)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(losses.generator_loss("hinge", FAKE), -FAKE.mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["bce", "hinge"])
def test_finite_for_certain_discriminators(kind):
    far = jnp.asarray([1e4, -1e4], jnp.float32)
    none = jnp.zeros((2,), bool)
    value, slope = jax.value_and_grad(losses.discriminator_loss, 1)(kind, far, -far, none)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_r1_of_a_known_function():
    """logit = sum of a * x^2: the gradient is 2 a x."""
    image = jnp.asarray(RNG.normal(size=(3, 2, 2, 1)).astype(np.float32))
    got = losses.r1_penalty(lambda x: 1.5 * jnp.square(x).sum(axis=(1, 2, 3)), image)
    want = 0.5 * ((3.0 * np.float64(image)) ** 2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(got, want, rtol=1e-5)
