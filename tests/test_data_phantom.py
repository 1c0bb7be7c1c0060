"""Phantoms: a pure function of the key, with truth, difficulty and variety."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.config import DataConfig
from jaxbrain.data import phantom


@pytest.fixture(scope="module")
def pairs():
    """32 heads drawn twice, without and with a lesion."""
    keys = jax.random.split(jax.random.key(4), 32)

    @jax.jit
    def draw(keys):
        def both(key):
            return phantom.draw(key, 0, 48), phantom.draw(key, 1, 48)

        return jax.vmap(both)(keys)

    return draw(keys)


def test_range_shape_and_truth(pairs):
    normal, tumour = pairs
    for one in pairs:
        assert one.image.shape == one.lesion.shape == (32, 48, 48, 1)
        assert one.image.dtype == jnp.float32
        assert float(one.image.min()) >= 0.0
        assert float(one.image.max()) <= 1.0
    assert not np.asarray(normal.lesion).any()
    area = np.asarray(tumour.lesion > 0.5).mean((1, 2, 3))
    assert area.min() > 0.003
    assert area.max() < 0.25


def test_a_lesion_changes_the_image_where_its_mask_is(pairs):
    """The same head with and without it: most of the change is in and near the mask."""
    normal, tumour = pairs
    change = np.abs(np.asarray(tumour.image - normal.image))
    inside = np.asarray(tumour.lesion) > 0.5
    ratio = [c[m].mean() / c[~m].mean() for c, m in zip(change, inside, strict=True)]
    assert np.median(ratio) > 4


def test_looks_like_a_head(pairs):
    """Dark corners, a bright ring of scalp around a dark skull, variety between keys."""
    normal, _ = pairs
    image = np.asarray(normal.image)[..., 0]
    assert image[:, :4, :4].mean() < 0.08
    assert image[:, 16:32, 16:32].mean() > 0.2
    middle = image[:, 24, :]
    outer = middle[:, :14].max(1)
    assert (outer > middle[:, :2].max(1) + 0.1).mean() > 0.9
    flat = image.reshape(32, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(32, 1)]
    assert correlation.max() < 0.98


def test_pure_function_of_the_key(key):
    one = phantom.dataset(key, 3, 32)
    other = phantom.dataset(key, 3, 32)
    np.testing.assert_array_equal(one.image, other.image)
    assert one.image.dtype == jnp.uint8
    assert one.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert one.group.tolist() == list(range(6))
    fresh = phantom.dataset(jax.random.key(1), 3, 32)
    assert not np.array_equal(one.image, fresh.image)


def test_difficulty_shrinks_lesions_and_raises_noise():
    keys = jax.random.split(jax.random.key(2), 48)

    @jax.jit
    def draw(difficulty):
        return jax.vmap(lambda key: phantom.draw(key, 1, 32, difficulty))(keys)

    easy, hard = draw(0.0), draw(1.0)
    assert float(easy.lesion.mean()) > 1.3 * float(hard.lesion.mean())
    corner = np.s_[:, :3, :3]
    assert np.asarray(hard.image)[corner].mean() > 1.5 * np.asarray(easy.image)[corner].mean()


def test_folder_of_phantoms():
    data, records = phantom.folder(DataConfig(n_per_class=4), 32)
    assert records.class_names == ("no", "yes")
    assert len(records.path) == len(data.label) == 8
