"""The directory of a run: one process at a time, the same run goes on, nothing is lost."""

import contextlib
import csv
import datetime
import json
import math
import os
import platform
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxbrain.errors import ConfigError, StoppedError, user
from jaxbrain.runs import environment, files

try:
    import fcntl
except ImportError:  # Windows has none: there nothing holds two runs apart.
    fcntl = None

LOCK, STATUS, LOG, CONFIG, IMAGES = "LOCK", "STATUS", "log.txt", "config.json", "images.csv"
# Of a run in shares, each in a directory of its own.
SHARDS = "shards"
# What a run that was killed while it began, or its shares, may have left.
_BEGUN = {LOCK, STATUS, LOG, IMAGES, SHARDS}
# Where images are kept changes no number.
_FREE = {"config.data.placement", "study.chunk"}


class Stop:
    """Set by SIGTERM and Ctrl-C while a run is open: finish the step, save, leave. A second
    signal ends the process at once."""

    def __init__(self):
        self.signal: int | None = None

    def __call__(self, number: int, frame) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def check(self, where: str) -> None:
        """Raise `StoppedError` if a signal came; `where` says what is saved."""
        if self.signal is not None:
            raise StoppedError(self.signal, where)


class Workdir(NamedTuple):
    """An open directory. resumed: whether this run was begun there before."""

    path: Path
    resumed: bool
    stop: Stop


@contextlib.contextmanager
def opened(
    path: str | Path,
    kind: str,
    settings: dict,
    images: list[list],
    *,
    command: str = "",
    source: str = "",
    classes: Sequence[str] = (),
    fresh: bool = False,
    say: Callable[[str], None],
) -> Iterator[Workdir]:
    """The directory of this run, new or to go on with, for this process alone.

    Args:
        path: missing, empty, or of a run of the same kind, settings and images.
        kind: "paper" or "ladder".
        settings: JSON values that must be the same to go on.
        images: rows [id, class, group, digest] of the real images.
        command: the command line, for `config.json`; source: where the images are, likewise;
            classes: their names by number, likewise.
        fresh: keep a run that is there under `<path>_old<N>` and begin anew.
        say: called with lines about what was found.

    Raises:
        ConfigError: if the directory is in use, cannot be written, or holds something else
            (naming the fields or images that differ).
    """
    path = Path(path).absolute()
    settings = json.loads(json.dumps({"kind": kind} | settings))
    stop = Stop()
    with _writing(path):
        names = {one.name for one in path.iterdir()} if os.path.isdir(path) else set()
    if not os.path.isfile(path / CONFIG):
        if {name for name in names if not name.endswith(".tmp")} - _BEGUN:
            raise ConfigError(
                f"workdir {path}: holds files that are no run: name an empty or new directory"
            )
    elif fresh:
        with locked(path), _writing(path.parent):
            say(f"kept   the run that was there: {_keep_old(path)}")
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)
        begun = any(path.iterdir())
    with locked(path):
        if os.path.isfile(path / CONFIG):
            _compare(path, settings, images, say)
        else:
            files.write_csv(path / IMAGES, ["id", "class", "group", "sha256"], images)
            about = {"command": command} | environment.code()
            about |= {"started": _now(), "floats": _floats()}
            about |= {"source": source} if source else {}
            about |= {"classes": list(classes)} if classes else {}
            files.write_json(path / CONFIG, about | settings)
        with _status(path, stop):
            yield Workdir(path, begun, stop)


def beside(path: Path, own: Path, kind: str, settings: dict, images: list[list], say) -> list[Path]:
    """The directories of a run in shares but `own`: `path` itself, and every share in it.

    Raises:
        ConfigError: if one is of another run (naming what differs); without a share of one's
            own, if one is at work.
    """
    settings = json.loads(json.dumps({"kind": kind} | settings))
    found = [path, *sorted((path / SHARDS).glob("*of*"))]
    found = [one for one in found if one != own and os.path.isfile(one / CONFIG)]
    for one in found:
        _compare(one, settings, images, say)
        if own == path and os.path.isfile(one / LOCK):
            # Refused while its process lives: else what it is at would be computed twice.
            with locked(one):
                pass
    return found


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"workdir {path}: cannot be written by user {user()}: {error.strerror}"
        ) from error


def _keep_old(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}_old{number}")).exists():
        number += 1
    path.rename(kept)
    (kept / LOCK).unlink(missing_ok=True)
    return kept


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the directory's lock, which the system takes back from a process that died."""
    while True:
        with _writing(path):
            file = (path / LOCK).open("a+", encoding="utf-8")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ConfigError(
                f"workdir {path}: in use by {holder}: wait for it, or name another directory"
            ) from error
        # Another run may have ended, and removed the file, since it was opened.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(file.fileno()).st_ino == (path / LOCK).stat().st_ino:
                break
        file.close()
    with file:
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {platform.node()}\n")
        file.flush()
        inode = os.fstat(file.fileno()).st_ino
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                # The directory may have been renamed, and its name be another run's.
                if (path / LOCK).stat().st_ino == inode:
                    (path / LOCK).unlink()


@contextlib.contextmanager
def _status(path: Path, stop: Stop) -> Iterator[None]:
    """STATUS: running, done, failed or stopped; signals are caught meanwhile."""

    def write(text: str) -> None:
        with contextlib.suppress(OSError):
            (path / STATUS).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    write("running")
    before = {}
    # Python hands signals to the main thread alone.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, stop)
    try:
        yield
    except BaseException as error:
        kind = "stopped" if isinstance(error, StoppedError | KeyboardInterrupt) else "failed"
        lines = str(error).splitlines() or [type(error).__name__]
        write(f"{kind}: {lines[0]}")
        if kind == "failed":
            with contextlib.suppress(OSError), (path / LOG).open("a", encoding="utf-8") as log:
                log.write(traceback.format_exc().encode("utf-8", "backslashreplace").decode())
        raise
    else:
        write("done")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def _floats() -> dict:
    """What the last bits of numbers depend on."""
    found = environment.environment()
    versions = {name: found["packages"][name] for name in ("jax", "jaxlib", "flax", "optax")}
    names = "backend", "devices", "cpu_count", "NPROC", "threefry_partitionable"
    return versions | {name: found[name] for name in names}


def _compare(path: Path, settings: dict, images: list[list], say) -> None:
    """Refuse settings or images other than those of the run that is there."""
    try:
        saved = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(saved, dict):
            raise ValueError(f"holds {type(saved).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path / CONFIG}: cannot be read: {error}: --fresh keeps this run under another "
            "name and begins anew"
        ) from error
    found = [
        f"{where}: {old!r} there, {new!r} now"
        for name in settings
        for where, old, new in differences(saved.get(name), settings[name], name)
        if where not in _FREE
    ]
    found += _other_images(path / IMAGES, images)
    if found:
        shown = found[:20] + [f"... and {len(found) - 20} more"] * (len(found) > 20)
        raise ConfigError(
            f"workdir {path}: holds another run; give a new directory, the same configuration "
            "and images to go on, or --fresh to keep it under another name and begin anew:\n  "
            + "\n  ".join(shown)
        )
    floats = json.loads(json.dumps(_floats()))
    for where, old, new in differences(saved.get("floats"), floats, ""):
        say(f"note   {where.strip('.')} is {new!r}, was {old!r}: last digits may differ")
    for name, now in environment.code().items():
        # Runs of earlier versions hold no version.
        if (old := saved.get(name, now)) != now:
            word = "version" if name == "jaxbrain" else name
            say(f"note   the code is of {word} {now}, was {old}: numbers may differ")


def _other_images(path: Path, images: list[list]) -> list[str]:
    """What of the images is not what `images.csv` says, a line each."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            saved = {row["id"]: (row["class"], row["sha256"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError) as error:
        return [f"{path}: cannot be read: {error!r}"]
    now = {files.cell(one): (files.cell(str(name)), sha) for one, name, _, sha in images}
    return [
        *(f"image {one}: removed" for one in saved if one not in now),
        *(f"image {one}: added" for one in now if one not in saved),
        *(f"image {one}: changed" for one in now if one in saved and saved[one] != now[one]),
    ]


def differences(saved, now, where: str) -> Iterator[tuple[str, object, object]]:
    """(where, saved value, value now) of every leaf of two JSON values that differs; the
    last digits of floats do not count."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for name in sorted(saved.keys() | now.keys()):
            yield from differences(saved.get(name), now.get(name), f"{where}.{name}")
    elif isinstance(saved, list) and isinstance(now, list) and len(saved) == len(now):
        for i, (one, two) in enumerate(zip(saved, now, strict=True)):
            yield from differences(one, two, f"{where}[{i}]")
    elif isinstance(saved, float) and isinstance(now, float):
        # Sums may end in another last digit on another machine.
        if not math.isclose(saved, now, rel_tol=1e-9, abs_tol=1e-12):
            yield where, saved, now
    elif saved != now:
        yield where, saved, now
