"""The errors a user can cause. Entry points print the message and exit with 2, or with 3
for a training that diverged."""

import difflib
import getpass
import os
from collections.abc import Iterable


def user() -> str:
    """Who runs this, for messages: the login name, which a container need not know."""
    try:
        return getpass.getuser()
    # KeyError before Python 3.13; ImportError on Windows.
    except (OSError, KeyError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def nearest(word: object, known: Iterable[object]) -> str:
    """The end of a message: the known word that a typed one is nearly spelt like, if one is.

    Example:
        >>> nearest("ridg", ["cnn", "ridge"])
        '; did you mean ridge?'
        >>> nearest("x", ["cnn", "ridge"])
        ''
    """
    near = difflib.get_close_matches(str(word), map(str, known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class JaxbrainError(ValueError):
    """Base of every error raised on purpose: what was found, where, what was
    expected, and what to do next."""


class ConfigError(JaxbrainError):
    """A configuration field holds a value outside its allowed range."""


class DataError(JaxbrainError):
    """A file, a folder or an array cannot be used as it is."""


class CheckpointError(JaxbrainError):
    """A checkpoint is missing, damaged, or belongs to another configuration."""


class DivergedError(JaxbrainError):
    """A training produced NaN or infinite values."""


class StoppedError(JaxbrainError):
    """A run was asked to stop and did, saved: `signal` is SIGTERM's or SIGINT's number."""

    def __init__(self, signal: int, where: str):
        names = {2: "Ctrl-C", 15: "SIGTERM"}
        super().__init__(f"{names.get(signal, signal)} {where}")
        self.signal = signal
