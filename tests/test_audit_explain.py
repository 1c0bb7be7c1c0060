"""Maps of what an answer rests on, held to plain forms and to planted truths."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change

from jaxbrain import config
from jaxbrain.audit import explain
from jaxbrain.data.preprocess import to_float
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.cnn_lstm import CNN
from jaxbrain.training import classifier


def tiny(**cnn) -> config.Config:
    """A CNN and its softmax alone, of two convolutions that keep the image's size."""
    base = config.paper()
    data = dataclasses.replace(base.data, image_size=16, channels=1, normalise="minmax")
    classifying = dataclasses.replace(base.classifier, mode="cnn")
    fields = {"filters": (2, 3), "features": 4, "pool_stride": 1} | cnn
    return dataclasses.replace(
        base, data=data, classifier=classifying, cnn=config.CNNConfig(**fields)
    )


# Alone, each of its operations would be compiled by itself.
init = jax.jit(classifier.init, static_argnums=0)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1), np.uint8)


def test_grad_cam_is_that_of_plain_arithmetic(image):
    """After the last activations A come two FC layers without a kink, so that the slope of a
    logit is the product of their weights: mean over places, sum over filters, ReLU, in NumPy."""
    cfg = tiny()
    state = init(cfg, jax.random.key(0))
    target = np.int32([0, 1, 1])
    found = explain.grad_cam(cfg, state, image, target)
    assert found.shape == (3, 16, 16) and found.dtype == np.float32
    params = {"params": state.cnn.params}
    seen = classifier.normalise(cfg, state, to_float(image, 1))
    a = np.float64(jax.jit(lambda x: CNN(cfg).apply(params, x, method="map"))(seen))
    assert a.shape == (3, 16, 16, 3) and a.max() > 0
    first, last = (np.float64(state.cnn.params[name]["kernel"]) for name in ("fc", "fc_out"))
    slope = (first @ last).T.reshape(2, 16, 16, 3)[target]
    wanted = np.maximum(np.einsum("nf,nrcf->nrc", slope.mean(axis=(1, 2)), a), 0)
    most = wanted.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, wanted / np.where(most > 0, most, 1), atol=1e-5)
    assert (most > 0).any() and 0 <= found.min() <= found.max() == 1
    other = explain.grad_cam(cfg, state, image, 1 - target)
    # What speaks for one class is not what speaks for the other.
    assert np.abs(found - other).max() > 0.1


def test_grad_cam_points_at_what_the_logit_reads(image):
    """Of known weights: one filter that copies the image, and a head that adds it up."""
    cfg = tiny(filters=(1, 1), pool_size=1, features=1)
    state = init(cfg, jax.random.key(0))
    params = jax.tree.map(jnp.zeros_like, state.cnn.params)
    for name in ("conv1", "conv2"):
        size = params[name]["kernel"].shape[0]
        params[name]["kernel"] = params[name]["kernel"].at[size // 2, size // 2].set(1.0)
    params["fc"]["kernel"] += 1.0
    params["fc_out"]["kernel"] = jnp.asarray([[0.0, 1.0]])
    state = state._replace(cnn=state.cnn._replace(params=params))
    grey = np.float64(image[..., 0])
    low, high = (f(grey, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    bright = np.maximum((grey - low) / (high - low) * 2 - 1, 0)
    found = explain.grad_cam(cfg, state, image, np.int32([1, 1, 1]))
    np.testing.assert_allclose(found, bright / bright.max(axis=(1, 2), keepdims=True), atol=1e-5)
    # Nothing speaks for the other class.
    assert explain.grad_cam(cfg, state, image, np.int32([0, 0, 0])).max() == 0


def test_a_map_does_not_depend_on_its_batch(image):
    """Folded networks, whose parts a CPU computes one by one, too."""
    cfg = change(tiny(filters=(4, 4), norm="group", mirror=True), "data", image_size=16)
    state = init(cfg, jax.random.key(1))
    target = np.int32([0, 1, 0])
    both = [
        lambda x, t: explain.grad_cam(cfg, state, x, t),
        lambda x, t: explain.difference(cfg, state, x),
    ]
    for function in both:
        together = function(image, target)
        for i in range(3):
            alone = function(image[i : i + 1], target[i : i + 1])
            np.testing.assert_allclose(alone[0], together[i], atol=1e-5)
    # The network sees no more in a mirrored image than in the image, mirrored.
    flat = explain.difference(cfg, state, image)
    np.testing.assert_allclose(
        explain.difference(cfg, state, image[:, :, ::-1]), flat[:, :, ::-1], atol=1e-5
    )
    assert 0 <= flat.min() and 0.05 < flat.max() <= 1


def test_a_symmetric_image_has_no_difference(image):
    cfg = tiny(filters=(4, 4), norm="group", mirror=True)
    state = init(cfg, jax.random.key(1))
    halves = np.concatenate([image[:, :, :8], image[:, :, :8][:, :, ::-1]], axis=2)
    assert np.abs(explain.difference(cfg, state, halves)).max() < 1e-5
    with pytest.raises(ConfigError, match=r"cnn\.mirror is False"):
        explain.difference(tiny(), state, image)


def corner(image):
    """A model that looks at one square of four pixels a side, and nowhere else."""
    bright = image[:, 4:8, 8:12, 0].mean(axis=(1, 2)) / 255.0
    return np.stack([1 - bright, bright], axis=1)


def test_occlusion_finds_the_planted_square():
    image = np.full((2, 16, 16, 1), 10, np.uint8)
    image[:, 4:8, 8:12] = 250
    found = explain.occlusion(corner, image, np.int32([1, 0]), patch=4, stride=2)
    inside = np.zeros((16, 16), bool)
    inside[4:8, 8:12] = True
    assert found.dtype == np.float32 and found[0][inside].min() > 0.1
    # Squares that touch it reach three pixels further at most.
    near = np.zeros((16, 16), bool)
    near[1:11, 5:15] = True
    assert np.abs(found[:, ~near]).max() == 0
    peak = np.unravel_index(found[0].argmax(), (16, 16))
    assert inside[peak]
    np.testing.assert_allclose(found[1], -found[0], atol=1e-6)
    # The square alone: what is left of it is the image's mean grey.
    alone = explain.occlusion(corner, image[:1], np.int32([1]), patch=4, stride=4)
    grey = np.round(image[0].mean())
    assert alone[0, 5, 9] == pytest.approx((250 - grey) / 255, abs=1e-6)
    assert alone[0, 0, 0] == 0 and -1 <= alone.min() <= alone.max() <= 1


def test_what_is_refused(image):
    with pytest.raises(ConfigError, match="patch is 17 and stride 8"):
        explain.occlusion(corner, image, np.int32([0, 0, 0]), patch=17)
    with pytest.raises(ConfigError, match="patch is 4 and stride 5"):
        explain.occlusion(corner, image, np.int32([0, 0, 0]), patch=4, stride=5)
    cfg = tiny()
    state = init(cfg, jax.random.key(0))
    with pytest.raises(DataError, match=r"target\[0\] is 2: expected 0 to 1"):
        explain.grad_cam(cfg, state, image[:1], np.int32([2]))
    with pytest.raises(DataError, match="image is float32: expected uint8"):
        explain.grad_cam(cfg, state, np.float32(image), np.int32([0, 0, 0]))
