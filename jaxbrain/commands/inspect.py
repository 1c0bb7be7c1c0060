"""What a set of images is, before anything is trained: jaxbrain inspect DIR.

Counts, sizes, modes, files that cannot be read, duplicates, labels that leak through the
files; and a contact sheet. Exit status: 0 usable, 1 usable with warnings, 2 refused.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxbrain.commands import common, onward


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Look at a folder, an archive or a TFDS data set of images."""

    data: Annotated[str, tyro.conf.Positional]  # folder, zip or tar, or tfds:NAME[:SPLIT]
    json: bool = False  # print one JSON object, and nothing else
    # picture of some images; runs/<date>_<time>_inspect/contact_sheet.png without it
    sheet: Path | None = None
    duplicate_threshold: float = 0.98  # correlation of thumbnails that makes near-duplicates
    # films and files of several pages: error refuses them, first takes a page, all takes all
    frames: Literal["error", "first", "all"] = "error"
    brain_fraction: float = 0.1  # slices of volumes with a smaller share of brain are left out
    positive: str = ""  # of two classes the positive one; by their names without it
    group_by: str = ""  # regular expression; images whose paths match alike share a group
    patients: Literal["auto", "ignore"] = "auto"  # ignore leaves ids of patients out


# How the flags are called where more than reading is done.
_ELSEWHERE = {
    "positive": "positive",
    "group_by": "group_by",
    "patients": "patients",
    "frames": "data.frames",
    "brain_fraction": "data.brain_fraction",
    "duplicate_threshold": "data.duplicate_threshold",
}


def _changed(options: Arguments) -> dict:
    """Flags that say how images are read, where they are not as they are by themselves."""
    default = Arguments(data="")
    pairs = ((there, name) for name, there in _ELSEWHERE.items())
    return {
        there: value
        for there, name in pairs
        if (value := getattr(options, name)) != getattr(default, name)
    }


def main(arguments: list[str], prog: str = "jaxbrain inspect") -> None:
    default = Arguments(data=tyro.MISSING)
    options = common.parse(Arguments, arguments, default=default, prog=prog)
    from jaxbrain.reports import inspect as report
    from jaxbrain.runs import inspect, pages

    sheet = options.sheet or common.new_workdir("inspect") / "contact_sheet.png"
    how = {name: value for name, value in vars(options).items() if name not in ("data", "json")}
    found = inspect.inspect(options.data, **how | {"sheet": sheet})
    if found["counts"]:
        found["sheet"] = str(sheet)
        # Beside a sheet of a folder of its own, not among a user's files.
        if options.sheet is None:
            pages.write(sheet.parent, report.page(found, sheet.name))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(*inspect.lines(found), sep="\n")
        if found["counts"]:
            print(f"sheet  {sheet}")
        if found["counts"] and options.sheet is None:
            print(f"report {sheet.parent / pages.HTML}")
        if not found["error"]:
            onward.say(onward.after_inspect(prog, options.data, _changed(options)))
    sys.exit(found["status"])
