"""Methods by their names, by "module:object", or as values."""

import importlib
import sys
from pathlib import Path

from jaxbrain.errors import ConfigError, nearest
from jaxbrain.study import folders
from jaxbrain.study.methods import CLASSIFIERS, GENERATORS, Classifier, Generator, Method
from jaxbrain.study.names import NONE, parted


def _imported(field: str, text: str, kind: type):
    """The object of "module:object", from the working directory or an installed package."""
    module_name, _, path = text.partition(":")
    if not path or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"{field} has {text!r}: expected module:object")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
    # Whatever a user's module raises.
    except Exception as error:
        raise ConfigError(
            f"{field} has {text!r}: {module_name} cannot be imported: {error!r}: expected "
            "module:object, a module in the working directory or installed"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{field} has {text!r}: {module_name} has no {path}")
        found = getattr(found, name)
    if not isinstance(found, kind):
        raise ConfigError(
            f"{field} has {text!r}: it is a {type(found).__name__}: expected a "
            f"jaxbrain.study.methods.{kind.__name__}"
        )
    return found


def _one(field: str, value, kind: type[Method], known: dict):
    """(value, its name with the modes) of a name, "module:object" or value."""
    if isinstance(value, kind):
        return value, value.name
    if not isinstance(value, str):
        raise ConfigError(
            f"{field} has {value!r}: expected a name or a jaxbrain.study.methods.{kind.__name__}"
        )
    if kind is Generator and value.startswith(folders.PREFIX):
        path, suffix = folders.parted(value)
        found = folders.generator(path)
        name = f"{found.name}{suffix}"
        parted(name)
        return found, name
    name = value
    if kind is Generator:
        name, _ = parted(value)
        if value == NONE:
            return None, NONE
    if ":" in name:
        found = _imported(field, name, kind)
    elif name in known:
        found = known[name]
    else:
        words = [*known, NONE] if kind is Generator else [*known]
        raise ConfigError(
            f"{field} has {value!r}: expected some of {', '.join(words)}, or module:object"
            + (" or folder:DIR" if kind is Generator else "")
            + nearest(name, words)
        )
    return found, found.name + value[len(name) :]


def _chosen(field: str, values, kind: type[Method], known: dict) -> tuple[tuple[str, ...], dict]:
    if isinstance(values, str | kind) or not values:
        found = "is empty" if not values else f"is {values!r}"
        raise ConfigError(f"{field} {found}: expected some of {', '.join(known)}")
    chosen: dict[str, Method] = {}
    names = []
    # A value stands with modes too, by its name: [mine, "mine@only"].
    given = {value.name: value for value in values if isinstance(value, kind)}
    for value in values:
        method, name = _one(field, value, kind, given | known)
        names.append(name)
        if method is None:
            continue
        # Two mentions of one folder are equal, and not the same.
        same = chosen.setdefault(method.name, method) == method
        if not same or known.get(method.name, method) is not method:
            raise ConfigError(f"{field} has two named {method.name!r}: expected other names")
    if len(set(names)) < len(names):
        raise ConfigError(f"{field} is {tuple(names)!r}: expected each once")
    return tuple(names), chosen


def generators(values) -> tuple[tuple[str, ...], dict[str, Generator]]:
    """Names in their order (with their modes, "none" too) and the values by name.

    values: names ("cgan", "cgan@50,only", "none", "module:object", "folder:DIR": `names`) or
        `Generator`s, whose own names then stand for them ([mine, "mine@only"]).

    Raises:
        ConfigError: for what is neither, for two of one name.
    """
    return _chosen("generators", values, Generator, GENERATORS)


def classifiers(values, weights: str = "") -> tuple[tuple[str, ...], dict[str, Classifier]]:
    """The same for classifiers, made ready with a study's file of weights."""
    names, found = _chosen("classifiers", values, Classifier, CLASSIFIERS)
    return names, {name: one.ready(weights) if one.ready else one for name, one in found.items()}
