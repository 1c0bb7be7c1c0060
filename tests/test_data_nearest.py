"""The distance to the nearest image, against a loop in NumPy; what counts as a copy."""

import jax
import numpy as np
import pytest

from jaxbrain.data import nearest, phantom
from jaxbrain.errors import DataError


def moved(image, down, right, mode):
    """[N, S, S, 1] shifted; what comes in is black or the edge again."""
    side, how = image.shape[1], {"black": "constant", "edge": "edge"}[mode]
    wide = np.pad(image, ((0, 0), (3, 3), (3, 3), (0, 0)), mode=how)
    return wide[:, 3 - down : 3 - down + side, 3 - right : 3 - right + side]


def slow(image, among):
    """The definition, pair by pair: [N, M] distances of smoothed images."""

    def window(one, down, right):
        flat = one[6 + down : 58 + down : 2, 6 + right : 58 + right : 2].ravel().astype(np.float64)
        flat = flat - flat.mean()
        norm = np.sqrt((flat**2).sum())
        return flat / norm if norm > 1e-4 else flat * 0

    result = np.ones((len(image), len(among)))
    for i, one in enumerate(image):
        for j, other in enumerate(among):
            best = max(
                window(face, 0, 0) @ window(other, down, right)
                for face in (one, one[:, ::-1])
                for down in range(-4, 5)
                for right in range(-4, 5)
            )
            result[i, j] = max(1.0 - best, 0.0)
    return result


def test_distances_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 16, 16, 1), np.uint8).repeat(4, 1).repeat(4, 2)
    image, among = coarse[:4], coarse[4:]
    image[3] = 77  # plain: as far from everything
    want = slow(nearest.smoothed(image), nearest.smoothed(among))
    distance, index = nearest.distances(image, among)
    np.testing.assert_allclose(distance, want.min(axis=1), atol=2e-5)
    np.testing.assert_array_equal(index, want.argmin(axis=1))
    assert distance[3] == 1.0 and 0.1 < distance[:3].min() < 1.0
    own, which = nearest.apart(among)
    want = slow(*[nearest.smoothed(among)] * 2)
    np.fill_diagonal(want, 9)
    np.testing.assert_allclose(own, want.min(axis=1), atol=2e-5)
    np.testing.assert_array_equal(which, want.argmin(axis=1))


def test_blocks_change_nothing():
    image = np.asarray(phantom.dataset(jax.random.key(0), 11, 32).image)
    group = np.arange(22) // 2
    whole = nearest.distances(image[:13], image[13:]), nearest.apart(image, group)
    some = (
        nearest.distances(image[:13], image[13:], block=4),
        nearest.apart(image, group, block=4),
    )
    for (distance, index), (other, place) in zip(whole, some, strict=True):
        np.testing.assert_allclose(distance, other, atol=2e-5)
        np.testing.assert_array_equal(index, place)
    assert (group[whole[1][1]] != group).all()
    alone, nobody = nearest.apart(image[:3], np.zeros(3, int))
    assert np.isinf(alone).all() and (nobody == -1).all()


def test_smoothed_is_a_gaussian_mean_of_any_side():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (2, 48, 48, 1), np.uint8)
    x = (np.arange(48) + 0.5) / 48 * 64
    weight = np.exp(-0.5 * ((x - 20.5) / 1.5) ** 2), np.exp(-0.5 * ((x - 33.5) / 1.5) ** 2)
    mask = np.outer(*weight) / np.outer(*weight).sum()
    want = (image[..., 0] * mask).sum(axis=(1, 2)) / 255
    np.testing.assert_allclose(nearest.smoothed(image)[:, 20, 33], want, rtol=1e-5)
    for side in (14, 300):
        flat = nearest.smoothed(np.full((1, side, side, 1), 51, np.uint8))
        assert flat.shape == (1, 64, 64)
        np.testing.assert_allclose(flat, 0.2, rtol=1e-5)


@pytest.mark.parametrize("side", [48, 64, 128])
def test_changed_copies_are_near_and_other_images_are_not(side):
    """Mirrored, moved by 2 or 3 pixels any way, of another gain and offset: found at once."""
    image = np.asarray(phantom.dataset(jax.random.key(1), 6, side).image)
    others, _ = nearest.apart(image)
    ways = [(2, 0), (-2, 2), (0, -3), (3, 3), (-3, -2)]
    for (down, right), mode in zip(ways, ["black", "edge", "black", "edge", "black"], strict=True):
        copy = moved(image, down, right, mode)[:, :, ::-1]
        copy = np.clip(copy * 0.7 + 20, 0, 255).astype(np.uint8)
        distance, index = nearest.distances(copy, image)
        np.testing.assert_array_equal(index, np.arange(12))
        assert distance.max() < 0.6 * others.min(), (down, right, mode)
    # Of another side than what it is a copy of.
    large = image.repeat(2, axis=1).repeat(2, axis=2)
    distance, index = nearest.distances(large, image)
    np.testing.assert_array_equal(index, np.arange(12))
    assert distance.max() < 0.01
    assert nearest.distances(image, image)[0].max() == 0.0


def test_what_is_no_image_is_refused():
    good = np.zeros((2, 32, 32, 1), np.uint8)
    for bad, match in (
        (good.astype(np.float32), "image is float32"),
        (good[..., 0], r"image has shape \[2, 32, 32\]"),
        (good[:0], r"image has shape \[0, 32, 32, 1\]"),
        (good[:, :16], r"shape \[2, 16, 32, 1\]: expected \[N, S, S, 1\]"),
    ):
        with pytest.raises(DataError, match=match):
            nearest.distances(bad, good)
        with pytest.raises(DataError, match=match):
            nearest.distances(good, bad)
