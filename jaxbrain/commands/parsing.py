"""Flags of a command line as a dataclass, and one clear message where one is wrong."""

import contextlib
import dataclasses
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import tyro

from jaxbrain.commands import help, mistakes, process
from jaxbrain.commands.flags import flags
from jaxbrain.commands.hardware import NO_HOME
from jaxbrain.errors import ConfigError


def wants_help(arguments: list[str]) -> bool:
    """Whether a command line asks for its flags."""
    return bool({"-h", "--help", "--help-all"} & {*arguments})


def parse(kind: type, arguments: list[str], *, default, prog: str = "jaxbrain") -> Any:
    """The arguments of an entry point as an instance of its dataclass.

    Prints the flags and exits with status 0 where `arguments` asks for them. Where nothing is
    wrong, with what the instance's own `check` says too, JAX may be loaded, and that is told.

    Args:
        default: an instance of `kind`, with `tyro.MISSING` for what must be given.
        prog: what is typed before the arguments.

    Raises:
        ConfigError: for an unknown flag (naming the nearest known one), and for values
            that the dataclasses refuse.
    """
    if wants_help(arguments):
        print(help.page(default, prog, everything="--help-all" in arguments))
        sys.exit(0)
    mistakes.check(arguments, list(flags(default)), prog)
    options = _at_home(_by_tyro(kind, arguments, default=default, prog=prog)[0])
    if hasattr(options, "check"):
        options.check()
    process.first_word(prog.split()[-1].removeprefix("experiments."))
    return options


def parse_some(kind: type, arguments: list[str]) -> Any:
    """The arguments that are fields of `kind`, as an instance of it; others are left alone."""
    return _at_home(_by_tyro(kind, arguments, add_help=False)[0])


def _by_tyro(kind: type, arguments: list[str], **options) -> tuple[Any, list[str]]:
    """What tyro makes of the arguments, and those that it does not know."""
    options |= {"args": arguments, "return_unknown_args": True}
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(kind, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_refusal(kind, options)) from None


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
    from unittest import mock  # of a refusal alone: it takes a moment

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
    return _ours(" ".join(filter(None, message)))


def _ours(message: str) -> str:
    """A message of our dataclasses without what tyro puts before it: the flag's whole name
    instead."""
    found = re.fullmatch(r"Error parsing ([\w.-]+): (.+: expected .+)", message)
    if not found:
        return message
    path, text = found[1].removeprefix("cfg.").replace("-", "_"), found[2]
    return f"{path}.{text.removeprefix('optim.')}" if text.startswith("optim.") else text
