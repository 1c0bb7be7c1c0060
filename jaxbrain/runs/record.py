"""What a run directory holds: its files, and the entries of `results.json`."""

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.errors import CheckpointError
from jaxbrain.reports import paper as report
from jaxbrain.scoring import intervals, metrics
from jaxbrain.types import Counts


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: a reader never sees half a file."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value) -> None:
    """Whole or not at all; NaN, which is no JSON, is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _seal(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, value) -> None:
    """`write_json` with a digest of the value, which `read_sealed` checks."""
    write_json(path, {"sha256": _seal(value), "value": value})


def read_sealed(path: Path):
    """What `write_sealed` wrote; None where there is no such file.

    Raises:
        CheckpointError: if it is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["sha256"] == _seal(content["value"]):
            return content["value"]
        problem = "its digest does not fit"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = repr(error)
    raise CheckpointError(f"{path}: not what was saved: {problem}")


def cell(value):
    """What a CSV file holds for a value. Text gets an apostrophe where a spreadsheet would
    take it for a formula, and escapes where it is no UTF-8."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    if text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        try:
            float(text)
        except ValueError:
            return f"'{text}"
    return text


def file_name(name: str, number: int) -> str:
    """A class's name where it can be part of a file's, else its number."""
    return name if re.fullmatch(r"[\w() -]{1,60}", name, re.ASCII) else f"class{number}"


def write_csv(path: Path, header: list[str], rows: Iterable[list]) -> None:
    """Comma-separated rows, whole or not at all; `rows` may be made as they are written."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(cell, header))
        writer.writerows(map(cell, row) for row in rows)
    os.replace(temporary, path)


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
        done = subprocess.run(command, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


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
    low, high = intervals.wilson(mean * total, total)
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
    """The console and `log.txt`, `metrics.jsonl`, seconds by name, and compiled trainings.

    Events of an earlier process of the same run are read again.
    """

    def __init__(self, workdir: Path, console=None):
        from rich.console import Console

        self.workdir, self.console = workdir, console or Console()
        self.seconds: dict[str, float] = {}
        self.programs: dict[str, Callable] = {}
        self.text = (workdir / "log.txt").open("a", encoding="utf-8")
        self.path = workdir / "metrics.jsonl"
        self.events = self._read()

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.text.close()

    def _read(self) -> list[dict]:
        """The events there are; a line that a killed process left half written, and all
        after it, do not count."""
        events = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    event = json.loads(line)
                    (event["seed"], event["training"], event["step"])
                except (ValueError, KeyError, TypeError):
                    break
                events.append(event)
        return events

    def restore(self, seed: int, training: str, events: list[dict]) -> None:
        """Put what a training had reported at a checkpoint in place of what the file says:
        it may say more, or have lost some."""
        own = seed, training
        kept = [event for event in self.events if (event["seed"], event["training"]) != own]
        order = {"gan": 0, "classifier": 1}
        self.events = sorted(
            kept + events, key=lambda one: (one["seed"], order[one["training"]], one["step"])
        )
        write_text(self.path, "".join(json.dumps(event) + "\n" for event in self.events))

    def of(self, seed: int, training: str) -> list[dict]:
        """The events of one training."""
        own = seed, training
        return [event for event in self.events if (event["seed"], event["training"]) == own]

    def line(self, text: str) -> None:
        """A line as it stands: no markup, no wrapping of paths; names that are no UTF-8 with
        escapes."""
        text = text.encode("utf-8", "backslashreplace").decode()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._note(text)

    def _note(self, text: str) -> None:
        # A full disk must not cost the training: the checkpoints say so where it matters.
        with contextlib.suppress(OSError):
            self.text.write(text + "\n")
            self.text.flush()

    def progress(self, text: str, last: bool) -> None:
        """One live line on a terminal, a line each time elsewhere."""
        if self.console.is_terminal:
            self._note(text)
            room = self.console.width - 1
            text = text[:room].ljust(room)
            self.console.out(text, end="\n" if last else "\r", highlight=False)
        else:
            self.line(text)

    def event(self, event: dict) -> None:
        """A row of `metrics.jsonl`, on the disk at once."""
        self.events.append(event)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.line(f"warning {self.path}: cannot be written: {error.strerror}")

    def clock(self, name: str, seconds: float) -> None:
        """Add to the seconds of `name`, for `env.json`."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
