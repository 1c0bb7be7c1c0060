"""Counting modes: in closed form on made-up answers, and with an oracle on phantoms."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxbrain.audit import modes as audit
from jaxbrain.data import modes
from jaxbrain.errors import DataError


def recall(mode, label, trained, draws=200):
    return audit.recall_of_modes(mode, label, trained, np.random.default_rng(0), draws=draws)


def test_all_modes_alike():
    every = np.repeat(np.arange(30), 20)
    label = modes.TABLE[every, 0]
    found = recall(every, label, np.arange(30))
    assert found["recall"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert found["precision"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert found["overlap"] == pytest.approx(1.0)
    assert found["none"] == 0.0 and found["missing"] == []
    whole = {"recall": 1.0, "precision": 1.0, "overlap": pytest.approx(1.0)}
    assert found["classes"] == {"0": whole, "1": whole}


def test_a_mode_counts_from_a_tenth_of_its_share():
    """Mode 1 has half of the training images of class 0: 5 % of the samples are enough."""
    trained, label = np.array([0, 0, 1, 1]), np.zeros(100, int)
    for held, drawn in ((5, 1.0), (4, 0.5)):
        found = recall(np.repeat([1, 0], [held, 100 - held]), label, trained)
        assert found["recall"]["value"] == drawn
        assert found["overlap"] == pytest.approx(0.5 + held / 100)
        low, high = found["recall"]["interval"]
        assert (low, high) == (0.5, 1.0)


def test_samples_elsewhere_are_not_precise():
    """In no mode, in one of the other class, in one without training images: all alike."""
    trained = np.array([0, 1, 6, 7])
    mode = np.array([0, 1, 2, audit.NONE, 6, 7, 7, 0])
    found = recall(mode, np.repeat([0, 1], 4), trained)
    assert found["classes"]["0"] == {"recall": 1.0, "precision": 0.5, "overlap": 0.5}
    assert found["classes"]["1"] == {"recall": 1.0, "precision": 0.75, "overlap": 0.75}
    assert found["precision"]["value"] == pytest.approx(0.625)
    assert found["none"] == 0.125


def test_recall_is_over_modes_not_classes():
    """All six normal modes and three of 24 with a tumour: 9 of 30."""
    mode = np.concatenate([np.repeat(np.arange(6), 10), np.repeat([6, 7, 8], 20)])
    found = recall(mode, np.repeat([0, 1], 60), np.arange(30))
    assert found["recall"]["value"] == pytest.approx(0.3)
    assert found["classes"]["1"]["recall"] == 0.125
    assert found["missing"] == [modes.name(m) for m in range(9, 30)]


def test_the_interval_is_that_of_resampled_samples():
    rng = np.random.default_rng(1)
    mode = np.where(rng.uniform(size=400) < 0.8, 0, audit.NONE)
    found = recall(mode, np.zeros(400, int), np.array([0]), draws=4000)
    low, high = found["precision"]["interval"]
    share = (mode == 0).mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_allclose([low, high], [share - half, share + half], atol=0.006)


def test_classes_must_agree():
    with pytest.raises(DataError, match=r"classes \[0, 1\], training images of \[0\]"):
        recall(np.array([0, 6]), np.array([0, 1]), np.array([0]))


def test_distances_are_those_to_the_nearest():
    rng = np.random.default_rng(2)
    one, other = rng.uniform(size=(7, 12)), rng.uniform(size=(5, 12))
    gap = np.square(one[:, None] - other).mean(2)
    np.testing.assert_allclose(audit._nearest(one, other), np.sqrt(gap.min(1)), atol=1e-7)


def test_detail_is_what_averages_take_away():
    """Of a chequered image all at the first, of stripes two pixels wide all at the second."""
    row = np.arange(16)
    chequered = ((row[:, None] + row) % 2 * 200).astype(np.uint8)
    stripes = np.broadcast_to(row // 2 % 2 * 100, (16, 16)).astype(np.uint8)
    found = np.exp(audit._detail(np.stack([chequered, stripes])[..., None])) - 1e-3
    expected = [[100 / 255, 0, 0, 0], [0, 50 / 255, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.fixture(scope="module")
def oracle():
    """Little trained: it must know the easy factors."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield audit.fitted(jax.random.key(0), 32, 0.2, num=900, epochs=4)
    jax.config.update("jax_disable_most_optimizations", True)


def test_the_oracle_beats_chance_on_every_factor(oracle):
    chance = {"mode": 1 / 30, "label": 1 / 2, "contrast": 1 / 3, "ventricles": 1 / 2}
    for name, share in (chance | {"side": 1 / 2, "half": 1 / 2}).items():
        assert oracle.accuracy[name] > share + 0.6 * (1 - share), name
    assert oracle.accuracy["none"] < 0.04


def test_the_oracle_names_no_mode_of_what_is_no_phantom(oracle):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (40, 32, 32, 1), np.uint8)
    smooth = ndimage.gaussian_filter(noise.astype(np.float32), (0, 3, 3, 0)).astype(np.uint8)
    black = np.zeros((2, 32, 32, 1), np.uint8)
    assert (audit.of_images(oracle, np.concatenate([noise, smooth, black])) == audit.NONE).all()
    data, mode = modes.dataset(jax.random.key(5), 120, 32, 0.2)
    # As a failed GAN's: right at a glance, chequered when looked at.
    odd = (np.indices((32, 32)).sum(0) % 2 * 70)[..., None]
    chequered = np.clip(data.image + odd - 35, 0, 255).astype(np.uint8)
    assert (audit.of_images(oracle, chequered) == audit.NONE).all()
    found = audit.of_images(oracle, data.image)
    assert found.dtype == np.int32 and (found == mode).mean() > 0.6


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("difficulty", [0.2, 0.5])
def test_the_oracle_is_right(difficulty, optimised):
    """As the benchmark fits it."""
    oracle = audit.fitted(jax.random.key(1), 64, difficulty)
    assert oracle.accuracy.pop("none") < 0.04
    assert oracle.accuracy.pop("mode") > 0.95
    assert min(oracle.accuracy.values()) > 0.97
    # Without the modes of one contrast a third is missing, and no more.
    data, mode = modes.dataset(jax.random.key(2), 3000, 64, difficulty)
    kept = modes.TABLE[mode, 1] != 0
    found = audit.of_images(oracle, data.image[kept])
    label = modes.TABLE[mode[kept], 0]
    assert recall(found, label, np.arange(30))["recall"]["value"] == pytest.approx(2 / 3, abs=0.04)


def test_an_odd_size_is_refused(key):
    with pytest.raises(DataError, match="size is 33: expected an even number"):
        audit.fitted(key, 33)
