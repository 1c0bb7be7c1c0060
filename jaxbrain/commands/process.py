"""An entry point as a whole process: its first word, its errors, its exit status."""

import io
import os
import sys
from collections.abc import Callable

from jaxbrain.commands import telling
from jaxbrain.errors import DivergedError, JaxbrainError, StoppedError


def first_word(verb: str) -> None:
    """Say on standard error that the verb was heard, where JAX is still to be loaded: it takes
    seconds, on a cold disk many. Standard output is for what the verb has to say."""
    if "jax" not in sys.modules:
        print(f"{verb}  loads JAX", file=sys.stderr, flush=True)


def main(run: Callable[[], None]) -> None:
    """Call `run` as a whole process; a user's error becomes one message on standard error and
    exit status 2, a diverged training 3, a run stopped by a signal 128 and its number."""
    for stream in (sys.stdout, sys.stderr):
        # Names may hold what the terminal cannot show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with telling.on_standard_error():
            run()
    except JaxbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, StoppedError):
            sys.exit(128 + error.signal)
        sys.exit(3 if isinstance(error, DivergedError) else 2)
    except BrokenPipeError:
        # The reader of our output has left; so do we, without a word at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
