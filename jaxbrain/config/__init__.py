"""Every choice of a run (`fields`), and four presets to start from (`presets`)."""

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

__all__ = [
    "CNNConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "GANConfig",
    "HybridConfig",
    "OptimConfig",
    "cpu",
    "paper",
    "recommended",
    "require_name",
    "require_names",
    "require_optimiser",
    "tiny",
]
