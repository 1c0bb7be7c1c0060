"""Arrays of a user's own: what becomes a `Dataset`, and what no training takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

import jaxbrain
from jaxbrain import study, types
from jaxbrain.data import phantom, preprocess
from jaxbrain.errors import DataError
from jaxbrain.study.methods import Generator
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.training import loops, streamed
from jaxbrain.types import Dataset

RANGES = (0.0, 1.0), (-1.0, 1.0), (0, 255), (-1024, 3071), (1e-3, 2e-3)
EVERY = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
LABEL = [0, 1, 1, 0]
FLOATS = (EVERY / 255.0).astype(np.float32)


def plain(num=12, size=16, **fields) -> Dataset:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (num, size, size, 1), np.uint8)
    order = np.arange(num, dtype=np.int32)
    return Dataset(image, order % 2, order)._replace(**fields)


def test_the_package_exports_it():
    assert jaxbrain.Dataset is types.Dataset


@pytest.mark.parametrize("form", ["grey", "channel", "columns", "read_only", "jax", "list"])
def test_bytes_are_kept(form):
    image = {
        "grey": EVERY.copy(),
        "channel": EVERY[..., None].copy(),
        "columns": np.asfortranarray(EVERY),
        "read_only": np.broadcast_to(EVERY, EVERY.shape),
        "jax": jnp.asarray(EVERY),
        "list": list(EVERY),
    }[form]
    for value_range in (None, (0, 255)):
        data = Dataset.from_arrays(image, LABEL, value_range=value_range)
        np.testing.assert_array_equal(data.image, EVERY[..., None], strict=True)
        assert all(type(leaf) is np.ndarray and leaf.flags.c_contiguous for leaf in data)


def test_nothing_is_shared_with_the_caller():
    image, label, group = plain()
    data = Dataset.from_arrays(image, label, group)
    want = jax.tree.map(np.copy, data)
    for leaf in (image, label, group):
        leaf += 1
    for got, kept in zip(data, want, strict=True):
        np.testing.assert_array_equal(got, kept, strict=True)


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_level_comes_back_from_floats(ends, dtype):
    low, high = ends
    floats = (low + EVERY / 255.0 * (high - low)).astype(dtype)
    data = Dataset.from_arrays(floats, LABEL, value_range=ends)
    np.testing.assert_array_equal(data.image, EVERY[..., None], strict=True)


def test_floats_round_to_the_nearest_level():
    one = np.array([[0.0, 1.0], [0.49 / 255, 0.51 / 255]])
    two = np.array([[0.5, 254.49 / 255], [100.0 / 255, 0.25]])
    data = Dataset.from_arrays([one, two], [0, 1], value_range=(0, 1))
    assert data.image[..., 0].tolist() == [[[0, 255], [0, 1]], [[128, 254], [100, 64]]]
    halves = Dataset.from_arrays([[[0.5, 1.5], [2.5, 3.5]]], [0], value_range=(0, 255))
    assert halves.image.ravel().tolist() == [0, 2, 2, 4]


def test_ends_that_a_dtype_rounds_are_inside():
    high = np.float16(0.3)
    assert float(high) > 0.3 + 1e-5
    image = np.array([[[0.0, high], [high, 0.0]]], np.float16)
    got = Dataset.from_arrays(image, [0], value_range=(0, 0.3)).image
    assert got.ravel().tolist() == [0, 255, 255, 0]
    image = np.array([[[-1e-7, 1.0 + 1e-7], [0.0, 1.0]]])
    got = Dataset.from_arrays(image, [0], value_range=(0, 1)).image
    assert got.ravel().tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.uint64, np.int8, bool, list, jnp.int32])
def test_labels_and_groups_become_int32(dtype):
    label = LABEL if dtype is list else np.asarray(LABEL).astype(dtype)
    if dtype is jnp.int32:
        label = jnp.asarray(label)
    data = Dataset.from_arrays(EVERY, label, num_classes=2)
    np.testing.assert_array_equal(data.label, np.int32([0, 1, 1, 0]), strict=True)
    np.testing.assert_array_equal(data.group, np.int32([0, 1, 2, 3]), strict=True)
    group = [7, 7, 2**31 - 1, 0]
    data = Dataset.from_arrays(EVERY, label, np.asarray(group))
    np.testing.assert_array_equal(data.group, np.int32(group), strict=True)


def test_one_class_and_many_are_taken():
    assert Dataset.from_arrays(EVERY, [0] * 4).label.tolist() == [0] * 4
    assert Dataset.from_arrays(EVERY, [0, 9, 2, 9]).label.tolist() == [0, 9, 2, 9]
    assert Dataset.from_arrays(EVERY[:1, :1, :1], [0]).image.shape == (1, 1, 1, 1)


def spoiled(*values):
    image = FLOATS.copy()
    for where, value in zip(((2, 1, 1), (3, 0, 0)), values, strict=False):
        image[where] = value
    return image


@pytest.mark.parametrize(
    "image, options, message",
    [
        (FLOATS, {}, r"image is float32 from 0.0 to 1.0: expected value_range=\(low, high\)"),
        (EVERY.astype(np.int64), {}, "image is int64: expected uint8 .* value_range"),
        (EVERY.astype(np.uint16), {"value_range": (0, 255)}, "image is uint16: expected uint8"),
        (EVERY > 9, {}, "image is bool: expected uint8"),
        (EVERY.astype(np.complex64), {}, "image is complex64: expected uint8"),
        (EVERY.astype(object), {}, "image is object: expected uint8"),
        (EVERY.tolist(), {}, "image is int64: expected uint8"),
        (["a.png", "b.png"], {}, "image is <U5: expected uint8"),
        (jnp.ones((4, 8, 8), jnp.bfloat16), {"value_range": (0, 1)}, "image is bfloat16"),
        ([[[1, 2], [3]]], {}, "image cannot become a NumPy array: expected rows of one length"),
        (EVERY[0], {}, r"image has shape \[8, 8\]: expected \[N, S, S\] or \[N, S, S, 1\]"),
        (EVERY[:, :7], {}, r"image has shape \[4, 7, 8\]: .* square"),
        (EVERY[:0], {}, r"image has shape \[0, 8, 8\]: .* at least one image"),
        (EVERY[:, :0, :0], {}, r"image has shape \[4, 0, 0\]"),
        (np.stack([EVERY] * 3, -1), {}, r"shape \[4, 8, 8, 3\]: .* one grey channel"),
        (EVERY[:, None], {}, r"shape \[4, 1, 8, 8\]"),
        (EVERY[..., None, None], {}, r"shape \[4, 8, 8, 1, 1\]"),
        (spoiled(np.nan, np.inf), {}, "image has 2 NaN or infinite values, the first in image 2"),
        (
            spoiled(1.5, -0.25),
            {"value_range": (0, 1)},
            "image is float32 from -0.25 to 1.5: expected values in value_range, 0 to 1; 2 of 4 "
            "images have others, the first is image 2",
        ),
        (spoiled(1.00001), {"value_range": (0, 1)}, "to 1.00001: .* 1 of 4 .* image 2"),
        (FLOATS, {"value_range": (1, 0)}, r"value_range is \(1, 0\): expected \(low, high\)"),
        (FLOATS, {"value_range": (0.5, 0.5)}, "two finite numbers, low below high"),
        (FLOATS, {"value_range": (0, np.inf)}, r"value_range is \(0, inf\)"),
        (FLOATS, {"value_range": (-1e308, 1e308)}, "value_range is"),
        (FLOATS, {"value_range": (np.nan, 1)}, r"value_range is \(nan, 1\)"),
        (FLOATS, {"value_range": (0, 1, 2)}, r"value_range is \(0, 1, 2\)"),
        (FLOATS, {"value_range": 255}, "value_range is 255: expected"),
        (FLOATS, {"value_range": "01"}, "value_range is '01': expected"),
        (EVERY, {"value_range": (0, 1)}, r"value_range is \(0, 1\) and image is uint8"),
        (EVERY, {"num_classes": 1}, "num_classes is 1: expected a whole number from 2"),
        (EVERY, {"num_classes": 2.0}, "num_classes is 2.0: expected a whole number from 2"),
    ],
)
def test_images_refused(image, options, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(image, LABEL, **options)


@pytest.mark.parametrize(
    "label, num_classes, message",
    [
        ([0.0, 1.0, 1.0, 0.0], None, "label is float64: expected integers"),
        (["no", "yes", "yes", "no"], None, "label is <U3: expected integers"),
        ([0, 1, None, 0], None, "label is object: expected integers"),
        ([[0], [1], [1], [0]], None, r"label has shape \[4, 1\]: expected \[4\], one per image"),
        ([0, 1, 1], None, r"label has shape \[3\]: expected \[4\], one per image"),
        ([0, 1, -1, -2], None, r"label\[2\] is -1: expected 0 to 2147483647; 2 of 4 are outside"),
        ([0, 3, 1, 7], 3, r"label\[1\] is 3: expected 0 to 2; 2 of 4 are outside"),
        (np.array([0, 1, 2**63, 0], np.uint64), None, r"label\[2\] is 9223372036854775808"),
    ],
)
def test_labels_refused(label, num_classes, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(EVERY, label, num_classes=num_classes)


@pytest.mark.parametrize(
    "group, message",
    [
        ([0.0, np.nan, 1.0, 1.0], "group is float64: expected integers"),
        ([True, True, False, False], "group is bool: expected integers"),
        ([1, 2, 3], r"group has shape \[3\]: expected \[4\]"),
        ([5, -1, -1, -1], r"group\[1\] is -1: expected 0 to 2147483647; 3 of 4 are outside"),
        ([0, 1, 2, 2**31], r"group\[3\] is 2147483648"),
    ],
)
def test_groups_refused(group, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(EVERY, LABEL, group)


def test_traced_arrays_are_refused():
    def traced(image):
        return Dataset.from_arrays(image, LABEL).image

    with pytest.raises(DataError, match="image cannot become a NumPy array"):
        jax.jit(traced)(EVERY)


def state_of(cfg, key):
    return jax.eval_shape(lambda: loops.classifier.init(cfg, key, 1))


def entry_points():
    """(what, side of its images, function of (cfg, data, key)) of all that takes images."""
    options = StudyConfig(seeds=1, classifiers=("nn1",), generators=("none",))
    return {
        "train_gan": (32, loops.train_gan),
        "train_classifier": (16, loops.train_classifier),
        "init_classifier": (16, loops.init_classifier),
        "predict": (16, lambda cfg, data, key: loops.predict(cfg, state_of(cfg, key), data)),
        "stream.train_gan": (32, streamed.train_gan),
        "stream.train_classifier": (16, streamed.train_classifier),
        "stream.init_classifier": (16, streamed.init_classifier),
        "stream.predict": (
            16,
            lambda cfg, data, key: streamed.predict(cfg, state_of(cfg, key), data),
        ),
        "resized": (16, lambda cfg, data, key: preprocess.resized(data, 16)),
        "study": (16, lambda cfg, data, key: next(study.study(cfg, data, key, options=options))),
    }


WRONG = {
    "floats": (lambda d: {"image": d.image / np.float32(255)}, "image is float32: expected uint8"),
    "doubles": (lambda d: {"image": d.image / 255.0}, "image is float64: .*from_arrays converts"),
    "integers": (lambda d: {"image": d.image.astype(np.int32)}, "image is int32: expected uint8"),
    "colour": (lambda d: {"image": d.image.repeat(3, 3)}, r", 3\]: expected \[N, (\w+), \1, 1\]"),
    "no channel": (lambda d: {"image": d.image[..., 0]}, r"image has shape \[12, (\d+), \1\]: "),
    "oblong": (lambda d: {"image": d.image[:, 1:]}, "image has shape .* expected"),
    "none": (lambda d: {"image": d.image[:0]}, r"image has shape \[0, .* N at least 1"),
    "float labels": (lambda d: {"label": d.label / 1.0}, "label is float64: expected int32"),
    "few labels": (lambda d: {"label": d.label[1:]}, r"label has shape \[11\]: expected \[12\]"),
    "list": (lambda d: {"label": d.label.tolist()}, "label is a list: expected an array"),
    "few groups": (lambda d: {"group": d.group[:3]}, r"group has shape \[3\]: expected \[12\]"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", entry_points())
def test_no_training_takes_other_arrays(key, name, wrong):
    side, function = entry_points()[name]
    make, message = WRONG[wrong]
    data = plain(size=side)
    data = data._replace(**make(data))
    with pytest.raises(DataError, match=message):
        function(small(), data, key)


@pytest.mark.parametrize("name", ["train_gan", "train_classifier", "init_classifier", "predict"])
def test_refused_under_jit_and_vmap(key, name):
    side, function = entry_points()[name]
    cfg, data = small(), plain(size=side)
    floats = data._replace(image=np.float32(data.image) / np.float32(255))
    with pytest.raises(DataError, match="image is float32: expected uint8"):
        jax.jit(function, static_argnums=0)(cfg, floats, key)
    lanes = jax.tree.map(lambda leaf: np.stack([leaf] * 2), floats)
    with pytest.raises(DataError, match="image is float32: expected uint8"):
        jax.vmap(lambda data: function(cfg, data, key))(lanes)


def test_the_cast_of_a_step_takes_bytes_alone(key):
    for dtype in (np.float32, np.int32, bool):
        with pytest.raises(DataError, match=f"image is {np.dtype(dtype)}: expected uint8"):
            jax.jit(preprocess.to_float, static_argnums=1)(np.ones((2, 8, 8, 1), dtype), 1)


@pytest.mark.parametrize("name", sorted(set(entry_points()) - {"resized", "study"}))
def test_images_of_another_side_are_refused(key, name):
    side, function = entry_points()[name]
    with pytest.raises(DataError, match=rf"shape \[12, 20, 20, 1\]: expected \[N, {side}, {side}"):
        function(small(), plain(size=20), key)


@pytest.mark.parametrize(
    "name", ["train_gan", "train_classifier", "stream.train_gan", "stream.train_classifier"]
)
def test_labels_of_numpy_are_held_to_the_classes(key, name):
    side, function = entry_points()[name]
    label = np.int32([0, 1] * 5 + [2, -1])
    with pytest.raises(DataError, match=r"label\[10\] is 2: expected 0 to 1; 2 of 12 are"):
        function(small(), plain(size=side, label=label), key)


def test_a_study_has_the_classes_0_and_1(key):
    _, function = entry_points()["study"]
    data, _ = phantom.folder(change(small(), "data", n_per_class=6).data, 32)
    shifted = data._replace(label=np.asarray(data.label) + np.int32(1))
    with pytest.raises(DataError, match=r"label\[6\] is 2: expected 0 to 1; 6 of 12 are outside"):
        function(small(), shifted, key)


@pytest.mark.parametrize("dtype", [np.float32, bool])
def test_a_pool_takes_synthetic_bytes_alone(key, dtype):
    def fit_sample(cfg, train, label, key):
        return train.image[:1].repeat(len(label), 0).astype(dtype)

    options = StudyConfig(seeds=1, protocols=("P0",), classifiers=("ridge",), shuffled=False)
    made = Generator("made", fit_sample)
    message = rf"generator made returned {np.dtype(dtype)} \[12, 16, 16, 1\]: expected uint8 \[12"
    with pytest.raises(DataError, match=message):
        next(study.study(small(), plain(), key, options=options, generators=[made]))


def test_labels_of_every_integer_dtype_train_alike(key):
    cfg = change(small(), "classifier", mode="cnn", epochs=1)
    data = plain()
    want, _ = streamed.train_classifier(cfg, data, key)
    got, _ = streamed.train_classifier(cfg, data._replace(label=np.uint8(data.label)), key)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    for name in ("train_gan", "train_classifier"):
        side, function = entry_points()[name]
        data = plain(size=side)
        data = data._replace(label=np.int8(data.label), group=np.uint16(data.group))
        run = jax.eval_shape(lambda data, f=function: f(cfg, data, key), data)
        assert run[0].step.shape == ()


@pytest.mark.parametrize("wrong", [11, 13, 1])
def test_weights_are_one_per_image(key, wrong):
    cfg, data = change(small(), "data", normalise="minmax"), plain()
    weight = np.ones(wrong, np.float32)
    match = rf"weight has shape \[{wrong}\]: expected \[12\]"
    state = loops.init_classifier(cfg, data, key)
    for module in (loops, streamed):
        for how in ({}, {"state": state}):
            with pytest.raises(DataError, match=match):
                module.train_classifier(cfg, data, key, weight=weight, **how)
        with pytest.raises(DataError, match=match):
            module.init_classifier(cfg, data, key, weight)
