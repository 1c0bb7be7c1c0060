"""Names that no configuration should hold raise where they are used, all of them."""

import dataclasses
from types import SimpleNamespace
from typing import Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small
from test_training_gan import batch
from test_training_loops import images

from jaxbrain import config
from jaxbrain.config import ClassifierConfig, Config, GANConfig, OptimConfig
from jaxbrain.errors import ConfigError
from jaxbrain.nn import ops
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator
from jaxbrain.nn.mlp import MLP
from jaxbrain.training import classifier, gan, loops, losses, optim, streamed
from jaxbrain.types import Batch


def names() -> list[tuple[str, str]]:
    """(section, field) of every field of a configuration that holds a name."""
    sections = {name: hint for name, hint in get_type_hints(Config).items() if name != "intervals"}
    return [("", "compute")] + [
        (section, field)
        for section, cls in sections.items()
        if dataclasses.is_dataclass(cls)
        for field, hint in get_type_hints(cls).items()
        if get_origin(hint) is Literal
    ]


def around(section: str, field: str, value) -> Config:
    """A configuration whose check did not see the field, and none of whose parts anyone
    else has."""
    cfg = small()
    part = dataclasses.replace(getattr(cfg, section)) if section else cfg
    object.__setattr__(part, field, value)
    if section:
        object.__setattr__(cfg, section, part)
    return cfg


@pytest.fixture(scope="module")
def states():
    inits = (jax.jit(module.init, static_argnums=0) for module in (gan, classifier))
    return [init(small(), jax.random.key(0)) for init in inits]


def test_there_are_names():
    assert len(names()) >= 17
    for section, field in names():
        cls = get_type_hints(Config)[section] if section else Config
        assert "nonsense" not in get_args(get_type_hints(cls)[field])


@pytest.mark.parametrize("section, field", names())
def test_an_unknown_name_raises_where_it_is_used(key, states, section, field):
    cfg = around(section, field, "nonsense")
    match = rf"{section or 'config'}\.{field} is 'nonsense': expected .* \| "
    (fine, state), real = states, batch()
    image = jnp.zeros((5, 16, 16, 1))
    rows = Batch(image, jnp.zeros((5,), jnp.int32), jnp.ones((5,)))
    data, faces = images(12, 16), images(20, 32)
    uses = {
        "gan.init": lambda: gan.init(cfg, key),
        "gan.train_step": lambda: gan.train_step(cfg, fine, real, key),
        "gan.sample": lambda: gan.sample(cfg, fine, rows.label, key),
        "train_gan": lambda: loops.train_gan(cfg, faces, key, state=fine),
        "streamed.train_gan": lambda: streamed.train_gan(cfg, jax.tree.map(np.asarray, faces), key),
        "classifier.init": lambda: classifier.init(cfg, key),
        "classifier.train_step": lambda: classifier.train_step(cfg, state, rows, key),
        "classifier.predict": lambda: classifier.predict(cfg, state, image),
        "normalise": lambda: classifier.normalise(cfg, state, image),
        "class_weight": lambda: classifier.class_weight(cfg, rows.label, rows.weight),
        "train_classifier": lambda: loops.train_classifier(cfg, data, key, state=state),
        "classifier_plan": lambda: loops.classifier_plan(cfg, 12),
        "Generator": lambda: Generator(cfg).init(key, image[:, 0, :6, 0], rows.label, False),
        "Discriminator": lambda: Discriminator(cfg).init(key, real.image, rows.label, False),
        "CNN": lambda: CNN(cfg).init(key, image),
        "Hybrid": lambda: Hybrid(cfg).init(key, image[:, 0, :5, 0], False),
    }
    for name, use in uses.items():
        with pytest.raises(ConfigError, match=match):
            jax.eval_shape(use) if not name.startswith("streamed") else use()
            pytest.fail(f"{name} took it")


def test_a_subclass_brings_no_names_of_its_own(key):
    """What a subclass declares is held to the names of the class here."""

    @dataclasses.dataclass(frozen=True)
    class Wasserstein(GANConfig):
        loss: Literal["bce", "hinge", "wgan"] = "wgan"

    with pytest.raises(ConfigError, match=r"gan.loss is 'wgan': expected bce \| hinge"):
        dataclasses.replace(small(), gan=Wasserstein())

    @dataclasses.dataclass(frozen=True)
    class Lion(OptimConfig):
        name: str = "lion"

    with pytest.raises(ConfigError, match=r"optim.name is 'lion': expected sgdm \| adam"):
        ClassifierConfig(optim=Lion())
    with pytest.raises(ConfigError, match=r"optim.name is 'lion': expected sgdm \| adam"):
        optim.make(Lion())
    with pytest.raises(ConfigError, match=r"optim.schedule is 'linear': expected constant"):
        optim.schedule(around_optim("schedule", "linear"), jnp.int32(0), 10)
    cfg = around("classifier", "optim", around_optim("name", "lion"))
    with pytest.raises(ConfigError, match="optim.name is 'lion'"):
        classifier.init(cfg, key)


def around_optim(field: str, value) -> OptimConfig:
    cfg = OptimConfig()
    object.__setattr__(cfg, field, value)
    return cfg


def test_functions_of_names_raise(key):
    one = jnp.zeros((2,))
    with pytest.raises(ConfigError, match=r"gan.loss is 'wgan': expected bce \| hinge"):
        losses.discriminator_loss("wgan", one, one, one > 0)
    with pytest.raises(ConfigError, match="gan.loss is 'wgan'"):
        losses.generator_loss("wgan", one)
    with pytest.raises(ConfigError, match=r"cnn.pool is 'sum': expected max \| min \| average"):
        ops.pool(jnp.zeros((1, 4, 4, 1)), "sum", 2, 2)
    image, kernel = jnp.zeros((1, 4, 4, 1)), jnp.zeros((2, 2, 1, 1))
    for function in (ops.conv, ops.conv_transpose):
        with pytest.raises(ConfigError, match=r"padding is 'same': expected SAME \| VALID"):
            function(image, kernel, 1, "same")
    with pytest.raises(ConfigError, match=r"activation is 'relu': expected tanh \| sigmoid"):
        MLP(3, "relu").init(key, jnp.zeros((1, 2)), False)
    with pytest.raises(ConfigError, match=r"partial is 'keep': expected drop \| pad"):
        loops.Plan(8, 4, 4, "once", "keep").steps()
    with pytest.raises(ConfigError, match=r"shuffle is 'never': expected once \| every_epoch"):
        loops.Plan(8, 4, 4, "never", "pad").order(key, jnp.int32(0))


@dataclasses.dataclass(frozen=True)
class Listed:
    rates: list

    def make(self):
        return None


class Listing(OptimConfig):
    __hash__ = None


@pytest.mark.parametrize(
    "own, message",
    [
        (Listing(), r"is .*Listing\(.*: expected an OptimConfig"),
        ("adam", r"is 'adam': expected an OptimConfig, or a hashable object with make\(\)"),
        (None, "is None: expected an OptimConfig"),
        (
            SimpleNamespace(make=lambda: None),
            "is namespace.*: expected an OptimConfig, or a hashable object",
        ),
        (Listed([1.0]), "is Listed.*: expected an OptimConfig, or a hashable object"),
        (Listed, "is <class .*Listed'>: expected an OptimConfig"),
    ],
)
@pytest.mark.parametrize(
    "section, field",
    [("gan", "generator_optim"), ("gan", "discriminator_optim"), ("classifier", "optim")],
)
def test_other_optimisers_are_refused_when_a_configuration_is_built(section, field, own, message):
    with pytest.raises(ConfigError, match=f"{section}.{field} {message}"):
        change(config.paper(), section, **{field: own})


def test_an_optimiser_that_makes_something_else_is_refused():
    with pytest.raises(ConfigError, match="returned a NoneType: expected an optax.Gradient"):
        optim.make(Listed((1.0,)))
