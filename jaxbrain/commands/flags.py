"""The flags of an entry point, as its dataclass says them: name, type, default, text."""

import ast
import dataclasses
import functools
import inspect
import io
import sys
import tokenize
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

_POSITIONAL = get_args(Annotated[str, tyro.conf.Positional])[1]
_NUMBERS = {int: "N", float: "X"}
# What stands for a value, where its type says too little.
_VALUES = {
    "class": "CLASS",
    "coordinator": "HOST:PORT",
    "data": "DIR",
    "external": "DIR",
    "evaluated": "RUN",
    "generator": "NAME",
    "group-by": "REGEX",
    "held-out": "X",
    "map": "OLD=NEW",
    "out": "DIR",
    "positive": "CLASS",
    "images": "IMAGE",
    "run": "RUN",
    "runs": "RUN",
    "shard": "I/N",
    "synthetic": "DIR",
    "training": "DIR",
    "verify": "RUN",
    "workdir": "DIR",
}


@dataclasses.dataclass(frozen=True)
class Flag:
    """One argument: a field of the dataclass, or of one inside it.

    name: as typed, without its dashes. section: the fields around it, such as "classifier.optim".
    owner: the dataclass that it is a field of.
    """

    name: str
    section: str
    owner: type
    kind: Any
    default: Any
    text: str
    positional: bool

    @property
    def typed(self) -> str:
        """As it stands on a command line, such as "--gan.steps"."""
        return self.value if self.positional else f"--{self.name}"

    @property
    def last(self) -> str:
        """The last part of its name: "steps" of gan.steps."""
        return self.name.rpartition(".")[2]

    @property
    def off(self) -> str:
        """What switches it off, of a flag without a value: "--cnn.no-mirror"."""
        head, dot, last = self.name.rpartition(".")
        return f"--{head}{dot}no-{last}"

    @property
    def many(self) -> bool:
        return get_origin(self.kind) is tuple

    @property
    def choices(self) -> list[str]:
        """The words that it takes; none where it takes others too."""
        kinds = parts(self.kind)
        if not all(get_origin(kind) is Literal for kind in kinds):
            return []
        return [word for kind in kinds for word in get_args(kind)]

    @property
    def value(self) -> str:
        """What stands for its value: N, X, DIR, the words that it takes; empty of a switch."""
        if self.kind is bool:
            return ""
        kinds = parts(self.kind)
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        others = [self._named(kind) for kind in kinds if get_origin(kind) is not Literal]
        return "|".join([*words, *dict.fromkeys(others)]) + (" ..." if self.many else "")

    def _named(self, kind) -> str:
        other = "PATH" if kind is Path else "NAME"
        return _NUMBERS.get(kind) or _VALUES.get(self.last, other)


def parts(kind) -> list:
    """The types of a field's values: of a tuple's elements, of a union all but None."""
    if get_origin(kind) is tuple:
        return parts(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [part for part in get_args(kind) if part is not type(None)]
    return [kind]


def flags(default, section: str = "") -> Iterator[Flag]:
    """Every flag of a dataclass instance, those of the dataclasses inside it after its own
    section's name, which tyro's `name=""` leaves out."""
    hints = get_type_hints(type(default), include_extras=True)
    told = texts(type(default))
    for field in dataclasses.fields(default):
        hint = hints[field.name]
        kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        renamed = [extra.name for extra in extras if hasattr(extra, "name")]
        name = renamed[0] if renamed else field.name.replace("_", "-")
        value = getattr(default, field.name)
        inner = ".".join(filter(None, (section, name)))
        if dataclasses.is_dataclass(value):
            yield from flags(value, inner)
        else:
            positional = _POSITIONAL in extras
            text = told.get(field.name, "")
            yield Flag(inner, section, type(default), kind, value, text, positional)


def texts(kind: type) -> dict[str, str]:
    """The text of each field of a dataclass: the comment behind it, else the lines of comment
    right above it. A comment speaks of one field alone."""
    found: dict[str, str] = {}
    fields = {field.name for field in dataclasses.fields(kind)}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        found |= _commented(base.__module__).get(base.__name__, {})
    return {name: text for name, text in found.items() if name in fields}


@functools.cache
def _commented(module: str) -> dict[str, dict[str, str]]:
    """class -> field -> comment, of the classes of a module."""
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:  # installed without its source
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    lines = ["", *source.splitlines()]

    def of(node: ast.AnnAssign) -> str:
        above: list[str] = []
        row = node.lineno - 1
        while lines[row].lstrip().startswith("#"):
            above.insert(0, comments[row])
            row -= 1
        return comments.get(node.end_lineno or 0) or " ".join(above)

    return {
        kind.name: {
            ast.unparse(node.target): of(node)
            for node in kind.body
            if isinstance(node, ast.AnnAssign)
        }
        for kind in ast.parse(source).body
        if isinstance(kind, ast.ClassDef)
    }
