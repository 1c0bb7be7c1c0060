"""What a set of images is, before anything is trained: python -m experiments.inspect DIR.

Counts, sizes, modes, files that cannot be read, duplicates, labels that leak through the
files; and a contact sheet. Exit status: 0 usable, 1 usable with warnings, 2 refused.
"""

import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments import cli
from jaxbrain import inspection


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Look at a folder, an archive or a TFDS data set of images."""

    data: Annotated[str, tyro.conf.Positional]  # folder, zip, tar, or tfds:NAME[:SPLIT]
    json: bool = False  # print one JSON object, and nothing else
    # The contact sheet; runs/<date>_<time>_inspect/contact_sheet.png without it.
    sheet: Path | None = None
    duplicate_threshold: float = 0.98  # correlation of thumbnails
    frames: Literal["error", "first", "all"] = "error"  # of films and files of several pages


def main(arguments: list[str]) -> None:
    default = Arguments(data=tyro.MISSING)
    prog = "python -m experiments.inspect"
    options = cli.parse(Arguments, arguments, default=default, prog=prog)
    sheet = options.sheet or cli.new_workdir("inspect") / "contact_sheet.png"
    found = inspection.inspect(
        options.data,
        duplicate_threshold=options.duplicate_threshold,
        frames=options.frames,
        sheet=sheet,
    )
    if found["counts"]:
        found["sheet"] = str(sheet)
    # Names may hold what the terminal cannot show.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for line in inspection.lines(found):
            print(line)
        if found["counts"]:
            print(f"sheet  {sheet}")
    sys.exit(found["status"])


if __name__ == "__main__":
    cli.main(main)
