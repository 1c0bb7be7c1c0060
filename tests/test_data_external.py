"""Another source's images: classes matched, copies taken out, groups kept apart."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxbrain import phantom
from jaxbrain.data import duplicates, external
from jaxbrain.data.records import from_arrays, joined, some
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset


def source(seed, count=6, size=48):
    data = phantom.dataset(jax.random.key(seed), count, size, 0.5)
    data = Dataset(*map(np.asarray, data))
    return data, from_arrays(data, ("no", "yes"), f"source {seed}")


def with_images(data, records, image, label):
    """A source of the given images behind its own."""
    both = Dataset(
        np.concatenate([data.image, image]),
        np.concatenate([data.label, label]).astype(np.int32),
        np.arange(len(data.label) + len(label), dtype=np.int32),
    )
    return both, from_arrays(both, ("no", "yes"), records.root)


def test_exactly_the_copies_are_taken_out():
    data, records = source(0)
    noise = np.random.default_rng(1).integers(-6, 7, data.image[[1, 8]].shape)
    near = np.clip(data.image[[1, 8]] + noise, 0, 255).astype(np.uint8)
    exact = data.image[[3]]
    image, label = np.concatenate([near, exact]), data.label[[1, 8, 3]]
    other, other_records = with_images(*source(7), image, label)
    found = external.prepared(data, records, other, other_records)
    count = len(other.label)
    assert [row.tested for row in found.rows] == [1] * (count - 3) + [0] * 3
    assert [row.copy_of for row in found.rows[-3:]] == [records.path[i] for i in (1, 8, 3)]
    assert found.rows[-1].value == 1.0
    assert all(row.value < 0.98 and row.copy_of == "" for row in found.rows[:-3])
    np.testing.assert_array_equal(found.data.image, other.image[:-3])
    np.testing.assert_array_equal(found.data.label, other.label[:-3])
    assert found.records.path == tuple("external:" + path for path in other_records.path[:-3])
    said = found.summary()
    assert (said["taken_out"], said["copies"]) == (3, 3)
    assert sum(said["tested"].values()) == count - 3
    assert "3 are copies of the data's; with what shares" in external.describe(found)[0]
    assert said["nearest"] == max(row.value for row in found.rows[:-3]) < 0.98


def test_mirrored_copies_are_copies():
    """To a method that compares mirror places they are the same image."""
    data, records = source(0)
    other, other_records = with_images(*source(7), data.image[[4]][:, :, ::-1], data.label[[4]])
    found = external.prepared(data, records, other, other_records)
    assert [row.copy_of for row in found.rows if row.copy_of] == [records.path[4]]
    assert found.rows[-1].tested == 0 and found.rows[-1].value > 0.999


def test_what_shares_a_group_with_a_copy_goes_with_it():
    data, records = source(0)
    other, other_records = with_images(*source(7), data.image[[2]], data.label[[2]])
    patient = [-1] * len(other.label)
    patient[0] = patient[-1] = 5
    other_records = dataclasses.replace(other_records, patient=tuple(patient))
    found = external.prepared(data, records, other, other_records)
    assert [i for i, row in enumerate(found.rows) if not row.tested] == [0, len(patient) - 1]
    assert found.rows[0].copy_of == "" and found.summary()["taken_out"] == 2
    assert len(np.unique(found.data.group)) == len(found.data.group)


def test_a_copy_in_another_frame_is_found_by_its_head():
    data, records = source(0, size=128)
    framed = np.zeros((1, 128, 128, 1), np.uint8)
    picture = jax.image.resize(np.float32(data.image[4, ..., 0]) / 255, (80, 80), "linear")
    framed[0, 4:84, 14:94, 0] = np.round(255 * np.asarray(picture))
    other, other_records = with_images(*source(7, size=128), framed, data.label[[4]])
    found = external.prepared(data, records, other, other_records)
    assert found.rows[-1].copy_of == records.path[4] and found.rows[-1].tested == 0


def test_nothing_left_is_refused():
    data, records = source(0)
    with pytest.raises(DataError, match="nothing is left to test on: 12 of 12 images are copies"):
        external.prepared(data, records, data, records)
    # One id that covers everything is named.
    other, theirs = with_images(*source(7), data.image[:1], data.label[:1])
    covers = "one id (patient_0) covers all 13 files: --patients ignore"
    theirs = dataclasses.replace(theirs, patient=(3,) * 13, warnings=(covers,), notes=(covers,))
    with pytest.raises(DataError, match="1 of 13 images are copies.*--patients ignore"):
        external.prepared(data, records, other, theirs)


def test_classes_are_matched_by_name_or_mapping():
    matched = external.matched
    assert matched(["Glioma", "no"], ["no", "glioma"]) == {"Glioma": "glioma", "no": "no"}
    four = ["glioma", "meningioma", "no", "pituitary"]
    tumours = [f"{name}=yes" for name in four if name != "no"]
    assert matched(four, ["no", "yes"], tumours) == dict.fromkeys(four, "yes") | {"no": "no"}
    # A folder named healthy is read as no.
    assert matched(["no", "gbm"], ["no", "yes"], ["healthy=normal", "gbm=tumor"])["gbm"] == "yes"
    for found, mapping, message in (
        (["a", "no"], [], "no class a in the data .*--map a=NAME"),
        (["a", "no"], ["a"], "map has 'a': expected old=new"),
        (["a", "no"], ["b=yes"], "map has 'b=yes'.*old one of a, no"),
        (["a", "no"], ["a=other"], "map has 'a=other'.*new one of no, yes"),
        (["a", "no"], ["a=yes", "a=no"], "each old once"),
    ):
        with pytest.raises(ConfigError, match=message):
            matched(found, ["no", "yes"], mapping)


def test_labels_follow_the_mapping():
    data, records = source(0)
    other, other_records = source(7)
    swapped = dataclasses.replace(other_records, class_names=("ill", "fine"))
    found = external.prepared(data, records, other, swapped, ["ill=yes", "fine=no"])
    np.testing.assert_array_equal(found.data.label, 1 - other.label)
    assert found.summary()["classes"] == {"ill": "yes", "fine": "no"}


def test_nearest_against_a_loop(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    rng = np.random.default_rng(0)
    one, two = (duplicates.thumbnails(rng.random((n, 32, 32))) for n in (10, 7))
    value, index = duplicates.nearest(one, two)
    for i in range(10):
        products = [float(one[i] @ row) for row in two]
        assert index[i] == int(np.argmax(products))
        assert abs(value[i] - max(products)) < 1e-12


def test_records_of_some_and_of_both():
    _, one = source(0)
    _, two = source(7)
    both = joined(one, two)
    assert both.path == one.path + two.path and both.root == one.root
    np.testing.assert_array_equal(both.small_head[12:], two.small_head)
    again = some(both, np.arange(12, 24))
    assert again.digest == two.digest and again.size == two.size
    np.testing.assert_array_equal(again.small, two.small)
