"""Configurations are hashable, static, and refuse what they cannot mean."""

import dataclasses

import pytest
from conftest import change

from jaxbrain import config
from jaxbrain.errors import ConfigError

pytestmark = pytest.mark.smoke

PRESETS = [config.paper, config.recommended, config.cpu, config.tiny]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_hashable_and_rebuilt_equal(preset):
    assert preset() == preset()
    assert hash(preset()) == hash(preset())
    for word in ("Command:", "python -m experiments.paper", "Cost", "Expected"):
        assert word in preset.__doc__


def test_presets_differ():
    assert len({preset() for preset in PRESETS}) == 4


def test_paper_is_the_papers():
    """MATLAB's defaults and Table 2, field by field."""
    cfg = config.paper()
    gan, cnn, hybrid, training = cfg.gan, cfg.cnn, cfg.hybrid, cfg.classifier
    assert (gan.latent_size, gan.embedding_size, gan.filters) == (100, 50, 64)
    assert (gan.kernel_size, gan.projection, gan.image_size) == (5, 1024, 64)
    assert (gan.dropout, gan.flip, gan.update, gan.loss) == (
        0.75,
        0.5,
        "simultaneous",
        "bce",
    )
    assert (gan.steps, gan.batch_size, gan.augment) == (500, 128, "reflect")
    assert gan.generator_optim == gan.discriminator_optim
    adam = gan.generator_optim
    assert (adam.name, adam.learning_rate, adam.b1, adam.b2) == ("adam", 2e-4, 0.5, 0.999)
    assert (cnn.filters, cnn.kernel_size, cnn.features) == ((32, 64), 3, 128)
    assert (cnn.pool, cnn.pool_size, cnn.pool_stride, cnn.interleave) == ("max", 3, 2, True)
    assert (hybrid.sequence, hybrid.hidden_size, hybrid.dropout) == ("vector", 40, 0.2)
    assert (hybrid.fc2, hybrid.fc4, hybrid.fc10) == (128, 64, 20)
    assert (training.epochs, training.batch_size, training.mode) == (20, 15, "two_stage")
    assert (training.shuffle, training.partial) == ("once", "drop")
    sgdm = training.optim
    assert (sgdm.name, sgdm.learning_rate, sgdm.momentum, sgdm.l2) == (
        "sgdm",
        0.01,
        0.9,
        1e-4,
    )
    assert (cfg.data.image_size, cfg.data.n_per_class, cfg.data.test_fraction) == (
        224,
        100,
        0.3,
    )
    assert (cfg.data.normalise, cfg.data.crop, cfg.data.dedup) == (
        "zerocenter",
        "none",
        "none",
    )


def test_cpu_classifies_as_recommended():
    cpu, recommended = config.cpu(), config.recommended()
    assert (cpu.cnn, cpu.hybrid) == (recommended.cnn, recommended.hybrid)
    assert cpu.classifier == recommended.classifier and cpu.cnn.mirror
    assert cpu.data == dataclasses.replace(recommended.data, n_per_class=100)
    assert (cpu.data.image_size, cpu.gan.image_size) == (64, 64)


@pytest.mark.parametrize(
    "section, fields, message",
    [
        ("data", {"image_size": 0}, r"data.image_size is 0: expected .* at least 8"),
        ("data", {"n_per_class": -1}, r"data.n_per_class is -1"),
        ("data", {"test_fraction": 1.0}, r"data.test_fraction is 1.0: .* below 1"),
        ("data", {"test_fraction": float("nan")}, r"data.test_fraction is nan"),
        ("data", {"channels": 2}, r"data.channels is 2: expected 1 or 3"),
        ("data", {"crop": "tight"}, r"data.crop is 'tight': expected none \| head"),
        ("data", {"degrade_reals": 1}, r"data.degrade_reals is 1: expected True or False"),
        ("data", {"num_classes": 1}, r"data.num_classes is 1"),
        ("gan", {"image_size": 0}, r"gan.image_size is 0"),
        ("gan", {"image_size": 65}, r"gan.image_size is 65: expected 7 to 16 times"),
        ("gan", {"steps": 2.0}, r"gan.steps is 2.0: expected a whole number"),
        ("gan", {"batch_size": True}, r"gan.batch_size is True"),
        ("gan", {"dropout": 1.0}, r"gan.dropout is 1.0"),
        ("gan", {"flip": -0.1}, r"gan.flip is -0.1"),
        ("gan", {"r1": float("inf")}, r"gan.r1 is inf"),
        ("gan", {"loss": "wgan"}, r"gan.loss is 'wgan': expected bce \| hinge"),
        (
            "cnn",
            {"filters": (32,)},
            r"cnn.filters is \(32,\): expected whole numbers of at least 1, two or more",
        ),
        ("cnn", {"filters": [32, 64]}, r"cnn.filters is \[32, 64\]"),
        ("cnn", {"pool": "sum"}, r"cnn.pool is 'sum'"),
        ("hybrid", {"sequence": "columns"}, r"hybrid.sequence is 'columns'"),
        ("hybrid", {"hidden_size": 0}, r"hybrid.hidden_size is 0"),
        ("classifier", {"epochs": 0}, r"classifier.epochs is 0"),
        ("classifier", {"mode": "joint"}, r"classifier.mode is 'joint'"),
    ],
)
def test_refuses(section, fields, message):
    with pytest.raises(ConfigError, match=message):
        change(config.paper(), section, **fields)


@pytest.mark.parametrize(
    "fields", [{"learning_rate": 0.0}, {"momentum": 1.0}, {"l2": -1.0}, {"name": "lion"}]
)
def test_refuses_optimisers(fields):
    with pytest.raises(ConfigError, match=f"optim.{next(iter(fields))} is"):
        config.OptimConfig(**fields)


def test_standardised_features_need_two_stages():
    cfg = change(config.paper(), "hybrid", standardise=True)
    with pytest.raises(ConfigError, match="hybrid.standardise"):
        change(cfg, "classifier", mode="end_to_end")


def test_intervals():
    with pytest.raises(ConfigError, match="config.intervals is 0"):
        dataclasses.replace(config.tiny(), intervals=0)


def test_sections_are_configurations():
    with pytest.raises(ConfigError, match="config.gan is 3: expected a GANConfig"):
        config.Config(gan=3)
