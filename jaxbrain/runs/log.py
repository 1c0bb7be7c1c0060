"""The console, `log.txt` and `metrics.jsonl` of a run."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from jaxbrain.runs.board import Board
from jaxbrain.runs.files import write_csv, write_text
from jaxbrain.runs.screen import Bar, Clock, Screen, ticking

# Off a terminal, a line of progress at least so often; of what is waited for too.
_QUIET, _WAIT = 8.0, 10.0
_ORDER = {"gan": 0, "classifier": 1}


class Log:
    """What a run says, its reports by lane, and seconds by name.

    Reports of an earlier process of the same run are read again.
    """

    def __init__(self, workdir: Path, console=None):
        from rich.console import Console

        self.workdir, self.console = workdir, console or Console()
        self.screen = Screen(self.console)
        # Names of the trainings of the run, and of those that have ended.
        self.planned: frozenset[str] = frozenset()
        self.ended: set[str] = set()
        # What is waited for, the last begun at the end.
        self._clocks: list[Clock] = []
        self.seconds: dict[str, float] = {}
        self.text = (workdir / "log.txt").open("a", encoding="utf-8")
        self.path = workdir / "metrics.jsonl"
        self._reports: dict[str, list[dict]] = {}
        self._said = time.monotonic()
        # Until it was said where the run goes on.
        self.goes_on = False
        self.board: Board | None = None
        self._read()

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        if self.board is not None:
            self.board.close()
        # For a spreadsheet; a full disk costs no more than this.
        if events := self.events:
            names = list(dict.fromkeys(name for event in events for name in event))
            with contextlib.suppress(OSError):
                rows = [[event.get(name, "") for name in names] for event in events]
                write_csv(self.workdir / "metrics.csv", names, rows)
        self.text.close()

    def show_on(self, board: Board) -> None:
        """Write every event to TensorBoard's files too, from the first on."""
        self.board = board
        for event in self.events:
            board.event(event)

    def _read(self) -> None:
        """The events there are; a line that a killed process left half written, and all
        after it, do not count."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    event = json.loads(line)
                    (event["seed"], event["training"], event["step"])
                    self._reports.setdefault(event["lane"], []).append(event)
                except (ValueError, KeyError, TypeError):
                    break

    @property
    def events(self) -> list[dict]:
        """The reports of all trainings, by seed, training and step."""

        def place(event: dict) -> tuple:
            training = _ORDER.get(event["training"], 2)
            return event["seed"], training, event["lane"], event["step"]

        return sorted((one for own in self._reports.values() for one in own), key=place)

    def of(self, lane: str) -> list[dict]:
        """The reports of one training."""
        return list(self._reports.get(lane, []))

    def restore(self, lane: str, events: list[dict]) -> None:
        """Put what a training had reported when it was saved in place of what the file says:
        it may say more, or have lost some."""
        if self.of(lane) != events:
            self._reports[lane] = list(events)
            if self.board is not None:
                self.board.again(lane, events)
            write_text(self.path, "".join(json.dumps(event) + "\n" for event in self.events))

    def event(self, event: dict) -> None:
        """A row of `metrics.jsonl`, on the disk at once."""
        self._reports.setdefault(event["lane"], []).append(event)
        if self.board is not None:
            self.board.event(event)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.line(f"warning {self.path}: cannot be written: {error.strerror}")

    def line(self, text: str) -> None:
        """A line as it stands: no markup, no wrapping of paths; names that are no UTF-8 with
        escapes."""
        text = text.encode("utf-8", "backslashreplace").decode()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self.note(text)

    def note(self, text: str) -> None:
        """A line of `log.txt` alone."""
        self._said = time.monotonic()
        # A full disk must not cost the training: the checkpoints say so where it matters.
        with contextlib.suppress(OSError):
            self.text.write(text + "\n")
            self.text.flush()

    def place(self, names: list[str]) -> str:
        """Which of the run's trainings some are, such as "training 2 of 4"; empty where it is
        not known how many there will be."""
        if not names or not self.planned.issuperset(names):
            return ""
        first = len(self.ended & self.planned - set(names)) + 1
        last, of = first + len(names) - 1, len(self.planned)
        return f"training {first} of {of}" if first == last else f"trainings {first}-{last} of {of}"

    @contextlib.contextmanager
    def bar(self, title: str) -> Iterator[Bar]:
        """Inside, a terminal shows a bar, which `progress` moves."""
        bar = Bar(title)
        with self.screen.showing(bar):
            yield bar

    @contextlib.contextmanager
    def waiting(self, text: str, *, say: bool = True) -> Iterator[None]:
        """Inside, a terminal shows a clock; elsewhere a line says now and then how long it has
        taken, where nothing else was said.

        say: say at once what is waited for.
        """
        clock = Clock(text, time.monotonic)

        def tick() -> None:
            # One is enough, and a bar's lines are too.
            if self._clocks[-1] is clock and time.monotonic() - self._said > _WAIT - 1:
                self.line(str(clock))

        if self.screen.works:
            if say:
                self.note(text)
            with self.screen.showing(clock):
                yield
            return
        if say:
            self.line(text)
        self._clocks.append(clock)
        try:
            with ticking(tick, _WAIT):
                yield
        finally:
            self._clocks.remove(clock)

    def progress(self, text: str, *, report: bool, last: bool = False) -> None:
        """A line for every report, and between two where nothing was said for long. A terminal
        shows a bar meanwhile, and keeps the last line alone."""
        if self.screen.works:
            if report:
                self.note(text)
            if last:
                text = text[: self.console.width - 1]
                self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif report or time.monotonic() - self._said > _QUIET:
            self.line(text)

    def clock(self, name: str, seconds: float) -> None:
        """Add to the seconds of `name`, for `env.json`."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
