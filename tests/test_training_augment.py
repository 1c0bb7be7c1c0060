"""Augmentations stay in their ranges, depend on the key, and pass gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxbrain.training import augment


@pytest.fixture
def image(key):
    return jax.random.uniform(key, (64, 16, 16, 1), minval=-0.4, maxval=0.4)


def test_reflect_swaps_about_half(image, key):
    out = np.asarray(jax.jit(augment.reflect)(image, jax.random.split(key, 64)))
    image = np.asarray(image)
    swapped = [np.array_equal(o, i[:, ::-1]) for o, i in zip(out, image, strict=True)]
    kept = [np.array_equal(o, i) for o, i in zip(out, image, strict=True)]
    assert all(s != k for s, k in zip(swapped, kept, strict=True))
    assert 16 < sum(swapped) < 48


def test_translate_moves_whole_pixels_and_fills_with_black(image, key):
    translate = jax.jit(augment.translate, static_argnums=2)
    out = np.asarray(translate(image, jax.random.split(key, 64), 0.125))
    shifts = set()
    for o, i in zip(out, np.asarray(image), strict=True):
        padded = np.pad(i, ((2, 2), (2, 2), (0, 0)), constant_values=-1.0)
        found = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if np.array_equal(o, padded[r : r + 16, c : c + 16])
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15


def test_cutout_is_half_a_side(image, key):
    cutout = jax.jit(augment.cutout, static_argnums=2)
    out = np.asarray(cutout(image, jax.random.split(key, 64), 0.5))
    holes = (out == 0.0)[..., 0]
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns)
        assert 4 <= len(rows) <= 8
        assert 4 <= len(columns) <= 8
    changed = out[~holes]
    np.testing.assert_array_equal(changed, np.asarray(image)[~holes])


def test_diffaug_passes_gradients(image, key):
    keys, others = jax.random.split(key, 64), jax.random.split(jax.random.key(9), 64)
    diffaug = jax.jit(augment.diffaug)
    grads = jax.jit(jax.grad(lambda x: (augment.diffaug(x, keys) ** 2).sum()))(image)
    assert np.isfinite(grads).all()
    assert (np.abs(grads).reshape(64, -1).max(1) > 0).all()
    assert not np.array_equal(diffaug(image, keys), diffaug(image, others))


def test_standard_stays_in_range(key):
    image = jax.random.uniform(key, (32, 16, 16, 1), minval=-1.0)
    keys = jax.random.split(key, 32)
    standard = jax.jit(augment.standard)
    out = standard(image, keys)
    assert out.shape == image.shape
    assert np.abs(out).max() <= 1.0
    black = standard(-jnp.ones((32, 16, 16, 1)), keys)
    np.testing.assert_array_equal(black, -np.ones((32, 16, 16, 1)))


@pytest.mark.parametrize(
    "change", [augment.reflect, augment.diffaug, augment.standard, augment.strong]
)
def test_an_image_does_not_depend_on_its_batch(image, key, change):
    keys = jax.random.split(key, 64)
    change = jax.jit(change)
    whole = change(image, keys)
    np.testing.assert_allclose(change(image[24:32], keys[24:32]), whole[24:32], rtol=0, atol=1e-6)


def test_an_image_is_read_between_its_pixels():
    """As `scipy.ndimage` does, inside; half a pixel of black at the edge."""
    rng = np.random.default_rng(5)
    image = np.float32(rng.random((9, 9, 1)))
    places = np.float32(rng.uniform(-2.0, 10.0, (2, 9, 9)))
    got = augment._warp(jnp.asarray(image), *map(jnp.asarray, places))
    framed = np.pad(image[..., 0], 4)
    want = ndimage.map_coordinates(framed, places + 4, order=1)
    np.testing.assert_allclose(got[..., 0], want, atol=1e-5)


def test_strong_stays_in_range_and_near(key):
    """A disc keeps its place and most of its size; nothing is told of left and right."""
    row, column = np.mgrid[:48, :48] - 23.5
    disc = jnp.asarray(np.where(np.hypot(row, column) < 14, 0.4, -1.0), jnp.float32)
    image = jnp.tile(disc[None, :, :, None], (40, 1, 1, 1))
    got = jax.jit(augment.strong)(image, jax.random.split(key, 40))
    assert got.dtype == jnp.float32 and got.shape == image.shape
    assert np.abs(got).max() <= 1.0
    bright = np.asarray(got[..., 0]) > -0.3
    area = bright.sum(axis=(1, 2)) / float((disc > 0).sum())
    assert 0.75 < area.min() < 0.95 and 1.05 < area.max() < 1.35
    centre = [np.argwhere(one).mean(axis=0) - 23.5 for one in bright]
    assert 0.8 < np.abs(centre).max() < 0.03 * 48 + 0.7
    # Each its own.
    assert len({one.tobytes() for one in np.asarray(got)}) == 40
