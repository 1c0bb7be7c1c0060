"""`progress.png`, drawn while a run goes, and the files of a run to look at when it has ended."""

import time
from collections.abc import Callable
from pathlib import Path

from jaxbrain.reports import canvas
from jaxbrain.reports.progress import progress_figure
from jaxbrain.runs.files import whole
from jaxbrain.runs.log import Log
from jaxbrain.training import devices

# Seconds between two figures, the share of a run's time that they may take, and what the first
# one takes with its imports.
_EVERY, _SHARE, _FIRST = 20.0, 0.02, 1.5


def save(figure, path: Path, formats: tuple[str, ...] = ()) -> None:
    """Write a figure as PNG, and beside it in other formats under the same name.

    path: of the PNG. formats: of png, pdf and svg; png need not be named.
    """
    for kind in dict.fromkeys(("png", *formats)):
        with whole(path.with_suffix(f".{kind}"), "wb") as file:
            canvas.write(figure, file, kind)


class Curves:
    """How the trainings of a run go, as `progress.png` in its directory.

    tests: seed -> accuracy on its test set, for whoever knows it to fill in.
    """

    def __init__(self, log: Log, formats: tuple[str, ...], of: Callable[[dict], bool]):
        """formats: beside PNG. of: which rows of `metrics.jsonl` are drawn."""
        self.log, self.formats, self.of = log, formats, of
        self.tests: dict[int, float] = {}
        self.began = self.drawn_at = time.monotonic()
        self.spent, self.last = 0.0, _FIRST

    def step(self, ended: bool) -> None:
        """Draw if it is time: every 20 seconds or at the end of a training, within 2 % of the
        time so far. matplotlib draws in one thread: this is called from the one that trains,
        between two calls."""
        now = time.monotonic()
        waited = ended or now - self.drawn_at >= _EVERY
        if waited and self.spent + self.last <= _SHARE * (now - self.began):
            if devices.first_process():
                self.draw()

    def draw(self) -> None:
        """Write the figure as it is now; a full disk costs the figure, not the run."""
        start = time.monotonic()
        figure = progress_figure(list(filter(self.of, self.log.events)), self.tests)
        path = self.log.workdir / "progress.png"
        try:
            if figure is not None:
                save(figure, path, self.formats)
        except OSError as error:
            self.log.line(f"warning {path}: cannot be written: {error.strerror}")
        self.drawn_at = time.monotonic()
        self.last = self.drawn_at - start
        self.spent += self.last


def to_open(path: Path, *names: str) -> list[str]:
    """A line for each file to look at first: the report of a run, then what of `names` is
    there."""
    report = "report.html" if (path / "report.html").exists() else "report.md"
    found = [path / name for name in (report, *names) if (path / name).exists()]
    return [f"open   {one}" for one in found]
