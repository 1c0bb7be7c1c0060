"""Cheap judgements of a GAN, against failures that were made."""

import numpy as np
import pytest

from jaxbrain.audit import watching


def test_features_are_cell_means():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 32, 32, 1), np.uint8)
    want = image.reshape(5, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(5, 64) / 255.0
    np.testing.assert_allclose(watching.features(image), want, atol=1e-12)
    odd = watching.features(rng.integers(0, 256, (3, 42, 42, 1), np.uint8))
    assert odd.shape == (3, 64) and 0.2 < odd.mean() < 0.8
    flat = watching.features(np.full((2, 42, 42, 1), 51, np.uint8))
    np.testing.assert_allclose(flat, 0.2)


def test_spread():
    """The same picture in a class is 0; two grey levels are half their distance."""
    label = np.array([0, 0, 1, 1])
    image = np.zeros((4, 8, 8, 1), np.uint8)
    assert watching.spread(image, label) == 0.0
    image[1] = 255
    assert watching.spread(image, label) == pytest.approx(0.25)
    # Classes that differ from each other only are alike within.
    image = np.repeat(np.array([10, 10, 200, 200], np.uint8), 64).reshape(4, 8, 8, 1)
    assert watching.spread(image, label) == 0.0


def report(step: int, spread: float, accuracy: float) -> dict:
    return {"step": step, "sample_spread": spread, "discriminator_accuracy": accuracy}


def test_a_constant_generator_and_an_oracle_are_seen():
    healthy = [report(i, 0.2, 0.8) for i in range(5)]
    assert watching.warnings(healthy, 0.2) == []
    constant = healthy + [report(i, 0.0, 0.8) for i in range(5, 8)]
    (text,) = watching.warnings(constant, 0.2)
    assert "mode collapse suspected" in text and "to step 7" in text
    oracle = healthy + [report(i, 0.2, 0.999) for i in range(5, 8)]
    (text,) = watching.warnings(oracle, 0.2)
    assert "discriminator is certain (99.9 %" in text
    assert len(watching.warnings([report(i, 0.0, 1.0) for i in range(3)], 0.2)) == 2
    # It recovered, or it is too early to say.
    assert watching.warnings(constant + [report(8, 0.2, 0.8)], 0.2) == []
    assert watching.warnings(constant[-2:], 0.2) == []
