"""Phantoms whose modes are chosen, and phantoms without a choice as they always were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.data import modes, phantom
from jaxbrain.errors import DataError


@pytest.fixture(scope="module")
def drawn():
    """Twelve heads (rows) of every mode (columns): images and lesions, [12, 30, 48, 48]."""
    chosen = phantom.Mode(*jnp.asarray(modes.TABLE[:, 1:]).T)

    @jax.jit
    def draw(keys):
        def one(key, label, mode):
            return phantom.draw(key, label, 48, 0.5, mode)

        every = jax.vmap(one, (None, 0, 0))
        return jax.vmap(every, (0, None, None))(keys, jnp.asarray(modes.TABLE[:, 0]), chosen)

    return [np.asarray(leaf)[..., 0] for leaf in draw(jax.random.split(jax.random.key(3), 12))]


def test_table():
    assert modes.TABLE.shape == (30, 5)
    assert len({tuple(row) for row in modes.TABLE.tolist()}) == 30
    assert modes.of_class(0).tolist() == list(range(6))
    assert modes.of_class(1).tolist() == list(range(6, 30))
    assert len({modes.name(m) for m in range(30)}) == 30


def test_the_lesion_is_in_its_quarter(drawn):
    lesion = drawn[1].reshape(-1, 48, 48)
    label, _, _, side, half = np.tile(modes.TABLE, (12, 1)).T
    assert not lesion[label == 0].any()
    mass = lesion[label == 1].sum((1, 2))
    assert mass.min() > 10
    axis = np.arange(48) - 23.5
    across = (lesion[label == 1].sum(1) @ axis) / mass
    along = (lesion[label == 1].sum(2) @ axis) / mass
    np.testing.assert_array_equal(across > 0, side[label == 1] == 1)
    np.testing.assert_array_equal(along > 0, half[label == 1] == 1)
    assert min(abs(across).min(), abs(along).min()) > 1.5


def test_large_ventricles_are_larger_and_contrasts_differ(drawn):
    """Of the same head: fluid in the middle is dark in T1 and FLAIR, bright in T2."""
    middle = drawn[0][:, :6, 16:32, 16:32].mean((2, 3)).reshape(12, 3, 2)
    change = middle[:, :, 1] - middle[:, :, 0]
    assert (change[:, [0, 2]] < -0.02).all()
    assert (change[:, 1] > 0.02).all()
    # White matter is brighter than scalp's rest in T1 only: the mean of the head is larger.
    whole = drawn[0][:, :6].mean((2, 3)).reshape(12, 3, 2).mean(2)
    assert (whole[:, 0] > whole[:, 2]).mean() > 0.9


def test_dataset_holds_every_mode_alike(key):
    data, mode = modes.dataset(key, 140, 16, 0.2)
    assert data.image.shape == (140, 16, 16, 1) and data.image.dtype == np.uint8
    data.check(16, 2)
    assert mode.dtype == np.int32
    np.testing.assert_array_equal(data.label, modes.TABLE[mode, 0])
    assert np.bincount(data.label).tolist() == [70, 70]
    count = np.bincount(mode, minlength=30)
    assert set(count[:6].tolist()) == {11, 12} and set(count[6:].tolist()) == {2, 3}
    again, same = modes.dataset(key, 140, 16, 0.2)
    np.testing.assert_array_equal(again.image, data.image)
    np.testing.assert_array_equal(same, mode)
    other, _ = modes.dataset(jax.random.key(1), 140, 16, 0.2)
    assert not np.array_equal(other.image, data.image)


def test_too_few_are_refused(key):
    with pytest.raises(DataError, match="num is 47: expected at least 48"):
        modes.dataset(key, 47, 16)
    assert set(modes.dataset(key, 48, 16)[1].tolist()) == set(range(30))


# Mean grey of six images, drawn before modes were.
BEFORE = [41.127, 48.591, 54.604, 57.702, 67.235, 61.721]


def test_phantoms_without_a_mode_are_as_they_were():
    image = np.asarray(phantom.dataset(jax.random.key(3), 3, 32).image)
    np.testing.assert_allclose(image.mean((1, 2, 3)), BEFORE, atol=0.02)
