"""What every benchmark shares: presets, interleaved rounds, tables, JSON files, plots."""

import contextlib
import dataclasses
import datetime
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxbrain import ConfigError, JaxbrainError, config
from jaxbrain.runs import environment as about
from jaxbrain.runs import files

Preset = Literal["tiny", "cpu", "recommended", "paper"]


@dataclasses.dataclass(frozen=True)
class Output:
    """Flags of every benchmark."""

    json: Path | None = None  # file for the result; a plot goes beside it
    rounds: int = 7  # interleaved rounds; medians are reported


def preset(name: str) -> config.Config:
    """The configuration of a preset; `cpu` with the paper's CNN, narrow and trained as `tiny` has
    it: that is what the peers in PyTorch are, and what earlier results were measured with. Its
    GAN is `recommended`'s, narrow, and pays its penalty at every step, as theirs does."""
    cfg = getattr(config, name)()
    if name != "cpu":
        return cfg
    small = config.tiny()
    size = {"image_size": 64, "projection": 256, "steps": 2400}
    narrow = dataclasses.replace(small.gan, augment="diffaug", r1_every=1, **size)
    return dataclasses.replace(cfg, gan=narrow, cnn=small.cnn, classifier=small.classifier)


def change(cfg: config.Config, section: str, **fields) -> config.Config:
    """A copy of `cfg` with fields of one section replaced."""
    part = dataclasses.replace(getattr(cfg, section), **fields)
    return dataclasses.replace(cfg, **{section: part})


def main(kind: type, run: Callable) -> None:
    """Parse the command line as `kind`, call `run(options)`; refusals as one message."""
    options = tyro.cli(kind, description=sys.modules["__main__"].__doc__)
    try:
        if options.rounds < 1:
            raise ConfigError(f"rounds is {options.rounds}: expected at least 1")
        run(options)
    except JaxbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def seconds(function: Callable, *args) -> float:
    """Wall time of one call, results ready."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


@contextlib.contextmanager
def limit(seconds: float):
    """A `TimeoutError` inside when so many seconds have passed (on the main thread)."""

    def stop(*_):
        raise TimeoutError(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def interleaved(functions: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Times of each function in every round; a function returns its own seconds.

    All run once in each round, so that a machine that gets slower slows all of them.
    """
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(function())
    return times


def milliseconds(times: dict[str, list[float]]) -> dict[str, float]:
    """The median of each, in ms."""
    return {name: round(float(np.median(values)) * 1e3, 2) for name, values in times.items()}


def environment() -> dict:
    """Date, commit, machine, versions: stands in every JSON file."""
    name = Path(sys.argv[0]).stem
    return {
        "date": datetime.date.today().isoformat(),
        "commit": about.commit(),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        **about.environment(),
    }


def table(title: str, columns: list[str], rows: list[list]) -> None:
    """Print a table; numbers to the right."""
    shown = Table()
    for i, column in enumerate(columns):
        shown.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row))
    width = None if Console().is_terminal else 160
    console = Console(width=width)
    console.print(f"\n{title}", highlight=False)
    console.print(shown)


def save(options: Output, result: dict, draw: Callable | None = None) -> None:
    """Write `result` as JSON, and what `draw(axes)` draws beside it, if a file is named."""
    if options.json is None:
        return
    path = options.json
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, environment() | result)
    except OSError as error:
        raise ConfigError(f"json {path}: cannot be written: {error.strerror}") from error
    print(f"wrote {path}")
    if draw is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    draw(figure.add_subplot())
    picture = path.with_suffix(".png")
    figure.savefig(picture, dpi=120)
    print(f"wrote {picture}")
