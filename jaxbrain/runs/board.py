"""TensorBoard's files of a run, from the same events as `metrics.jsonl` (the extra
`tensorboard`; neither TensorFlow nor torch)."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxbrain.errors import ConfigError

FOLDER = "tensorboard"
# Of an event, what is no metric.
_NO_METRIC = {"lane", "seed", "training", "step"}


def _writer():
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"tensorboard: tensorboardX is needed and missing ({error}): pip install "
            "'jaxbrain[tensorboard]'"
        ) from None
    return SummaryWriter


class Board:
    """Scalars and sheets of samples, a folder for each training in `WORKDIR/tensorboard`.

    All is written anew from the events that there are, so that a run that goes on has no step
    twice.

    path: of the run; folder: event -> the name of its training's folder.

    Raises:
        ConfigError: where tensorboardX is missing.
    """

    def __init__(self, path: Path, folder: Callable[[dict], str]):
        self.path, self.folder, self.make = path / FOLDER, folder, _writer()
        self.writers: dict[str, tuple[str, Any]] = {}
        shutil.rmtree(self.path, ignore_errors=True)

    def event(self, event: dict) -> None:
        """Add a row of `metrics.jsonl`: a scalar for each of its metrics."""
        writer = self._of(event)
        for name, value in event.items():
            if name not in _NO_METRIC and isinstance(value, int | float):
                writer.add_scalar(f"{event['training']}/{name}", value, event["step"])

    def again(self, lane: str, events: Iterable[dict]) -> None:
        """Put the events of a training in place of what was written of it."""
        if lane in self.writers:
            folder, writer = self.writers.pop(lane)
            writer.close()
            shutil.rmtree(self.path / folder, ignore_errors=True)
        for event in events:
            self.event(event)

    def sheet(self, path: Path, event: dict) -> None:
        """Add a sheet of samples, a picture in a file, at an event's step."""
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))[..., None]
        self._of(event).add_image(f"samples/{path.stem}", grey, event["step"], dataformats="HWC")

    def _of(self, event: dict):
        lane = event["lane"]
        if lane not in self.writers:
            folder = self.folder(event)
            self.writers[lane] = folder, self.make(str(self.path / folder))
        return self.writers[lane][1]

    def close(self) -> None:
        """Write what is not written yet."""
        for _, writer in self.writers.values():
            writer.close()
