"""Files of a run, each written whole or not at all."""

import contextlib
import csv
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from jaxbrain.errors import DataError


@contextlib.contextmanager
def whole(path: Path, mode: str = "w", **how) -> Iterator[IO]:
    """A file to write into, that takes its name when all is written and on the disk: a reader
    never sees half of it, and what was there before stays until then."""
    temporary = path.with_name(f"{path.name}.tmp")
    if "b" not in mode:
        how = {"encoding": "utf-8"} | how
    with temporary.open(mode, **how) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    with whole(path, errors="backslashreplace") as file:
        file.write(text)


def write_json(path: Path, value) -> None:
    """NaN, which is no JSON, is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def settings(cfg) -> dict:
    """A configuration as JSON values; an optimiser of one's own as it prints itself."""
    return json.loads(json.dumps(dataclasses.asdict(cfg), default=repr))


def cell(value):
    """What a CSV file holds for a value. Text gets an apostrophe where a spreadsheet would
    take it for a formula, and escapes where it is no UTF-8."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    if text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        try:
            float(text)
        except ValueError:
            return f"'{text}"
    return text


def file_name(name: str, number: int) -> str:
    """A class's name where it can be part of a file's, else its number."""
    return name if re.fullmatch(r"[\w() -]{1,60}", name, re.ASCII) else f"class{number}"


def write_csv(path: Path, header: list[str], rows: Iterable[list]) -> None:
    """Comma-separated rows; `rows` may be made as they are written."""
    with whole(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(cell, header))
        writer.writerows(map(cell, row) for row in rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file with a header.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
