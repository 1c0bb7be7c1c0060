"""Pictures in, arrays out."""

from pathlib import Path

from jaxbrain.config import DataConfig
from jaxbrain.data import phantom, tfds
from jaxbrain.data.collect import Options
from jaxbrain.data.folder import load_folder
from jaxbrain.data.records import Records
from jaxbrain.types import Dataset

__all__ = ["Records", "load_data", "load_folder", "options_of", "phantom"]

# How pictures are read, besides their size: fields of a configuration, options of `load_folder`.
_READ = (
    "crop square dedup duplicate_threshold frames brain_fraction positive group_by patients"
).split()


def options_of(cfg: DataConfig) -> dict:
    """The options of `load_data` that a configuration says."""
    return {name: getattr(cfg, name) for name in _READ}


def load_data(source: str | Path, **options) -> tuple[Dataset, Records]:
    """Read labelled images from a folder, a zip or tar archive, or "tfds:NAME[:SPLIT]".

    options: those of `load_folder`.

    Raises:
        DataError, ConfigError: see `load_folder` and `tfds.load`.
    """
    if str(source).startswith(tfds.PREFIX):
        # Neither files nor volumes are read, and TFDS is a store of its own.
        known = set(Options.__dataclass_fields__) - {"frames", "brain_fraction"}
        grouped = options.get("dedup") == "group"
        threshold = options.get("duplicate_threshold", 0.98) if grouped else None
        own = {name: value for name, value in options.items() if name in known}
        return tfds.load(str(source), **own, threshold=threshold)
    return load_folder(source, **options)
