"""A conditional GAN, a CNN-LSTM and the study that joins them, as pure functions."""

from jaxbrain import (
    classifier,
    config,
    gan,
    ladder,
    losses,
    metrics,
    optim,
    parallel,
    pooled,
    protocols,
    run,
    stats,
    stream,
    study,
    train,
)
from jaxbrain.config import Config
from jaxbrain.data import Records, load_folder, phantom
from jaxbrain.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    JaxbrainError,
)
from jaxbrain.train import train_classifier, train_gan
from jaxbrain.types import (
    Batch,
    ClassifierState,
    Counts,
    Dataset,
    GANState,
    History,
    NetState,
)

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
    "classifier",
    "config",
    "gan",
    "ladder",
    "load_folder",
    "losses",
    "metrics",
    "optim",
    "parallel",
    "phantom",
    "pooled",
    "protocols",
    "run",
    "stats",
    "stream",
    "study",
    "train",
    "train_classifier",
    "train_gan",
]
