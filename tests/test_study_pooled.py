"""The paper's protocol as functions: pool, synthesis, identities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from conftest import change, small

from jaxbrain import config
from jaxbrain.data import preprocess
from jaxbrain.data.records import from_arrays
from jaxbrain.study import pooled
from jaxbrain.training import gan
from jaxbrain.types import Dataset


def reals(counts=(7, 12), size=32):
    label = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (len(label), size, size, 1), np.uint8)
    return Dataset(image, label, np.arange(len(label), dtype=np.int32) // 2)


def test_keys_are_distinct_and_fixed():
    one = pooled.keys(3)
    bits = {tuple(np.asarray(jax.random.key_data(k)).ravel()) for k in (*one, *pooled.keys(4))}
    assert len(bits) == 2 * len(one)


def test_pool_of_the_paper():
    """98 + 100 real and 102 + 100 synthetic images: 400, tested on 60 + 60."""
    cfg = change(config.paper(), "data", image_size=16)
    cfg = change(cfg, "gan", image_size=32)
    data = reals((98, 155))
    index = pooled.select(cfg, data, 5)
    new_label = pooled.splits.synthetic_labels(data.label[index])
    image = np.full((len(new_label), 16, 16, 1), 9, np.uint8)
    pool = pooled.pool(cfg, data, index, new_label, image, 5)
    label = pool.data.label
    assert np.bincount(label).tolist() == [200, 200]
    assert np.bincount(label[pool.test]).tolist() == [60, 60]
    assert np.bincount(label[pool.train]).tolist() == [140, 140]
    real = pool.source >= 0
    assert (np.bincount(label[real]).tolist(), np.bincount(label[~real]).tolist()) == (
        [98, 100],
        [102, 100],
    )
    assert (pool.data.image[~real] == 9).all()
    want = np.asarray(preprocess.resized(data, 16).image)[pool.source[real]]
    np.testing.assert_array_equal(pool.data.image[real], want)
    np.testing.assert_array_equal(pool.data.group[real], data.group[pool.source[real]])
    synthetic = pool.data.group[~real]
    assert len(set(synthetic)) == len(synthetic)
    assert not set(synthetic) & set(data.group)


def test_degraded_reals_pass_through_the_gan_size():
    cfg = small()
    cfg = change(cfg, "data", image_size=32, degrade_reals=True)
    cfg = change(cfg, "gan", image_size=16)
    data, index = reals(), np.arange(19)
    label = pooled.splits.synthetic_labels(data.label)
    image = np.zeros((len(label), 32, 32, 1), np.uint8)
    pool = pooled.pool(cfg, data, index, label, image, 0)
    want = preprocess.resized(preprocess.resized(data, 16), 32)
    np.testing.assert_array_equal(pool.data.image[:19], want.image)
    assert not np.array_equal(pool.data.image[:19], data.image)


def test_synthesis_is_at_the_classifiers_size_in_bytes(key):
    cfg = small()
    state = jax.jit(gan.init, static_argnums=0)(cfg, key)
    label = jnp.asarray([0, 1, 1], jnp.int32)
    image = pooled.synthesise(cfg, state, label, key)
    assert image.shape == (3, 16, 16, 1)
    assert image.dtype == jnp.uint8
    drawn = pooled.resize(gan.sample(cfg, state, label, key), 16)
    np.testing.assert_array_equal(image, preprocess.to_uint8(drawn))


def test_resizing_to_the_same_size_changes_nothing():
    data = reals()
    assert preprocess.resized(data, 32) is data


def test_identities():
    cfg, data = small(), reals((3, 4))
    records = from_arrays(data, ("no", "yes"), "arrays")
    index = np.array([0, 2, 4, 6])
    label = np.int32([0, 0, 1])
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, image_size=32))
    image = np.zeros((3, 32, 32, 1), np.uint8)
    pool = pooled.pool(cfg, data, index, label, image, 0)
    ids, origin = pooled.identity(pool, records)
    assert ids == [
        "no/0000",
        "no/0002",
        "yes/0004",
        "yes/0006",
        "synthetic/no/0000",
        "synthetic/no/0001",
        "synthetic/yes/0002",
    ]
    assert origin == ["real"] * 4 + ["synthetic"] * 3
