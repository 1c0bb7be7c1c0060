"""A dataclass of choices back from the JSON values that a run keeps of it."""

import dataclasses
from typing import get_origin, get_type_hints

from jaxbrain.errors import ConfigError


def read(kind: type, values, where: str):
    """The `kind` whose `dataclasses.asdict` gave some JSON values, sections in it too.

    Args:
        values: every field, sections as dictionaries; lists stand for tuples.
        where: what messages call it.

    Raises:
        ConfigError: for an unknown or a missing field, a value that a field cannot take, and
            an optimiser of a user's own, of which a run keeps no more than how it printed.
    """
    hints = get_type_hints(kind)
    optimiser = kind.__name__ == "OptimConfig"
    # A user's own dataclass has left its fields, other objects how they print.
    if optimiser and (not isinstance(values, dict) or not hints.keys() & values.keys()):
        raise ConfigError(
            f"{where} is an optimiser of its own, {values!r:.100}: it cannot be read back: "
            "expected the fields of an OptimConfig"
        )
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values!r:.100}: expected the fields of a {kind.__name__}")
    if unknown := [name for name in values if name not in hints]:
        raise ConfigError(f"{where} has {', '.join(unknown)}: no field of this version's")
    if missing := [name for name in hints if name not in values]:
        raise ConfigError(
            f"{where} has no {', '.join(missing)}: expected every field: it is of another version"
        )
    found = {}
    for name, hint in hints.items():
        value = values[name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            value = read(hint, value, f"{where}.{name}")
        elif get_origin(hint) is tuple and isinstance(value, list):
            value = tuple(value)
        found[name] = value
    return kind(**found)
