"""What every entry point shares: presets, flags, one clear message on errors."""

import contextlib
import dataclasses
import datetime
import difflib
import io
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import tyro

from jaxbrain import config
from jaxbrain.errors import ConfigError, DivergedError, JaxbrainError

PRESETS = {
    "tiny": config.tiny,
    "cpu": config.cpu,
    "recommended": config.recommended,
    "paper": config.paper,
}


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run(arguments)`; a user's error becomes one message on standard error and
    exit status 2, a diverged training 3."""
    try:
        run(sys.argv[1:])
    except JaxbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, DivergedError) else 2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def parse(kind: type, arguments: list[str], **options):
    """`tyro.cli(kind, args=arguments, **options)` that refuses as the library does.

    With `add_help=False` unknown flags are left to a later call; otherwise `default`, an
    instance of `kind`, is needed.

    Raises:
        ConfigError: for an unknown flag (naming the nearest known one), and for values
            that tyro or the dataclasses refuse.
    """
    options |= {"args": arguments, "return_unknown_args": True}
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            known, unknown = tyro.cli(kind, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_refusal(kind, options)) from None
    if unknown and options.get("add_help", True):
        raise ConfigError(_unknown(unknown[0], options["default"]))
    return known


def _refusal(kind: type, options: dict) -> str:
    """tyro's message without the box it draws, which would break long paths."""
    caught = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "10000"})
    with wide, contextlib.redirect_stderr(caught), contextlib.suppress(SystemExit):
        tyro.cli(kind, **options)
    message = []
    # A title line, the message, a rule, and help that repeats the flags.
    for line in caught.getvalue().splitlines()[1:]:
        text = line.strip("│╰╯ ")
        if text.startswith("──"):
            break
        message.append(text)
    return " ".join(filter(None, message))


def _flags(default, prefix: str = "--"):
    """The flags of a dataclass instance; the field `cfg` adds no prefix of its own."""
    for field in dataclasses.fields(default):
        value = getattr(default, field.name)
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from _flags(value, prefix if name == "cfg" else f"{prefix}{name}.")
        else:
            yield prefix + name


def _unknown(argument: str, default) -> str:
    flag = argument.split("=")[0]
    near = difflib.get_close_matches(flag.replace("_", "-"), list(_flags(default)), n=1)
    hint = f": did you mean {near[0]}?" if near else ": --help lists the flags"
    return f"unknown argument {flag}{hint}"


def new_workdir(name: str) -> Path:
    """A path that is not there yet: runs/<date>_<time>_<name>."""
    stem, number = f"{datetime.datetime.now():%Y-%m-%d_%H%M%S}_{name}", 1
    path = Path("runs") / stem
    while path.exists():
        number += 1
        path = Path("runs") / f"{stem}_{number}"
    return path


def command(module: str) -> str:
    """The command line of this process, as one would type it."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])
