"""What can be done next, as commands to copy: after a run, and after one that was stopped."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from jaxbrain.errors import StoppedError

# How images are read, whatever is done with them; data.n_per_class is of the GAN.
_READING = {"--data", "--positive", "--group-by", "--patients"}
_NOT_READING = "--data.n-per-class"
_HONEST = "--split", "kfold", "--generators", "none"

Next = tuple[str, str]


def form(prog: str, verb: str) -> list[str]:
    """Another verb, called as this one was.

    Example:
        >>> form("python -m experiments.paper", "ladder"), form("jaxbrain paper", "ladder")
        (['python', '-m', 'experiments.ladder'], ['jaxbrain', 'ladder'])
    """
    *words, last = prog.split()
    room, dot, _ = last.rpartition(".")
    return [*words, f"{room}{dot}{verb}"]


def _flags(arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    """(name, words) of every flag: its name as `--help` has it, and itself with its values."""
    own: list[str] = []
    for word in arguments:
        if word.startswith("--") and own:
            yield own[0].split("=")[0].replace("_", "-"), own
            own = []
        own.append(word)
    if own:
        yield own[0].split("=")[0].replace("_", "-"), own


def reading(arguments: list[str]) -> list[str]:
    """The flags among some that say which images are read, and how."""
    return [
        word
        for name, words in _flags(arguments)
        if name in _READING or (name.startswith("--data.") and name != _NOT_READING)
        for word in words
    ]


def same(prog: str, arguments: list[str], workdir: Path) -> str:
    """The command that goes on with a run: the same one, in its directory."""
    kept = [(name, words) for name, words in _flags(arguments) if name != "--fresh"]
    words = [word for _, own in kept for word in own]
    if "--workdir" not in {name for name, _ in kept}:
        words += ["--workdir", str(workdir)]
    return shlex.join([*prog.split(), *words])


@contextlib.contextmanager
def going_on(prog: str, arguments: list[str], workdir: Path) -> Iterator[None]:
    """A run that is stopped inside says how it goes on."""
    try:
        yield
    except StoppedError as error:
        error.args = (f"{error}. To go on:\n  {same(prog, arguments, workdir)}",)
        raise


def _kept(workdir: Path, kind: str) -> list[str] | None:
    """["--seed", N] of the first seed whose training of a kind is kept, [] for seed 0; None
    where there is none."""
    seeds = sorted(
        int(path.parent.name.removeprefix("seed"))
        for path in (workdir / "checkpoints").glob(f"seed*/{kind}")
        if path.parent.name.removeprefix("seed").isdigit()
    )
    return None if not seeds else ["--seed", str(seeds[0])] if seeds[0] else []


def _classes(run: Path) -> list[str] | None:
    """The classes of a run, where it says them."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads((run / "config.json").read_text(encoding="utf-8")).get("classes")
    return None


def _beside(workdir: Path) -> Path | None:
    """The newest other run of the same classes in the same folder."""
    own = _classes(workdir)
    found = [
        path.parent
        for path in workdir.absolute().parent.glob("*/results.json")
        if path.parent.name != workdir.name and own and _classes(path.parent) == own
    ]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def after_paper(prog: str, arguments: list[str], workdir: Path, data: str | None) -> list[Next]:
    """What can be done with a run of the paper's protocol.

    data: its images, None for phantoms.
    """
    found, run = [], str(workdir)
    if (seed := _kept(workdir, "classifier")) is not None:
        words = [*form(prog, "predict"), run, "IMAGE", "--explain", *seed]
        found.append(("the class of an image of yours", shlex.join(words)))
    if (seed := _kept(workdir, "gan")) is not None:
        words = [*form(prog, "sample"), run, "--n", "16", *seed]
        found.append(("synthetic images as files", shlex.join(words)))
    if data and (workdir / "results.json").is_file():
        words = [*form(prog, "ladder"), *reading(arguments), *_HONEST]
        found.append(("accuracy on images that nothing was trained on", shlex.join(words)))
    if found and (other := _beside(workdir)):
        words = [*form(prog, "compare"), run, str(workdir.parent / other.name)]
        found.append(("this run beside the last one", shlex.join(words)))
    return found


def after_study(prog: str, workdir: Path, verb: str = "ladder", part: str = "") -> list[Next]:
    """What can be done with a study. verb: that verifies it; part: of its directory it is in."""
    place = workdir / part
    if not (place / f"{verb}.json").is_file():
        return []
    words = [*form(prog, verb), "--verify", str(place)]
    return [("every number again, from the answers that were saved", shlex.join(words))]


def after_gan(prog: str, workdir: Path) -> list[Next]:
    """What can be done with a run of GANs."""
    if (seed := _kept(workdir, "gan")) is None:
        return []
    draw = [*form(prog, "sample"), str(workdir), "--n", "16", *seed]
    judge = [*form(prog, "audit"), str(workdir), *seed]
    return [
        ("synthetic images as files", shlex.join(draw)),
        ("what it draws, and what it copies", shlex.join(judge)),
    ]


def after_inspect(prog: str, source: str, flags: dict) -> list[Next]:
    """What can be done with a set of images that can be read.

    flags: by name, how it was read where that is not the default.
    """
    words = ["--data", source]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return [
        ("the paper's method on them", shlex.join([*form(prog, "paper"), *words])),
        (
            "accuracy where nothing leaks",
            shlex.join([*form(prog, "ladder"), *words, *_HONEST]),
        ),
    ]


def say(found: list[Next]) -> None:
    """Print commands, each on a line of its own."""
    for what, command in found:
        print(f"next   {what}:\n  {command}")
