"""Copies: pairs, groups, mirrored pairs, and what is planted in phantoms."""

import numpy as np
import pytest

from jaxbrain import load_folder
from jaxbrain.config import DataConfig
from jaxbrain.data import duplicates, phantom, preprocess


def test_thumbnails_are_correlations():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 32, 32)).astype(np.float32)
    unit = duplicates.thumbnails(images)
    np.testing.assert_allclose(unit @ unit.T, np.corrcoef(images.reshape(6, -1)), atol=1e-12)


def test_groups_are_transitive_and_constant_images_alone():
    rng = np.random.default_rng(0)
    base, far = rng.normal(size=(2, 32, 32)).astype(np.float32)
    flat = np.zeros((32, 32), np.float32)
    images = np.stack([base, base + 0.15 * far, base + 0.3 * far, far, flat, flat])
    near = duplicates.thumbnails(images)
    assert near[0] @ near[2] < 0.98 < near[0] @ near[1]
    names = list("abcdef")
    assert duplicates.groups(images, names).tolist() == [0, 0, 0, 1, 2, 3]
    # Of the same pixels, though they correlate with nothing.
    assert duplicates.groups(images, list("abcdee")).tolist() == [0, 0, 0, 1, 2, 2]
    assert len(set(duplicates.groups(images, names, 0.999).tolist())) == 6


def test_audit_reports_each_kind_of_pair():
    rng = np.random.default_rng(1)
    base, other, third = rng.normal(size=(3, 32, 32)).astype(np.float32)
    images = np.stack([base, other, 2 * base + 1, base[:, ::-1], third, third])
    label = np.int32([0, 0, 1, 1, 1, 1])
    found = duplicates.audit(images, label, ["a", "b", "c", "d", "e", "e"])
    assert found.identical.tolist() == [[4, 5]]
    assert found.near.tolist() == [[0, 2], [4, 5]]
    assert found.flipped.tolist() == [[0, 3], [2, 3]] and found.flipped_apart() == 2
    assert found.across.tolist() == [[0, 2]]
    assert found.group.tolist() == [0, 1, 0, 2, 3, 3]
    assert found.counts(label, ("no", "yes")) == {"total": 4, "no": 2, "yes": 3}


def test_many_equal_pictures_are_few_pairs():
    """As black slices are, which correlate with nothing: N - 1 pairs, not N^2 / 2."""
    count = 3000
    images = np.zeros((count, 32, 32), np.float32)
    digest = ["other", *["black"] * (count - 1)]
    assert duplicates.groups(images, digest).tolist() == [0, *[1] * (count - 1)]
    found = duplicates.audit(images, np.zeros(count, np.int32), digest)
    assert found.identical.tolist() == [[1, i] for i in range(2, count)]
    assert len(found.near) == 0 and found.group.tolist() == [0, *[1] * (count - 1)]


def test_blocks_of_rows_change_nothing(monkeypatch):
    images = np.random.default_rng(2).normal(size=(9, 32, 32)).astype(np.float32)
    images[7] = images[1]
    images[8] = images[4]
    names = list("abcdefghi")
    whole = duplicates.audit(images, np.zeros(9, np.int32), names)
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    parts = duplicates.audit(images, np.zeros(9, np.int32), names)
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, two)
    assert whole.near.tolist() == [[1, 7], [4, 8]]


def test_every_planted_twin_is_found_and_nothing_else():
    cfg = DataConfig(n_per_class=40, difficulty=0.8, twins=0.3)
    data, records = phantom.folder(cfg, 32)
    assert len(set(data.group.tolist())) == 80 - 2 * 12
    assert np.bincount(data.label).tolist() == [40, 40]
    found = duplicates.audit(records.small, data.label, records.digest)
    same = data.group[:, None] == data.group[None]
    np.testing.assert_array_equal(found.group[:, None] == found.group[None], same)
    # By turns exact and altered copies.
    assert len(found.identical) == 2 * 6
    without, _ = phantom.folder(DataConfig(n_per_class=40, difficulty=0.8), 32)
    kept = np.flatnonzero(np.arange(80) % 40 < 28)
    np.testing.assert_array_equal(data.image[kept], np.asarray(without.image)[kept])


def test_the_kaggle_images(kaggle):
    """228 distinct files; 209 groups of whole files, 133 yes and 76 no, none across; ten
    fewer with head crops, all of yes."""
    data, records = load_folder(kaggle, image_size=16)
    assert len(set(records.digest)) == 228
    found = duplicates.audit(records.small, data.label, records.digest)
    assert found.counts(data.label, records.class_names) == {"total": 209, "no": 76, "yes": 133}
    assert (len(found.near), len(found.across), len(found.flipped)) == (60, 0, 2)
    names = records.class_names
    found = duplicates.audit(
        records.small, data.label, records.digest, small_heads=records.small_head
    )
    assert found.counts(data.label, names) == {"total": 199, "no": 76, "yes": 123}
    assert [one.pairs for one in found.searches] == [60, 64] and len(found.near) == 77
    assert len(found.across) == 0
    assert 0.95 < found.searches[0].next < 0.96 and 0.88 < found.searches[1].next < 0.90
    looser = duplicates.audit(records.small, data.label, records.digest, 0.95)
    assert (looser.counts(data.label, ("no", "yes"))["total"], len(looser.near)) == (205, 71)


def head_picture(seed: int, size=(120, 100), box=(20, 30, 100, 80)) -> np.ndarray:
    """A textured ellipse, the same for one seed, in a black frame."""
    top, left, bottom, right = box
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.uniform(0.5, 1, (6, 6)), np.ones((20, 20)))
    y, x = np.mgrid[-1 : 1 : (bottom - top) * 1j, -1 : 1 : (right - left) * 1j]
    places = ((y + 1) / 2.001 * 120).astype(int), ((x + 1) / 2.001 * 120).astype(int)
    picture = np.zeros(size, np.float32)
    picture[top:bottom, left:right] = np.where(y**2 + x**2 < 1, texture[places], 0)
    return picture


def test_one_head_in_two_frames_is_a_pair():
    frames = [head_picture(1), head_picture(1, (200, 180), (100, 20, 180, 70)), head_picture(2)]
    whole = np.stack([duplicates.small(one) for one in frames])
    heads = np.stack([duplicates.small_head(one) for one in frames])
    label, digest = np.array([1, 1, 0]), list("abc")
    found = duplicates.audit(whole, label, digest)
    assert len(found.near) == 0 and [one.images for one in found.searches] == ["whole files"]
    found = duplicates.audit(whole, label, digest, small_heads=heads)
    assert found.near.tolist() == [[0, 1]] and found.group.tolist() == [0, 0, 1]
    files, crops = found.searches
    assert (files.images, files.threshold, files.pairs) == ("whole files", 0.98, 0)
    assert (crops.images, crops.threshold, crops.pairs) == ("head crops", 0.98, 1)
    unit = duplicates.thumbnails(heads)
    assert crops.distance == "correlation of 32 x 32 thumbnails"
    np.testing.assert_allclose(crops.next, max(unit[2] @ unit[0], unit[2] @ unit[1]))
    assert crops.next < 0.9
    groups = duplicates.groups(whole, digest, 0.98, (), heads)
    assert groups.tolist() == [0, 0, 1]
    assert duplicates.groups(whole, digest, 0.98).tolist() == [0, 1, 2]


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_head_in_a_border_of_any_grey(grey):
    one = head_picture(1, (120, 100), (10, 10, 110, 90))
    other = np.pad(one, ((200, 150), (40, 220)), constant_values=grey)
    assert preprocess.without_border(other).shape[0] <= 120
    heads = np.stack([duplicates.small_head(picture) for picture in (one, other)])
    unit = duplicates.thumbnails(heads)
    assert unit[0] @ unit[1] > 0.98
    plain = np.full((30, 30), grey, np.float32)
    np.testing.assert_array_equal(preprocess.without_border(plain), plain)


def test_a_spot_is_no_head():
    """Without a head the largest spot is small, and all such spots look alike."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(4):
        one = rng.uniform(0, 0.2, (60, 60)).astype(np.float32)
        y, x = rng.integers(0, 55, 2)
        one[y : y + 3, x : x + 3] = 1.0
        pictures.append(one)
    whole = np.stack([duplicates.small(one) for one in pictures])
    heads = np.stack([duplicates.small_head(one) for one in pictures])
    np.testing.assert_array_equal(whole, heads)


def test_next_in_blocks(monkeypatch):
    """The largest correlation of two images of different patients."""
    images = np.random.default_rng(0).normal(size=(9, 8, 8))
    unit = duplicates.thumbnails(images)
    who = [0, 0, 1, 1, 2, 3, 4, 4, 5]

    def found(patient):
        return duplicates.audit(images, np.zeros(9), list("abcdefghi"), patient=patient)

    want = max(unit[i] @ unit[j] for i in range(9) for j in range(9) if who[i] != who[j])
    for block in (1024, 4):
        monkeypatch.setattr(duplicates, "BLOCK", block)
        np.testing.assert_allclose(found(who).searches[0].next, want)
    assert found([0] * 9).searches[0].next is None
