"""Membership inference: what replays is told, what never saw an image is not."""

import jax
import numpy as np
import pytest
import scipy.stats
from conftest import change, small

from jaxbrain.audit import membership
from jaxbrain.data import phantom
from jaxbrain.errors import DataError
from jaxbrain.training import gan
from jaxbrain.training.loops import init_gan
from jaxbrain.types import Dataset


@pytest.fixture(scope="module")
def sets():
    image = np.asarray(phantom.dataset(jax.random.key(3), 120, 32).image)
    image = np.random.default_rng(0).permutation(image)
    return image[:100], image[100:160], image[160:]


@pytest.mark.parametrize("attack", [membership.by_distance, membership.by_density])
def test_a_replay_is_told_and_a_third_set_is_not(sets, attack):
    training, held_out, third = sets
    rng = np.random.default_rng(0)
    found = attack(training, training, held_out, rng, draws=300)
    assert found["interval"][0] > 0.5
    if attack is membership.by_distance:
        assert found["value"] == found["tpr_at"]["value"] == 1.0
        assert (found["positives"], found["negatives"]) == (100, 60)
    else:
        assert (found["positives"], found["negatives"], found["reference"]) == (100, 30, 30)
    found = attack(third, training, held_out, rng, draws=300)
    for one in (found, found["control"]):
        low, high = one["interval"]
        assert low <= 0.5 <= high and high - low < 0.4


def test_sets_of_another_kind_show_in_the_control(sets):
    """Held-out images of another contrast lie far from a third set as such: the attack finds
    a difference, and so does the control that knows no generator."""
    training, held_out, third = sets
    rng = np.random.default_rng(1)
    noise = 60 * rng.normal(size=held_out.shape)
    odd = np.clip(held_out + noise, 0, 255).astype(np.uint8)
    found = membership.by_distance(third, training, odd, rng, draws=300)
    assert found["interval"][0] > 0.5 and found["control"]["interval"][0] > 0.5


def test_density_against_scipy():
    rng = np.random.default_rng(2)
    points, x = rng.normal(size=(40, 3)), rng.normal(size=(300, 3))
    points = points - points.mean(axis=0)
    root = np.linalg.cholesky(np.linalg.inv(np.cov(points.T)))
    white = points @ root
    want = scipy.stats.gaussian_kde(white.T).logpdf(x.T) + 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(membership._log_density(white, x), want, rtol=1e-9)
    # Components of the reference images have variance 1 there, and no correlation.
    rows = rng.normal(size=(30, 50)) @ rng.normal(size=(50, 50))
    found = membership._components(rows, 6)(rows)
    np.testing.assert_allclose(np.cov(found.T), np.eye(6), atol=1e-9)
    far = membership._log_density(white, np.full((1, 3), 1e3))
    assert np.isfinite(far).all()


def test_scores_of_a_discriminator(key):
    cfg = change(small(), "gan", batch_size=4)
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (7, 32, 32, 1), np.uint8)
    data = Dataset(image, np.arange(7, dtype=np.int32) % 2, np.arange(7, dtype=np.int32))
    state = jax.jit(init_gan, static_argnums=0)(cfg, key)
    score = membership.discriminator_scores(cfg, state, data)
    assert score.shape == (7,) and score.dtype == np.float32
    scaled = image.astype(np.float32) / np.float32(127.5) - 1
    want = jax.jit(gan.score, static_argnums=0)(cfg, state, scaled, data.label)
    np.testing.assert_allclose(score, want, atol=1e-5)
    assert np.ptp(score) > 0
    found = membership.judged(score[:3], score[3:], rng, draws=20)
    assert found["positives"] == 3 and found["negatives"] == 4


def test_too_few_images_are_refused(sets):
    training, held_out, third = sets
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="7 held-out images: expected at least 8"):
        membership.by_density(third, training, held_out[:7], rng)
    with pytest.raises(DataError, match="0 training and 2 held-out images"):
        membership.judged(np.zeros(0), np.zeros(2), rng)
    with pytest.raises(DataError, match="the reference images are all the same"):
        membership._components(np.ones((4, 10)), 3)
