"""What `--help` and `--help-all` print of an entry point: plain text, 80 columns."""

import sys
import textwrap

import tyro

from jaxbrain.commands.flags import Flag, flags

_COLUMNS, _INDENT = 80, 26


def page(default, prog: str, everything: bool = False) -> str:
    """The flags that matter first (`first` of the dataclass, else its own), or all of them.

    Args:
        default: an instance of the entry point's dataclass; its values are the defaults shown.
        prog: what is typed before the flags.

    The usage, then what the entry point is for. Examples are the indented lines of the docstring
    of the module that declares it.
    """
    found = list(flags(default))
    positional = "".join(f" {flag.value}" for flag in found if flag.positional)
    usage = f"usage: {prog}{positional} [flags]"
    told = (sys.modules[type(default).__module__].__doc__ or "").strip()
    if everything:
        return "\n".join([usage, "", told, *_sections(found)])
    examples = [line for line in told.splitlines() if line.startswith("    ")]
    lines = [line for flag in _first(default, found) for line in entry(flag, short=True)]
    about = textwrap.wrap((type(default).__doc__ or "").strip(), _COLUMNS)
    left = len(found) - len(_first(default, found))
    last = [f"{prog} --help-all has the other {left} flags."] if left else []
    if preset := getattr(default, "preset", None):
        last.insert(0, f"Defaults are those of the preset {preset}.")
    blocks = [[usage], about, lines, examples, last]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _first(default, found: list[Flag]) -> list[Flag]:
    names = getattr(default, "first", "").split() or [
        flag.name for flag in found if flag.owner is type(default)
    ]
    by_name = {flag.name: flag for flag in found}
    return [by_name[name] for name in names]


def _sections(found: list[Flag]) -> list[str]:
    """All flags under what their dataclasses are; those of one dataclass in several sections (an
    optimiser's) once, for all of them."""
    owners: dict[type, dict[str, list[Flag]]] = {}
    for flag in found:
        owners.setdefault(flag.owner, {}).setdefault(flag.section, []).append(flag)
    lines = []
    for owner, sections in owners.items():
        about = (owner.__doc__ or "").strip().split("\n\n")[0]
        if len(sections) > 1:
            names = ", ".join(f"--{section}.NAME" for section in sections)
            about = f"{about.rstrip('.')}, as {names}, with NAME one of these. "
            about += "Defaults are in that order."
        lines += ["", *textwrap.wrap(" ".join(about.split()), _COLUMNS)]
        lines += [line for same in zip(*sections.values(), strict=True) for line in entry(*same)]
    return lines


def entry(flag: Flag, *alike: Flag, short: bool = False) -> list[str]:
    """The lines of a flag: how it is typed, what it is, its default; of flags of sections alike
    the default of each. `short` cuts a text to two lines."""
    head = "  " + f"{_typed(flag, within=bool(alike))} {flag.value}".strip()
    shown = [_shown(one) for one in (flag, *alike)]
    last = ""
    if any(shown):
        values = shown[:1] if len(set(shown)) == 1 else shown
        last = f" (default{'s' * (len(values) > 1)}: {', '.join(values)})"
    text, wide = flag.text, _COLUMNS - _INDENT
    if short and len(text + last) > 2 * wide:
        text = textwrap.shorten(text, 2 * wide - len(last) - 8, placeholder=" ...")
    lines = textwrap.wrap(text + last, wide)
    first = [head] if len(head) > _INDENT - 2 else [f"{head:<{_INDENT}}{lines.pop(0)}".rstrip()]
    return first + [" " * _INDENT + line for line in lines]


def _typed(flag: Flag, within: bool) -> str:
    if flag.positional:
        return ""
    head, dot, last = flag.name.rpartition(".")
    both = flag.kind is bool and (flag.default or flag.section)
    return ("" if within else f"--{head}{dot}") + ("[no-]" if both else "") + last


def _shown(flag: Flag) -> str:
    """A default as it is typed; empty where there is none, of which the text speaks."""
    value = flag.default
    if value in (None, "", ()) or value is tyro.MISSING:
        return ""
    if isinstance(value, bool):
        return ("on" if value else "off") if value or flag.section else ""
    if isinstance(value, tuple):
        return " ".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
