"""What is wrong with a command line, said before anything is imported or computed."""

import difflib
from collections.abc import Collection

import tyro

from jaxbrain.commands.flags import Flag, parts
from jaxbrain.errors import ConfigError, nearest

# Other programs' names for what a flag here does.
_ALSO = {
    **dict.fromkeys(("dir", "folder", "images", "input"), "data"),
    **dict.fromkeys(("outdir", "output", "output-dir", "resume"), "workdir"),
    **dict.fromkeys(("gpu", "gpus"), "devices"),
    "label": "class",
    "lr": "learning-rate",
    "model": "classifiers",
    "num-seeds": "seeds",
    "wd": "weight-decay",
}


def check(arguments: list[str], found: list[Flag], prog: str) -> None:
    """Refuse what cannot be meant.

    Args:
        arguments: the command line, without `prog`.
        found: every flag that it may have.

    Raises:
        ConfigError: for an unknown flag or word (naming the nearest known one), a value that is
            missing or of another type, a word that no flag takes.
    """
    known = {f"--{flag.name}": flag for flag in found if not flag.positional}
    known |= {flag.off: flag for flag in known.values() if flag.kind is bool}
    wanted = [flag for flag in found if flag.positional]
    words, before = list(arguments), None
    while words:
        word = words.pop(0)
        if not _is_flag(word):
            if not wanted:
                raise ConfigError(_stray(word, before, known))
            if not wanted[0].many:
                wanted.pop(0)
            continue
        name, equals, value = word.partition("=")
        before = known.get(name.replace("_", "-"))
        if before is None:
            raise ConfigError(f"unknown argument {name}: {_meant(name, known.values())}")
        if before.kind is bool:
            if equals:
                raise ConfigError(_no_value(before, value))
            continue
        for one in [value] if equals else _values(before, words):
            _check_value(before, one)
    if wanted and wanted[0].default is tyro.MISSING:
        places = " ".join(flag.value for flag in found if flag.positional)
        raise ConfigError(
            f"{wanted[0].value} is missing: expected {prog} {places}, {wanted[0].text}"
        )


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not _is(float, word) and word != "-"


def _is(kind: type, word: str) -> bool:
    try:
        kind(word)
    except ValueError:
        return False
    return True


def _values(flag: Flag, words: list[str]) -> list[str]:
    """The words that belong to a flag, taken away from `words`."""
    count = 0
    while count < len(words) and not _is_flag(words[count]) and (flag.many or not count):
        count += 1
    if not count and not flag.many:
        expected = f"{flag.typed} {flag.value}: {flag.text}"
        raise ConfigError(f"{flag.typed} has no value: expected {expected}")
    taken, words[:count] = words[:count], []
    return taken


def _check_value(flag: Flag, word: str) -> None:
    kinds = parts(flag.kind)
    if flag.choices and word not in flag.choices:
        expected = ", ".join(flag.choices)
        raise ConfigError(
            f"{flag.typed} is {word!r}: expected one of {expected}{nearest(word, flag.choices)}"
        )
    for kind, expected in ((int, "a whole number"), (float, "a number")):
        if kinds == [kind] and not _is(kind, word):
            such = next(iter(flag.default), 1) if flag.many else flag.default
            such = f", such as {such}" if isinstance(such, int | float) else ""
            raise ConfigError(f"{flag.typed} is {word!r}: expected {expected}{such}")


def _no_value(flag: Flag, word: str) -> str:
    other = f", or {flag.off} to switch it off" if flag.default else ""
    return f"{flag.typed} takes no value, found {word!r}: expected {flag.typed} alone{other}"


def _stray(word: str, before: Flag | None, known: dict[str, Flag]) -> str:
    """What to do with a word that belongs to no flag."""
    if before and before.kind is bool:
        return _no_value(before, word)
    if before:
        return (
            f"unknown argument {word}: {before.typed} takes one value; a path or name that holds "
            "spaces stands in quotes"
        )
    for name in ("--data", "--run", "--workdir"):
        if name in known:
            return f"unknown argument {word}: did you mean {name} {word}?"
    return f"unknown argument {word}: --help lists the flags"


def _meant(typed: str, flags: Collection[Flag]) -> str:
    """Which flags an unknown one may stand for: of the same words, else of the same last part,
    else spelt nearly so."""
    word = typed.lstrip("-").replace("_", "-").lower()
    word = _ALSO.get(word, word)
    section, _, last = word.rpartition(".")
    last = _ALSO.get(last, last)
    words = set(word.replace(".", "-").split("-"))
    tests = (
        lambda flag: flag.name in (f"{word}s", word.removesuffix("s")),
        lambda flag: words == set(flag.name.replace(".", "-").split("-")),
        lambda flag: section and flag.last == last and flag.name.startswith(f"{section}."),
        lambda flag: flag.last == last,
        lambda flag: words >= set(flag.last.split("-")),
        lambda flag: words <= set(flag.last.split("-")),
    )
    for test in tests:
        names = list(dict.fromkeys(flag.typed for flag in flags if test(flag)))
        if names and len(names) <= 3:
            return f"did you mean {_either(names)}?"
    by_part = {flag.last: flag.typed for flag in flags} | {flag.name: flag.typed for flag in flags}
    near = difflib.get_close_matches(word, by_part, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(last, by_part, n=1, cutoff=0.75)
    return f"did you mean {by_part[near[0]]}?" if near else "--help-all lists the flags"


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
