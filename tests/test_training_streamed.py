"""Trainings with images on the host give the bits of those with images on the device."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, command, small
from test_training_loops import TRAIN_CLASSIFIER, TRAIN_GAN, images

from jaxbrain.errors import ConfigError
from jaxbrain.training import loops, streamed


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Several blocks in a training of a few steps, the last of them not full."""
    monkeypatch.setattr(streamed, "_BLOCK", 4)
    monkeypatch.setattr(streamed, "_IMAGES", 5)


def on_host(data):
    return jax.tree.map(np.asarray, data)


def merged(parts):
    return np.where(np.isnan(parts[0]), parts[1], parts[0])


def test_gan_equals_resident(key):
    cfg, data = small(), images(20, 32)
    want, history = TRAIN_GAN(cfg, data, key)
    state, first = streamed.train_gan(cfg, on_host(data), key, stop=3)
    state, rest = streamed.train_gan(cfg, on_host(data), key, state=state)
    chex.assert_trees_all_equal(state, want)
    for name, values in history.metrics.items():
        np.testing.assert_array_equal(merged([first.metrics[name], rest.metrics[name]]), values)


@pytest.mark.parametrize("mode", ["two_stage", pytest.param("end_to_end", marks=pytest.mark.slow)])
def test_classifier_equals_resident(key, mode, tmp_path):
    """From a memory map, with weights, padded batches and balanced classes."""
    cfg = change(small(), "hybrid", standardise=mode == "two_stage")
    cfg = change(cfg, "classifier", mode=mode, partial="pad", class_weight="balanced")
    data = images(13, 16)
    weight = jnp.ones((13,)).at[2].set(0.0).at[5].set(0.5)
    want, history = TRAIN_CLASSIFIER(cfg, data, key, weight=weight)
    np.save(tmp_path / "image.npy", data.image)
    mapped = on_host(data)._replace(image=np.load(tmp_path / "image.npy", mmap_mode="r"))
    one, _ = loops.classifier_steps(cfg, 13)
    state, first = streamed.train_classifier(cfg, mapped, key, weight=weight, stop=one - 1)
    state, rest = streamed.train_classifier(cfg, mapped, key, weight=weight, state=state)
    chex.assert_trees_all_close(state, want, rtol=1e-6, atol=1e-6)
    loss = merged([first.metrics["loss"], rest.metrics["loss"]])
    np.testing.assert_allclose(loss, history.metrics["loss"], rtol=1e-6)
    got = streamed.predict(cfg, state, mapped)
    resident = jax.jit(loops.predict, static_argnums=0)(cfg, want, data)
    np.testing.assert_allclose(got, resident, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_lr_scale_of_a_gan_equals_resident(key):
    cfg, data = small(), images(20, 32)
    want, _ = TRAIN_GAN(cfg, data, key, lr_scale=0.5, stop=3)
    got, _ = streamed.train_gan(cfg, on_host(data), key, lr_scale=0.5, stop=3)
    chex.assert_trees_all_equal(got, want)


def test_lr_scale_of_a_classifier_equals_resident(key):
    cfg, data = change(small(), "classifier", mode="cnn"), images(13, 16)
    want, _ = TRAIN_CLASSIFIER(cfg, data, key, lr_scale=0.5)
    got, _ = streamed.train_classifier(cfg, on_host(data), key, lr_scale=0.5)
    chex.assert_trees_all_close(got, want, rtol=1e-6, atol=1e-6)


def test_image_mean_is_exact(key):
    cfg, data = small(), images(13, 16)
    weight = jnp.ones((13,)).at[3].set(0.0)
    want = jax.jit(loops.init_classifier, static_argnums=0)(cfg, data, key, weight)
    got = streamed.init_classifier(cfg, on_host(data), key, weight)
    chex.assert_trees_all_equal(got, want)


def test_refusals_are_those_of_the_resident_path(key):
    with pytest.raises(ConfigError, match="gan.batch_size is 8: expected at most 5"):
        streamed.train_gan(small(), on_host(images(5, 32)), key)


def test_a_reader_that_fails_is_heard(key):
    """An error in the thread that reads images ends the training."""

    class Broken(np.ndarray):
        def __getitem__(self, rows):
            raise OSError("disk went away")

    data = on_host(images(20, 32))
    data = data._replace(image=data.image.view(Broken))
    with pytest.raises(OSError, match="disk went away"):
        streamed.train_gan(small(), data, key)


def test_small_data_fit(key):
    assert streamed.fits(images(5, 32))


@pytest.mark.slow
def test_run_on_the_host_equals_run_on_the_device(tmp_path):
    command(workdir=tmp_path / "device")
    command("--data.placement", "host", workdir=tmp_path / "host")
    for name in ("predictions.csv", "results.json"):
        assert (tmp_path / "host" / name).read_bytes() == (tmp_path / "device" / name).read_bytes()
    seconds = json.loads((tmp_path / "device" / "env.json").read_text())["seconds"]
    assert seconds["gan_first_chunk"] <= seconds["gan_train"]
    with pytest.raises(ConfigError, match=r"data.placement is 'host'.*expected device"):
        command("--data.placement", "host", "--parallel", "pmap", workdir=tmp_path / "both")
    assert not (tmp_path / "both").exists()
