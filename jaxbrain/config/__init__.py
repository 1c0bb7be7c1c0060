"""Every choice of a run (`fields`), four presets to start from (`presets`), a saved
configuration read back (`saved`), and the choices of studies around it (`studies`)."""

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
from jaxbrain.config.studies import AuditConfig, SearchConfig, StudyConfig

from_dict = Config.from_dict

__all__ = [
    "AuditConfig",
    "CNNConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "GANConfig",
    "HybridConfig",
    "OptimConfig",
    "SearchConfig",
    "StudyConfig",
    "cpu",
    "from_dict",
    "paper",
    "recommended",
    "require_name",
    "require_names",
    "require_optimiser",
    "tiny",
]
