"""A study's memory on disk: answers and drawn images, in files that are whole or not there."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxbrain.runs.files import whole
from jaxbrain.runs.log import Log
from jaxbrain.runs.workdir import Stop

# What is waited for, by kind of part.
_WHAT = {"parts": "prepares cell", "images": "prepares fit"}


def file_of(name: str) -> str:
    """The file of one fit or cell: "cgan/all/true/0/0" -> "cgan+all+true+0+0". No method's name
    holds a plus, so no two share a file."""
    return name.replace("/", "+")


class Parts:
    """`study`'s keep. A training that is watched has a file of its own, beside what it
    reported; quick answers are kept many to a file.

    Args:
        path: of the run; `images/`, `parts/` and what else is kept are made there.
        num_cells: in all, for what is said.
        others: directories of the same study, whose parts count too.
    """

    def __init__(self, path: Path, log: Log, stop: Stop, num_cells: int, others=()):
        self.path, self.log, self.stop, self.num_cells = path, log, stop, num_cells
        self.others = list(others)
        self.done = 0
        self.seconds: dict[str, float] = {}
        # Seconds of parts that the part in work called for.
        self._inner = 0.0
        for name in ("images", "parts"):
            (path / name).mkdir(exist_ok=True)

    def found(self) -> int:
        """How many cells an earlier process answered."""
        done = set()
        for folder in (self.path, *self.others):
            for path in (folder / "parts").glob("*.npz"):
                with contextlib.suppress(ValueError):
                    done |= set(self.read(path)[0])
        return len(done)

    def __call__(self, kind: str, names: list[str], make: Callable, whole: str = "") -> dict:
        """See `study.study`."""
        self.done += len(names) if kind == "parts" else 0
        found: dict[str, np.ndarray | str] = {}
        whole = file_of(whole)
        files = {whole: names} if whole else {file_of(name): [name] for name in names}
        (self.path / kind).mkdir(exist_ok=True)
        missing = []
        for file, members in files.items():
            known = self._load(self.path / kind / f"{file}.npz", members)
            if known is None:
                missing += members
            else:
                found |= known
                self.log.ended |= set(members)
        if missing:
            found |= self._made(kind, missing, make, whole)
        return found

    def _made(self, kind: str, names: list[str], make: Callable, whole: str) -> dict:
        start, outer, self._inner = time.perf_counter(), self._inner, 0.0
        many = f" and {len(names) - 1} more" if len(names) > 1 else ""
        with self.log.waiting(f"{_WHAT.get(kind, kind)} {names[0]}{many}", say=False):
            made = make(names)
        took = time.perf_counter() - start
        # A part may call for the images of its fits, which are a part of their own.
        spent, self._inner = took - self._inner, outer + took
        self._spent(kind, names[0], spent)
        files = {whole: made} if whole else {file_of(n): {n: one} for n, one in made.items()}
        for file, values in files.items():
            self._write(self.path / kind / f"{file}.npz", values, spent / len(files))
        self._forget(made)
        count = f"cells {self.done}/{self.num_cells}" if kind == "parts" else f"{len(names)} fits"
        # Looking for copies takes a moment.
        if kind != "copies":
            self.log.line(f"{count}  {whole or names[0]}  {spent:.1f} s")
        self.stop.check(f"after {self.done} of {self.num_cells} cells, saved")
        return made

    def _forget(self, answers: dict[str, np.ndarray | str]) -> None:
        """Remove the checkpoints of what is done; of what diverged they are the evidence."""
        for name, value in answers.items():
            if not isinstance(value, str):
                shutil.rmtree(self.path / "checkpoints" / file_of(name), ignore_errors=True)

    def image(self, fit: str) -> np.ndarray | None:
        """What a fit drew, [M, S, S, 1] uint8, where it is kept."""
        found = self._load(self.path / "images" / f"{file_of(fit)}.npz", [fit])
        value = found and found[fit]
        return value if isinstance(value, np.ndarray) else None

    def _spent(self, kind: str, name: str, seconds: float) -> None:
        """By the classifier of a cell (protocol/generator/classifier/...), or the generator of
        a fit (generator/scope/...)."""
        parts = name.split("/")
        name = parts[2] if kind == "parts" else parts[0]
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _write(self, path: Path, values: dict[str, np.ndarray | str], spent: float) -> None:
        names = list(values)
        about = {
            "names": names,
            "seconds": spent,
            "diverged": {name: one for name, one in values.items() if isinstance(one, str)},
            "reports": {name: events for name in names if (events := self.log.of(name))},
        }
        arrays = {
            f"value{i}": one for i, one in enumerate(values.values()) if not isinstance(one, str)
        }
        path.parent.mkdir(exist_ok=True)
        with whole(path, "wb") as file:
            np.savez_compressed(file, about=np.asarray(json.dumps(about)), **arrays)

    def _load(self, path: Path, names: list[str]) -> dict | None:
        """What a file holds of `names`; None where it is missing, or damaged and set aside."""
        # Processes of one run must compute alike, and the first alone has files.
        if jax.process_count() > 1:
            return None
        if not path.is_file():
            theirs = (folder / path.relative_to(self.path) for folder in self.others)
            if (made := next(filter(Path.is_file, theirs), None)) is None:
                return None
            path.parent.mkdir(exist_ok=True)
            with whole(path, "wb") as file:
                file.write(made.read_bytes())
        try:
            found, values, about = self.read(path)
            if found != names:
                raise ValueError(f"holds {found[:2]}..., expected {names[:2]}...")
        except ValueError as error:
            aside = path.with_suffix(".damaged")
            self.log.line(f"damaged {path}: {error}: kept as {aside.name}, and computed again")
            os.replace(path, aside)
            return None
        for name, events in about["reports"].items():
            self.log.restore(name, events)
        # A kill may have come before.
        self._forget(values)
        self._spent(path.parent.name, names[0], about["seconds"])
        return values

    @staticmethod
    def read(path: Path) -> tuple[list[str], dict, dict]:
        """Names, values by name, and what was kept beside them; ValueError if it is damaged
        (zip keeps checksums)."""
        try:
            # Opened here: NumPy leaves a file that it refuses open.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(file["about"].item())
                names, diverged = about["names"], about["diverged"]
                values = {
                    name: diverged[name] if name in diverged else file[f"value{i}"]
                    for i, name in enumerate(names)
                }
                return names, values, about
        # A damaged zip raises almost anything.
        except Exception as error:
            raise ValueError(f"cannot be read: {error}") from error
