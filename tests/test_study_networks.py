"""The networks as methods of a study: synthesis, parts of a training, their configurations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.data import preprocess
from jaxbrain.runs import ablations
from jaxbrain.study import methods, networks
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.training import gan
from jaxbrain.types import Dataset

DRAW = jax.jit(networks.synthesise, static_argnums=0)


@pytest.fixture(scope="module")
def state():
    return jax.jit(gan.init, static_argnums=0)(small(), jax.random.key(0))


def latent(cfg, key, label: int, number: int):
    """Of the n-th image of a class, n from 1."""
    own = jax.random.fold_in(jax.random.fold_in(key, label), number)
    return gan.latents(cfg, 1, own)[0]


def test_synthesis_is_at_the_classifiers_size_in_bytes(state, key):
    cfg = small()
    label = jnp.asarray([0, 1, 1], jnp.int32)
    image = DRAW(cfg, state, label, key)
    assert image.shape == (3, 16, 16, 1)
    assert image.dtype == jnp.uint8

    @jax.jit
    def by_hand(state, key):
        z = jnp.stack([latent(cfg, key, *place) for place in ((0, 1), (1, 1), (1, 2))])
        drawn = preprocess.resize(gan.generate(cfg, state, z, label), 16)
        return preprocess.to_uint8(drawn)

    np.testing.assert_array_equal(image, by_hand(state, key))
    assert len({one.tobytes() for one in np.asarray(image)}) == 3


def test_an_image_does_not_depend_on_how_many_are_drawn(state, key):
    """Nor on the labels of the others: a dose of 5 begins with a dose of 2."""
    cfg = small()
    many = np.repeat([0, 1], [9, 5]).astype(np.int32)
    few = np.int32([1, 0, 0, 1])
    all_images, some = DRAW(cfg, state, many, key), DRAW(cfg, state, few, key)
    for place, wanted in enumerate((9, 0, 1, 10)):
        gap = np.abs(np.int32(some[place]) - np.int32(all_images[wanted]))
        # Another program: a level may be rounded the other way.
        assert gap.max() <= 1 and (gap > 0).mean() < 0.01
    other = DRAW(cfg, state, few, jax.random.key(1))
    assert np.abs(np.int32(other) - np.int32(some)).max() > 1


def test_each_network_by_its_name():
    cfg = change(small(), "hybrid", standardise=True)
    readings = "vector", "scalar", "rows", "both", "bidirectional", "mirrored"
    for reading in readings:
        own = networks.network(cfg, f"cnn_lstm_{reading}")
        assert own == change(cfg, "hybrid", sequence=reading)
    own = networks.network(cfg, "cnn")
    assert own.classifier.mode == "cnn" and not own.hybrid.standardise
    names = {name for name, one in methods.CLASSIFIERS.items() if one.trains}
    assert names == {"cnn", *(f"cnn_lstm_{reading}" for reading in readings)}
    assert networks.CNN_LSTM == tuple(f"cnn_lstm_{reading}" for reading in readings)
    assert networks.TABLE1 == networks.CNN_LSTM[:3]
    method = methods.GENERATORS["cgan"]
    assert (method.steps(cfg, 12), method.batch_size(cfg)) == (6, 8)
    # Two epochs of batches of 5 in each of two stages.
    assert [methods.CLASSIFIERS[name].steps(cfg, 13) for name in ("cnn", "cnn_lstm_rows")] == [4, 8]


@pytest.mark.parametrize("main", ["cnn_lstm_rows", "cnn_lstm_both"])
def test_ablations_keep_the_three_readings_of_table_1(main):
    """And train the main classifier where it is none of them."""
    three = "cnn_lstm_vector", "cnn_lstm_scalar", "cnn_lstm_rows"
    _, readings = ablations._studies(small(), StudyConfig(), "linear", main)["readings"]
    assert readings.classifiers == (*three, *(() if main in three else (main,)), "cnn")
    rows = ablations._rows("linear", main, degraded=False)
    named = [row.classifier for row in rows if row.ablation == "reading of Table 1"]
    assert tuple(named) == three
    assert {row.classifier for row in rows if row.study == "readings"} <= {*readings.classifiers}


def test_resizing_to_the_same_size_changes_nothing():
    data = Dataset(np.zeros((2, 32, 32, 1), np.uint8), np.int32([0, 1]), np.int32([0, 1]))
    assert preprocess.resized(data, 32) is data
