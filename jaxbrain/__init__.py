"""A conditional GAN, a CNN-LSTM and the study that joins them, as pure functions."""

import importlib

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

# Whole runs bring checkpoints and figures with them: imported where they are used. Two more have
# names that stand for something else here: `jaxbrain.runs.train_gan` and `jaxbrain.runs.audit`.
_RUNS = "ablations", "checkpoint", "ladder", "paper", "sample", "search", "table4"

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
    "load_run",
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
    if name in _RUNS:
        return importlib.import_module(f"jaxbrain.runs.{name}")
    if name == "load_run":
        return importlib.import_module("jaxbrain.runs.loaded").load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
