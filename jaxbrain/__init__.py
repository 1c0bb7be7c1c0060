"""A conditional GAN, a CNN-LSTM and the study that joins them, as pure functions."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxbrain import config, study
    from jaxbrain.config import Config
    from jaxbrain.data import Records, load_data, load_folder, phantom
    from jaxbrain.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        JaxbrainError,
    )
    from jaxbrain.runs import ablations, checkpoint, ladder, paper, sample, search, table4
    from jaxbrain.scoring import intervals, metrics
    from jaxbrain.study import methods, protocols
    from jaxbrain.training import classifier, devices, gan, lanes, loops, losses, optim, streamed
    from jaxbrain.training.loops import train_classifier, train_gan
    from jaxbrain.types import (
        Batch,
        ClassifierState,
        Counts,
        Dataset,
        GANState,
        History,
        NetState,
    )

# Where the names of `__all__` are. Each is imported when it is first asked for, so that a command
# can say something before JAX is loaded.
_NAMES = {
    "config": "Config",
    "data": "Records load_data load_folder",
    "errors": "CheckpointError ConfigError DataError DivergedError JaxbrainError",
    "training.loops": "train_classifier train_gan",
    "types": "Batch ClassifierState Counts Dataset GANState History NetState",
}
# Two modules of runs have names that stand for something else here: train_gan and audit.
_MODULES = {
    "": "audit baselines commands config data errors nn quoted reports runs scoring study training "
    "types",
    "data": "phantom",
    "runs": "ablations checkpoint ladder paper sample search table4",
    "scoring": "intervals metrics",
    "study": "methods protocols",
    "training": "classifier devices gan lanes loops losses optim streamed",
}

__all__ = [
    "Batch",
    "CheckpointError",
    "ClassifierState",
    "Config",
    "ConfigError",
    "Counts",
    "DataError",
    "Dataset",
    "DivergedError",
    "GANState",
    "History",
    "JaxbrainError",
    "NetState",
    "Records",
    "ablations",
    "checkpoint",
    "classifier",
    "config",
    "devices",
    "gan",
    "intervals",
    "ladder",
    "lanes",
    "load_data",
    "load_folder",
    "loops",
    "losses",
    "methods",
    "metrics",
    "optim",
    "paper",
    "phantom",
    "protocols",
    "sample",
    "search",
    "streamed",
    "study",
    "table4",
    "train_classifier",
    "train_gan",
]


def __getattr__(name: str):
    for room, names in _MODULES.items():
        if name in names.split():
            return importlib.import_module(".".join(filter(None, (__name__, room, name))))
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
