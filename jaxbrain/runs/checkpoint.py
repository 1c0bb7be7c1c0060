"""States on disk: Orbax, with digests and a way back.

Orbax writes a step whole or not at all, but it restores flipped bytes as they are and does
not fall back from a damaged step. So every step gets a manifest of its files, and the newest
step whose files are those of its manifest is the one that counts.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxbrain.errors import CheckpointError, ConfigError

MANIFEST = "manifest.sha256"
_FINISHED = "finished"
_UNFINISHED = ".orbax-checkpoint-tmp"


class Restored(NamedTuple):
    """A verified checkpoint: its step, the tree of arrays, and what was saved beside it."""

    step: int
    state: Any
    meta: dict


def _leaves(tree) -> list[list]:
    """[path, dtype, shape] of every leaf."""
    return [
        [jax.tree_util.keystr(path), str(leaf.dtype), list(leaf.shape)]
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def _manifest(step: Path) -> bytes:
    """A line for every file of a step: its SHA-256 and its name."""
    lines = []
    for path in sorted(step.rglob("*")):
        name = path.relative_to(step).as_posix()
        if path.is_file() and name != MANIFEST:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines).encode()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _refuse_damaged(step: Path) -> None:
    """Raise a CheckpointError unless the files of a step are those that were saved."""
    try:
        saved, found = (step / MANIFEST).read_bytes(), _manifest(step)
    except FileNotFoundError:
        raise CheckpointError(f"{MANIFEST} is missing") from None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error}") from error
    if saved != found:
        before, now = (set(text.decode("utf-8", "replace").splitlines()) for text in (saved, found))
        names = sorted({line.split("  ", 1)[-1] for line in before ^ now})
        raise CheckpointError(f"{', '.join(names)}: not what {MANIFEST} says")


# The score of a checkpoint that has none: never the best.
NO_SCORE = 1e30


class Store:
    """The checkpoints of one training, in a directory of their own."""

    def __init__(
        self,
        path: str | Path,
        *,
        keep: int = 2,
        best: str | None = None,
        about: dict | None = None,
        say: Callable[[str], None] = lambda text: None,
    ):
        """Open or make a directory of checkpoints.

        Args:
            path: of the directory.
            keep: how many of the newest are kept.
            best: name of the number in `meta` whose smallest value marks one that is kept
                too; None keeps the newest alone.
            about: JSON values written into every step, such as the configuration.
            say: called with a line for everything that is left out or repaired.
        """
        self.path, self.say, self._keep, self.best = Path(path).absolute(), say, keep, best
        self._about = about or {}
        self._open: ocp.CheckpointManager | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be made: {error.strerror}") from error
        self._sweep("ignored unfinished checkpoint")

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        if self._open is not None:
            self._open.close()

    def _manager(self) -> ocp.CheckpointManager:
        """Opened when damaged steps are out of its way: it reads them all."""
        if self._open is None:
            policies = [checkpoint_managers.LatestN(self._keep)]
            if self.best is not None:
                policies.append(
                    checkpoint_managers.BestN(get_metric_fn=self._score, reverse=True, n=1)
                )
            # Each process by itself: what is saved here is held whole by every one.
            own = jax.process_index()
            self._open = ocp.CheckpointManager(
                self.path,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                    best_fn=self.best and self._score,
                    create=False,
                    enable_async_checkpointing=False,
                    multiprocessing_options=ocp.options.MultiprocessingOptions(
                        primary_host=own,
                        active_processes={own},
                        barrier_sync_key_prefix=f"process{own}",
                    ),
                ),
            )
        return self._open

    def _score(self, metrics: dict) -> float:
        return metrics[self.best]

    def _sweep(self, text: str) -> None:
        """Remove what an interrupted save left."""
        for path in sorted(self.path.glob(f"*{_UNFINISHED}*")):
            self.say(f"{text} {path.name.split(_UNFINISHED)[0]} in {self.path}")
            shutil.rmtree(path, ignore_errors=True)

    def steps(self) -> list[int]:
        """All steps there are, ascending, damaged ones too."""
        return sorted(int(p.name) for p in self.path.iterdir() if p.is_dir() and p.name.isdigit())

    def save(self, step: int, state, meta: dict) -> None:
        """Write a step: complete, or not there.

        Args:
            step: larger than all steps saved before.
            state: a tree of arrays.
            meta: JSON values kept beside it, such as the configuration.

        Raises:
            CheckpointError: if it cannot be written; the steps before stay.
        """
        state = jax.device_get(state)
        entry = {"step": step, "leaves": _leaves(state), "meta": meta, "about": self._about}
        metrics = {self.best: meta[self.best]} if self.best else None
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            if needed > shutil.disk_usage(self.path).free:
                raise OSError("the disk is full")
            manager = self._manager()
            # It writes pages about what is raised here as one error.
            with _quiet():
                manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(entry)
                    ),
                    metrics=metrics,
                    force=True,
                )
                manager.wait_until_finished()
            folder = self.path / str(step)
            _write(folder / MANIFEST, _manifest(folder))
            _write(self.path / _FINISHED, str(step).encode())
        except Exception as error:
            # What is left of it would keep a full disk full.
            self._sweep("removed unfinished checkpoint")
            free = shutil.disk_usage(self.path).free
            raise CheckpointError(
                f"{self.path}: step {step} cannot be written ({needed} bytes needed, {free} "
                f"free): {_first(error)}: free some space; the same command goes on from the "
                "last step saved"
            ) from error

    def least(self, like) -> Restored | None:
        """The step of the smallest `best` among those that are as they were saved; the newest
        where none has one.

        Raises:
            CheckpointError, ConfigError: as `newest`.
        """
        newest = self.newest(like)
        found = [] if newest is None else [newest]
        for step in self.steps()[: -1 if found else None]:
            try:
                _refuse_damaged(self.path / str(step))
                found.append(self._read(step, like))
            except CheckpointError as error:
                self.say(f"damaged checkpoint {self.path / str(step)}: {error}: left out")
        scored = [one for one in found if one.meta.get(self.best, NO_SCORE) < NO_SCORE]
        return min(scored, key=lambda one: one.meta[self.best], default=newest)

    def at(self, step: int, like) -> Restored:
        """One step.

        Raises:
            CheckpointError: if it is not there, or is not as it was saved.
            ConfigError: as `newest`.
        """
        if step not in (steps := self.steps()):
            known = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(
                f"{self.path}: no step {step}: expected one that is kept: {known}"
            )
        try:
            _refuse_damaged(self.path / str(step))
        except CheckpointError as error:
            raise CheckpointError(f"{self.path / str(step)}: {error}") from error
        return self._read(step, like)

    def newest(self, like) -> Restored | None:
        """The newest step that is as it was saved; None if there is no step at all.

        Damaged steps are named and moved aside, to `<step>.damaged`.

        Args:
            like: a tree of the same structure, shapes and dtypes (its values are not used).

        Raises:
            CheckpointError: if there are steps and all are damaged.
            ConfigError: if the step holds arrays of other names, shapes or dtypes.
        """
        steps = self.steps()
        saved = self._finished()
        aside = any(self.path.glob(f"{saved}.damaged*"))
        if max(steps, default=-1) < saved < 2**63 and not aside:
            self.say(f"missing checkpoint {self.path / str(saved)}: it was saved, and is gone")
            if not steps:
                raise CheckpointError(
                    f"{self.path}: step {saved} was saved and no step is left: bring one back, or "
                    "start again with --fresh"
                )
        for step in reversed(steps):
            folder = self.path / str(step)
            if step > saved and not (folder / MANIFEST).exists():
                self.say(f"ignored unfinished checkpoint {step} in {self.path}")
                shutil.rmtree(folder)
                continue
            try:
                _refuse_damaged(folder)
                return self._read(step, like)
            except CheckpointError as error:
                self.say(f"damaged checkpoint {folder}: {error}: left out")
                self._aside(folder)
        if damaged := sorted(path.name for path in self.path.glob("*.damaged*")):
            raise CheckpointError(
                f"{self.path}: no checkpoint is as it was saved ({', '.join(damaged)}): bring "
                "one back, or start again with --fresh"
            )
        return None

    def _finished(self) -> int:
        """The last step whose save was seen to its end, manifest and all."""
        try:
            return int((self.path / _FINISHED).read_bytes())
        except FileNotFoundError:
            return -1
        except (OSError, ValueError):
            # Damaged: nothing may count as unfinished.
            return 2**63

    def _aside(self, folder: Path) -> None:
        target, number = folder.with_name(f"{folder.name}.damaged"), 1
        while target.exists():
            number += 1
            target = folder.with_name(f"{folder.name}.damaged{number}")
        folder.rename(target)
        if self._open is not None:
            self._open.close()
            self._open = None

    def _read(self, step: int, like) -> Restored:
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        entry = self._part(step, meta=ocp.args.JsonRestore()).meta
        saved, wanted = entry["leaves"], _leaves(target)
        for one, two in zip(saved, wanted, strict=False):
            if one != two:
                raise ConfigError(
                    f"{self.path / str(step)}: holds {' '.join(map(str, one))}: expected "
                    f"{' '.join(map(str, two))}: it belongs to another configuration"
                )
        if len(saved) != len(wanted):
            raise ConfigError(
                f"{self.path / str(step)}: holds {len(saved)} arrays: expected {len(wanted)}: it "
                "belongs to another configuration"
            )
        state = self._part(step, state=ocp.args.StandardRestore(target)).state
        return Restored(step, jax.tree.map(jax.device_put, state), entry["meta"])

    def _part(self, step: int, **wanted):
        try:
            return self._manager().restore(step, args=ocp.args.Composite(**wanted))
        except Exception as error:
            raise CheckpointError(_first(error)) from error


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def restore(path: str | Path, like):
    """The newest state of a training.

    Args:
        path: a directory of a run, such as `checkpoints/seed0/gan`.
        like: a state of the same structure, shapes and dtypes (its values are not used),
            such as `gan.init(cfg, key)` or `jax.eval_shape(...)` of it.

    Raises:
        CheckpointError: if it is missing or damaged.
        ConfigError: if it holds arrays of other names, shapes or dtypes.
    """
    path = Path(path).absolute()
    found = None
    if path.is_dir():
        with Store(path) as store:
            found = store.newest(like)
    if found is None:
        raise CheckpointError(f"{path}: no checkpoint there")
    return found.state
