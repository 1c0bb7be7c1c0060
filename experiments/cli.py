"""What every entry point shares: presets, flags, one clear message on errors."""

import difflib
import shlex
import sys
from collections.abc import Callable

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
        sys.exit(130)


def parse(kind: type, arguments: list[str], default=None, prefix: str = ""):
    """An instance of the dataclass `kind` from command-line arguments.

    Raises:
        ConfigError: for an unknown flag (naming the nearest known one), and for values
            that the dataclasses refuse.
    """
    known, unknown = tyro.cli(
        kind, args=arguments, default=default, prog=prefix, return_unknown_args=True
    )
    if unknown:
        raise ConfigError(_unknown(unknown[0], kind, default))
    return known


def _unknown(argument: str, kind: type, default) -> str:
    flag = argument.split("=")[0]
    parser = tyro.extras.get_parser(kind, default=default)
    flags = [name for action in parser._actions for name in action.option_strings]
    near = difflib.get_close_matches(flag.replace("_", "-"), flags, n=1)
    hint = f": did you mean {near[0]}?" if near else ": --help lists the flags"
    return f"unknown argument {flag}{hint}"


def command(module: str) -> str:
    """The command line of this process, as one would type it."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])
