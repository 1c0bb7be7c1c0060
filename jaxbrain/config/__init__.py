"""Every choice of a run (`fields`), four presets to start from (`presets`), and a saved
configuration read back (`from_dict`)."""

from jaxbrain.config.fields import (
    ClassifierConfig,
    CNNConfig,
    Config,
    DataConfig,
    GANConfig,
    HybridConfig,
    OptimConfig,
    require_name,
    require_names,
    require_optimiser,
)
from jaxbrain.config.presets import cpu, paper, recommended, tiny

from_dict = Config.from_dict

__all__ = [
    "CNNConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "GANConfig",
    "HybridConfig",
    "OptimConfig",
    "cpu",
    "from_dict",
    "paper",
    "recommended",
    "require_name",
    "require_names",
    "require_optimiser",
    "tiny",
]
