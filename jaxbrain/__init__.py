"""A conditional GAN, a CNN-LSTM and the study that joins them, as pure functions.

Every name is imported when it is first used: `import jaxbrain` alone imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

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
    from jaxbrain.runs import (
        ablations,
        checkpoint,
        compare,
        export,
        ladder,
        paper,
        predict,
        sample,
        search,
        table4,
    )
    from jaxbrain.runs.loaded import load_run
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

# The modules among them; what stands in a module. Two modules have names that stand for something
# else here: `jaxbrain.runs.train_gan` and `jaxbrain.runs.audit`.
_MODULES = (
    "audit baselines config data errors nn reports runs scoring training types data.phantom "
    "runs.ablations runs.checkpoint runs.compare runs.export runs.ladder runs.paper runs.predict "
    "runs.sample runs.search runs.table4 scoring.intervals scoring.metrics study study.methods "
    "study.protocols training.classifier training.devices training.gan training.lanes "
    "training.loops training.losses training.optim training.streamed"
).split()
_NAMES = {
    "config": "Config",
    "data": "Records load_data load_folder",
    "errors": "CheckpointError ConfigError DataError DivergedError JaxbrainError",
    "runs.loaded": "load_run",
    "training.loops": "train_classifier train_gan",
    "types": "Batch ClassifierState Counts Dataset GANState History NetState",
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
    "compare",
    "config",
    "devices",
    "export",
    "gan",
    "intervals",
    "ladder",
    "lanes",
    "load_data",
    "load_folder",
    "load_run",
    "loops",
    "losses",
    "methods",
    "metrics",
    "optim",
    "paper",
    "phantom",
    "predict",
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
    value = _found(name)
    # Kept: it is asked for once, and what writes the API reference finds it.
    globals()[name] = value
    return value


def _found(name: str):
    if name == "__version__":
        from jaxbrain.runs.environment import version

        return version()
    for module in _MODULES:
        if module.rpartition(".")[2] == name:
            return importlib.import_module(f"jaxbrain.{module}")
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"jaxbrain.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
