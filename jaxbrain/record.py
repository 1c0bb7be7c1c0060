"""What a run directory holds: its files, and the entries of `results.json`."""

import csv
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain import metrics, report, stats
from jaxbrain.errors import ConfigError
from jaxbrain.types import Counts


def prepare_workdir(path: str | Path) -> Path:
    """Make the run directory; a run that is there already keeps its files under
    `<path>_old<N>`.

    Raises:
        ConfigError: if the path cannot be written, is a file, or holds other things.
    """
    path = Path(path).absolute()
    try:
        if path.is_dir() and any(path.iterdir()):
            if not (path / "config.json").is_file() or not (path / "samples").is_dir():
                raise ConfigError(
                    f"workdir {path}: holds files that are no run: name an empty or new directory"
                )
            number = 1
            while (kept := path.with_name(f"{path.name}_old{number}")).exists():
                number += 1
            path.rename(kept)
        # Exclusive: of two runs that start at once, one is refused and none is mixed.
        (path / "samples").mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"workdir {path}: cannot be written: {error.strerror}") from error
    return path


def write_json(path: Path, value) -> None:
    """Whole or not at all: a reader never sees half a file."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, path)


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    """Comma-separated rows; file names that are no UTF-8 are written with escapes."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def environment() -> dict:
    """Versions, devices and what else bits depend on."""
    packages = "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow"
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "cpu_count": os.cpu_count(),
        "NPROC": os.environ.get("NPROC"),
        "threefry_partitionable": bool(jax.config.jax_threefry_partitionable),
    }


def commit() -> str | None:
    """The commit of the source tree that runs, where it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _count(probability, label, mask) -> Counts:
    return jax.device_get(metrics.counts(jnp.asarray(probability), label, jnp.float32(mask)))


def _accuracy(counts) -> float | None:
    matrix = np.asarray(counts.confusion, np.float64)
    return float(np.trace(matrix) / matrix.sum()) if matrix.any() else None


def seed_result(seed: int, label, real: np.ndarray, probability: np.ndarray) -> dict:
    """The entry of one seed in `results.json`, from its test set.

    label: [N] int32; real: [N] bool, False for synthetic images; probability: [N, K].
    """
    label = jnp.asarray(label)
    everything = _count(probability, label, np.ones(len(real)))
    matrix = everything.confusion.astype(int)
    result = {"seed": seed}
    if len(matrix) == 2:
        (tn, fp), (fn, tp) = matrix.tolist()
        result["confusion"] = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    return result | {
        "matrix": matrix.tolist(),
        "accuracy": _accuracy(everything),
        "accuracy_real": _accuracy(_count(probability, label, real)),
        "accuracy_synthetic": _accuracy(_count(probability, label, ~real)),
        "num_test": int(len(real)),
        "num_test_real": int(real.sum()),
        "metrics": metrics.summarise(everything),
    }


def summary(seeds: list[dict]) -> dict:
    """Over the seeds; the interval is Wilson's for the mean accuracy on one test set,
    since test sets of different seeds share images."""
    accuracy = [result["accuracy"] for result in seeds]
    mean, total = float(np.mean(accuracy)), seeds[0]["num_test"]
    low, high = stats.wilson(mean * total, total)
    summary = {
        "num_seeds": len(seeds),
        "accuracy": mean,
        "accuracy_sd": float(np.std(accuracy, ddof=1)) if len(seeds) > 1 else None,
        "accuracy_min": min(accuracy),
        "accuracy_max": max(accuracy),
        "interval": [low, high],
        "num_test": total,
        "paper_accuracy": report.PAPER_ACCURACY,
        "paper_inside_range": min(accuracy) <= report.PAPER_ACCURACY <= max(accuracy),
        "paper_inside_interval": low <= report.PAPER_ACCURACY <= high,
    }
    for name in ("accuracy_real", "accuracy_synthetic", "accuracy_fresh"):
        values = [r[name] for r in seeds if r.get(name) is not None]
        if values:
            summary[name] = float(np.mean(values))
    return summary


class Log:
    """The console, `metrics.jsonl`, seconds by name, and compiled trainings."""

    def __init__(self, workdir: Path, console=None):
        from rich.console import Console

        self.workdir, self.console = workdir, console or Console()
        self.events: list[dict] = []
        self.seconds: dict[str, float] = {}
        self.programs: dict[str, Callable] = {}
        self.file = (workdir / "metrics.jsonl").open("w", encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def line(self, text: str) -> None:
        """A line as it stands: no markup, no wrapping of paths."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, text: str, last: bool) -> None:
        """One live line on a terminal, a line each time elsewhere."""
        if self.console.is_terminal:
            room = self.console.width - 1
            text = text[:room].ljust(room)
            self.console.out(text, end="\n" if last else "\r", highlight=False)
        else:
            self.line(text)

    def event(self, event: dict) -> None:
        """A row of `metrics.jsonl`, on the disk at once."""
        self.events.append(event)
        self.file.write(json.dumps(event) + "\n")
        self.file.flush()

    def clock(self, name: str, seconds: float) -> None:
        """Add to the seconds of `name`, for `env.json`."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
