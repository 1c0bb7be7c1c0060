"""Flags of a command line as a dataclass, and one clear message where one is wrong."""

import contextlib
import dataclasses
import difflib
import io
import os
from pathlib import Path
from unittest import mock

import tyro

from jaxbrain.commands.hardware import NO_HOME
from jaxbrain.errors import ConfigError


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
        flag = unknown[0].split("=")[0]
        near = difflib.get_close_matches(flag.replace("_", "-"), _flags(options["default"]), n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists the flags"
        raise ConfigError(f"unknown argument {flag}: {hint}")
    return _at_home(known)


def _at_home(options):
    """`options` with the `~` of its paths replaced: shells leave it in --workdir=~/x."""
    paths = {}
    for name, value in vars(options).items():
        if isinstance(value, Path):
            try:
                paths[name] = value.expanduser()
            except RuntimeError as error:
                raise ConfigError(f"{name} {value}: {NO_HOME}") from error
    return dataclasses.replace(options, **paths)


def _refusal(kind: type, options: dict) -> str:
    """tyro's message without the box it draws, which would break long paths."""
    caught = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "10000"})
    # The box has other lines where standard output is not UTF-8.
    drawn = contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    with wide, drawn, contextlib.redirect_stderr(caught), contextlib.suppress(SystemExit):
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
    """The flags of a dataclass instance; its own fields `cfg`, `hardware` and `study` add
    no prefix."""
    for field, value in vars(default).items():
        name = field.replace("_", "-")
        if dataclasses.is_dataclass(value):
            flat = name in ("cfg", "hardware", "study")
            yield from _flags(value, prefix if flat else f"{prefix}{name}.")
        else:
            yield prefix + name
