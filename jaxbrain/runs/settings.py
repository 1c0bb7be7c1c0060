"""The settings that must be the same to go on with a study."""

import dataclasses

from jaxbrain.baselines import weights
from jaxbrain.config import Config
from jaxbrain.errors import ConfigError
from jaxbrain.runs import files
from jaxbrain.study import folders
from jaxbrain.study.protocols import StudyConfig


def with_classes(cfg: Config, names: tuple[str, ...]) -> Config:
    """`cfg` with the number of classes that were found.

    Raises:
        ConfigError: if it asks for another number, other than the default of two.
    """
    if cfg.data.num_classes not in (2, len(names)):
        raise ConfigError(
            f"data.num_classes is {cfg.data.num_classes}: expected {len(names)}, the number "
            f"of classes found ({', '.join(names)})"
        )
    return dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, num_classes=len(names)))


def study_settings(cfg: Config, options: StudyConfig) -> dict:
    """What must be the same to go on with a study."""
    found = {"config": files.settings(cfg), "study": files.settings(options)}
    # By what the file holds, wherever it lies.
    found["study"]["weights"] = weights.digest(options.weights) if options.weights else ""
    found["study"]["generators"] = list(map(folders.own_name, options.generators))
    return found
