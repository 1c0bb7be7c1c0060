"""Matrices equal the hand-computed ones of their papers, scikit-image's and plain loops;
statistics equal IBSI's reference values."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxbrain.baselines import radiomics, texture
from jaxbrain.errors import ConfigError

skimage = pytest.importorskip("skimage.feature", reason="needs jaxbrain[baselines]")

# IBSI's digital phantom, slice by slice; 0 is outside the region.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    np.int32,
)
# Its reference values, by slice and averaged (2D, averaged over directions), three digits.
IBSI = {
    "first_order": "2.15 3.05 1.08 -0.355 1 1 1 4 6 3 5 1.55 1.11 1.15 0.812 0.6 567 2.77",
    "glcm": "0.519 2.14 2.69 2.05 1.42 2.9 1.4 4.28 5.47 1.6 0.368 5.28 1.42 0.678 0.851 0.619 "
    "0.899 0.0567 -0.0121 5.09 5.47 7 79.1 -0.155 0.487",
    "glrlm": "0.641 3.78 0.604 9.82 0.294 8.57 3.14 17.4 5.2 0.46 6.12 0.492 0.627 3.35 0.761 2.17",
    "glszm": "0.363 43.9 0.371 16.4 0.0259 10.3 40.4 113 1.41 0.323 1.49 0.333 0.24 3.97 21 1.93",
    "ngtdm": "0.121 0.925 2.99 10.4 2.88",
}


def runs(levels):
    return np.stack([radiomics.sizes(texture.glrlm(levels, a)) for a in texture.ANGLES], 1)


@pytest.mark.parametrize("family", IBSI)
def test_ibsi_digital_phantom(family):
    """To the three digits that are published.

    References:
        Zwanenburg et al., "The image biomarker standardization initiative", 2020 (phantom
        and values: CC BY 4.0).
    """
    whole = PHANTOM.reshape(1, 16, 5)
    names, got = {
        "first_order": (
            radiomics.FIRST_ORDER,
            radiomics.first_order(whole, whole > 0)[0],
        ),
        "glcm": (
            radiomics.GLCM,
            radiomics.glcm(texture.glcm(PHANTOM, 6)[:, 0]).mean(axis=(0, 1)),
        ),
        "glrlm": (radiomics.SIZES, runs(PHANTOM).mean(axis=(0, 1))),
        "glszm": (radiomics.SIZES, radiomics.sizes(texture.glszm(PHANTOM)).mean(axis=0)),
        "ngtdm": (radiomics.NGTDM, radiomics.ngtdm(*texture.ngtdm(PHANTOM, 6)).mean(axis=0)),
    }[family]
    for name, value, want in zip(names, got, IBSI[family].split(), strict=True):
        assert float(f"{value:.3g}") == float(want), name


def random_levels(num_levels=5, shape=(3, 13, 17), seed=0, hole=True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, num_levels + 1, shape).astype(np.int32)
    # Smooth a little, or every run has length 1.
    levels[:, 1:] = np.where(rng.random(levels[:, 1:].shape) < 0.5, levels[:, :-1], levels[:, 1:])
    if hole:
        levels[rng.random(shape) < 0.1] = 0
    return levels


def test_glcm_equals_scikit_image():
    levels = random_levels(hole=False)
    for distances in ((1,), (1, 2, 3, 4, 5)):
        got = texture.glcm(levels, 5, distances)
        for one, found in zip(levels, got, strict=True):
            want = skimage.graycomatrix(
                np.uint8(one - 1), distances, texture.ANGLES, levels=5, symmetric=True
            )
            np.testing.assert_array_equal(found, want.transpose(2, 3, 0, 1))


STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1))


def test_pairs_that_leave_the_region_do_not_count():
    levels = random_levels()
    want = np.zeros((len(levels), 4, 5, 5))
    _, height, width = levels.shape
    for n, r, c in np.ndindex(levels.shape):
        # scikit-image's angles turn the other way: its rows point down.
        for angle, (up, right) in enumerate(STEPS):
            i, j = r - up, c + right
            if 0 <= i < height and 0 <= j < width and levels[n, r, c] and levels[n, i, j]:
                a, b = levels[n, r, c] - 1, levels[n, i, j] - 1
                want[n, angle, a, b] += 1
                want[n, angle, b, a] += 1
    np.testing.assert_array_equal(texture.glcm(levels, 5)[:, 0], want)


def test_glrlm_of_galloways_example():
    image = np.array([[[0, 1, 2, 3], [0, 2, 3, 3], [2, 1, 1, 1], [3, 0, 3, 0]]]) + 1
    want = {
        0: [[4, 0, 0, 0], [1, 0, 1, 0], [3, 0, 0, 0], [3, 1, 0, 0]],
        1: [[4, 0, 0, 0], [4, 0, 0, 0], [0, 0, 1, 0], [3, 1, 0, 0]],
    }
    for angle, matrix in want.items():
        cells = texture.glrlm(image, texture.ANGLES[angle])
        np.testing.assert_array_equal(texture.dense(cells, 4, 4)[0], matrix)
        assert cells.pixels.tolist() == [16]


def walked(levels: np.ndarray, down: int, right: int) -> np.ndarray:
    """Runs counted pixel by pixel."""
    height, width = levels.shape
    matrix = np.zeros((5, 20), np.int64)

    def at(r, c):
        return levels[r, c] if 0 <= r < height and 0 <= c < width else 0

    for r, c in np.ndindex(levels.shape):
        if levels[r, c] and at(r - down, c - right) != levels[r, c]:
            length = 1
            while at(r + length * down, c + length * right) == levels[r, c]:
                length += 1
            matrix[levels[r, c] - 1, length - 1] += 1
    return matrix


@pytest.mark.parametrize("angle", range(4))
def test_glrlm_equals_walking(angle):
    levels = random_levels()
    got = texture.dense(texture.glrlm(levels, texture.ANGLES[angle]), 5, 20)
    for one, matrix in zip(levels, got, strict=True):
        np.testing.assert_array_equal(matrix, walked(one, *STEPS[angle]))
    assert got[:, :, 1:].sum() > 0
    with pytest.raises(ValueError, match="angle is 45"):
        texture.glrlm(levels, 45)


def test_glszm_of_thibaults_example():
    image = np.array([[[1, 2, 3, 4], [1, 3, 4, 4], [3, 2, 2, 2], [4, 1, 4, 1]]])
    want = [[2, 1, 0], [1, 0, 1], [0, 0, 1], [2, 0, 1]]
    np.testing.assert_array_equal(texture.dense(texture.glszm(image), 4, 3)[0], want)


def test_glszm_equals_flooding():
    levels = random_levels()
    got = texture.dense(texture.glszm(levels), 5, levels[0].size)
    for one, matrix in zip(levels, got, strict=True):
        want, left = np.zeros_like(matrix), one.copy()
        while left.any():
            place = tuple(np.argwhere(left)[0])
            level, size, waiting = left[place], 0, [place]
            left[place] = 0
            while waiting:
                r, c = waiting.pop()
                size += 1
                for i, j in itertools.product((r - 1, r, r + 1), (c - 1, c, c + 1)):
                    inside = 0 <= i < one.shape[0] and 0 <= j < one.shape[1]
                    if inside and left[i, j] == level:
                        left[i, j] = 0
                        waiting.append((i, j))
            want[level - 1, size - 1] += 1
        np.testing.assert_array_equal(matrix, want)


def test_ngtdm_by_hand():
    """Each difference written out: level, then mean of the neighbours."""
    image = np.array([[[1, 2, 5, 2], [3, 5, 1, 3], [1, 3, 5, 5], [3, 1, 1, 1]]])
    n, s = texture.ngtdm(image, 5)
    assert n.tolist() == [[6, 2, 4, 0, 4]]
    ones = (10 / 3, 30 / 8, 15 / 5, 13 / 5, 15 / 5, 11 / 3)
    threes = (12 / 5, 18 / 5, 20 / 8, 5 / 3)
    fives = (13 / 5, 21 / 8, 20 / 8, 11 / 5)
    want = [
        sum(abs(1 - mean) for mean in ones),
        abs(2 - 15 / 5) + abs(2 - 9 / 3),
        sum(abs(3 - mean) for mean in threes),
        0.0,
        sum(abs(5 - mean) for mean in fives),
    ]
    np.testing.assert_allclose(s[0], want, rtol=1e-12)


def test_ngtdm_without_borders_by_hand():
    """As Amadasun and King count: only the nine inner pixels of a 5 x 5 image."""
    image = 1 + np.array(
        [[[1, 1, 4, 3, 1], [3, 4, 0, 1, 1], [5, 4, 2, 2, 2], [2, 1, 1, 4, 4], [0, 2, 2, 5, 1]]]
    )
    n, s = texture.ngtdm(image, 6, borders=False)
    assert n.tolist() == [[1, 3, 2, 0, 3, 0]]
    want = [
        abs(0 - 21 / 8),
        abs(1 - 15 / 8) + abs(1 - 18 / 8) + abs(1 - 22 / 8),
        abs(2 - 17 / 8) + abs(2 - 15 / 8),
        0.0,
        abs(4 - 20 / 8) + abs(4 - 18 / 8) + abs(4 - 19 / 8),
        0.0,
    ]
    np.testing.assert_allclose(s[0], want, rtol=1e-12)


@pytest.mark.parametrize("borders", [True, False])
def test_ngtdm_equals_a_loop(borders):
    levels = random_levels()
    levels[2] = np.maximum(levels[2], 1)
    n, s = texture.ngtdm(levels, 5, borders)
    want_n, want_s = np.zeros((3, 5)), np.zeros((3, 5))
    padded = np.pad(levels, ((0, 0), (1, 1), (1, 1)))
    for k, r, c in np.ndindex(levels.shape):
        around = padded[k, r : r + 3, c : c + 3].astype(float)
        around[1, 1] = 0
        around = around[around > 0]
        if levels[k, r, c] and len(around) >= (1 if borders else 8):
            want_n[k, levels[k, r, c] - 1] += 1
            want_s[k, levels[k, r, c] - 1] += abs(levels[k, r, c] - around.mean())
    np.testing.assert_array_equal(n, want_n)
    np.testing.assert_allclose(s, want_s, rtol=1e-12)


def test_cs_lbp_equals_a_loop():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (2, 20, 24)).astype(np.uint8)
    # Differences around the threshold of 2.55 grey levels.
    image[1] = 100 + rng.integers(0, 5, (20, 24))
    region = np.zeros(image.shape, bool)
    region[0, 3:15, 2:18] = True
    region[1, 5:, 7:] = True
    region[1, 5, 7] = False
    got = texture.cs_lbp(image, region, cells=4).reshape(2, 4, 4, 16)
    opposite = (((0, 1), (0, -1)), ((1, 1), (-1, -1)), ((1, 0), (-1, 0)), ((1, -1), (-1, 1)))
    for n in range(2):
        rows, columns = (np.flatnonzero(region[n].any(axis=1 - axis)) for axis in (0, 1))
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        padded = np.pad(image[n].astype(float), 1, mode="edge")
        want = np.zeros((4, 4, 16))
        for r, c in np.argwhere(region[n]):
            code = 0
            for bit, ((a, b), (i, j)) in enumerate(opposite):
                code |= (padded[r + 1 + a, c + 1 + b] - padded[r + 1 + i, c + 1 + j] > 2.55) << bit
            want[(r - rows[0]) * 4 // tall, (c - columns[0]) * 4 // wide, code] += 1
        want /= np.maximum(want.sum(axis=2, keepdims=True), 1)
        np.testing.assert_allclose(got[n], want, atol=1e-12)
    assert (got > 0).sum() > 100


def test_levels_fill_their_range():
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (4, 30, 30)).astype(np.uint8)
    region = rng.random(image.shape) < 0.7
    # What is outside the region does not move its levels.
    image[~region] = 255
    levels = texture.quantise(image, region, 16)
    assert (levels[~region] == 0).all()
    for one, level, inside in zip(image, levels, region, strict=True):
        x = one[inside].astype(float)
        want = np.minimum(np.floor(16 * (x - x.min()) / np.ptp(x)), 15) + 1
        np.testing.assert_array_equal(level[inside], want)
    assert (texture.quantise(image * 0 + 7, region, 16)[region] == 1).all()


@pytest.mark.parametrize("num_levels", [5, 16, 51, 85, 100, 128])
def test_whole_bins_are_not_rounded(num_levels):
    """0 to num_levels: each value its own level, the last two one."""
    image = np.arange(num_levels + 1).reshape(1, 1, -1)
    levels = texture.quantise(image, np.ones(image.shape, bool), num_levels)
    want = np.minimum(np.arange(num_levels + 1), num_levels - 1) + 1
    np.testing.assert_array_equal(levels[0, 0], want)


def test_statistics_of_one_level_are_finite():
    levels = np.ones((2, 9, 9), np.int32)
    levels[1, 1:, :] = 0
    image = levels * 77
    found = [
        radiomics.first_order(image, levels > 0),
        radiomics.glcm(texture.glcm(levels, 8)[:, 0]).reshape(2, -1),
        runs(levels).reshape(2, -1),
        radiomics.sizes(texture.glszm(levels)),
        radiomics.ngtdm(*texture.ngtdm(levels, 8)),
        radiomics.gradient(image, levels > 0),
    ]
    assert all(np.isfinite(part).all() for part in found)
    lone = np.zeros((1, 5, 5), np.int32)
    lone[0, 2, 2] = 3
    assert np.isfinite(radiomics.ngtdm(*texture.ngtdm(lone, 8))).all()
    assert np.isfinite(radiomics.glcm(texture.glcm(lone, 8)[:, 0])).all()


def test_gradient_of_a_slope():
    """3 grey levels a row and 4 a column: everywhere 5."""
    rows, columns = np.mgrid[:8, :9]
    image = (3.0 * rows + 4.0 * columns)[None]
    region = np.ones(image.shape, bool)
    np.testing.assert_allclose(radiomics.gradient(image, region), [[5, 0, 0, 0, 1]], atol=1e-9)
    noise = np.random.default_rng(0).normal(size=(1, 8, 9))
    x = np.hypot(*np.gradient(noise[0])).ravel()
    want = [x.mean(), x.var(), scipy.stats.skew(x), scipy.stats.kurtosis(x), 1.0]
    np.testing.assert_allclose(radiomics.gradient(noise, region)[0], want, rtol=1e-9)


def test_a_batch_is_its_images():
    levels = random_levels(shape=(5, 12, 12))

    def everything(some):
        return np.concatenate(
            [
                radiomics.glcm(texture.glcm(some, 5)).reshape(len(some), -1),
                runs(some).reshape(len(some), -1),
                radiomics.sizes(texture.glszm(some)),
                radiomics.ngtdm(*texture.ngtdm(some, 5)),
            ],
            axis=1,
        )

    single = [everything(levels[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(everything(levels), single, rtol=1e-12)


def test_without_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ConfigError, match=r"skimage is needed.*'jaxbrain\[baselines\]'"):
        texture.glcm(random_levels(), 5)
