"""A configuration that a run has kept, read back."""

import dataclasses

import optax
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.errors import ConfigError
from jaxbrain.runs import files


@dataclasses.dataclass(frozen=True)
class Own:
    rate: float = 0.1

    def make(self):
        return optax.sgd(self.rate)


@pytest.mark.parametrize("make", [small, config.paper, config.recommended, config.cpu, config.tiny])
def test_it_is_the_same_one(make):
    assert config.from_dict(files.settings(make())) == make()


def test_what_is_no_configuration_of_this_version_is_refused():
    saved = files.settings(config.cpu())
    with pytest.raises(ConfigError, match="run: config has gams, more: no field"):
        config.from_dict(saved | {"gams": 1, "more": 2}, "run: config")
    older = saved | {"gan": {k: v for k, v in saved["gan"].items() if k != "r1_every"}}
    with pytest.raises(ConfigError, match=r"config\.gan has no r1_every: .* another version"):
        config.from_dict(older)
    with pytest.raises(ConfigError, match=r"config\.cnn is 3: expected the fields of a CNNConfig"):
        config.from_dict(saved | {"cnn": 3})
    with pytest.raises(ConfigError, match="config is None: expected the fields of a Config"):
        config.from_dict(None)
    with pytest.raises(ConfigError, match=r"gan\.loss is 'wgan'"):
        config.from_dict(saved | {"gan": saved["gan"] | {"loss": "wgan"}})
    with pytest.raises(ConfigError, match=r"cnn\.filters is \('3',\)"):
        config.from_dict(saved | {"cnn": saved["cnn"] | {"filters": ["3"]}})
    own = files.settings(change(config.cpu(), "gan", generator_optim=Own()))
    with pytest.raises(ConfigError, match=r"config\.gan\.generator_optim is an optimiser of its"):
        config.from_dict(own)
    partly = saved["gan"]["generator_optim"] | {"nesterov": True}
    with pytest.raises(ConfigError, match=r"generator_optim has nesterov: no field"):
        config.from_dict(saved | {"gan": saved["gan"] | {"generator_optim": partly}})
