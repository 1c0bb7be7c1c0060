"""Zip and tar archives of images: unpacked to a temporary folder, or refused before anything
of them is written."""

import contextlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from jaxbrain.errors import DataError

MAX_MEMBERS = 200_000
MAX_BYTES = 20 * 10**9
MAX_RATIO = 100
# Of a few bytes a ratio says little.
_SMALL = 2**20


class _Member(NamedTuple):
    """kind: what it is, where that is refused, or ""."""

    name: str
    num_bytes: int
    kind: str


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with what an archive holds, removed afterwards.

    Refused as a whole, before a member is written: names outside the folder (absolute,
    `..`), links, devices, encrypted members, one name twice, more than `MAX_MEMBERS`
    members, `MAX_BYTES` bytes, `MAX_RATIO` times the archive's own bytes, or what the disk
    holds.

    Raises:
        DataError: naming the archive and the member that is refused.
    """
    with tempfile.TemporaryDirectory(prefix="jaxbrain-") as root:
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as opened:
                    _refuse(path, root, map(_zip_member, opened.infolist()))
                    opened.extractall(root)  # noqa: S202, all names were checked
            else:
                with tarfile.open(path) as opened:
                    _refuse(path, root, map(_tar_member, opened))
                    opened.extractall(root, filter="data")
        except DataError:
            raise
        except Exception as error:  # Both libraries raise almost anything on bad bytes.
            raise DataError(f"{path}: damaged archive: {error}") from error
        yield Path(root)


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """A folder as it is, an archive `unpacked`."""
    if path.is_dir():
        yield path
    else:
        with unpacked(path) as root:
            yield root


def _zip_member(one: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(one.external_attr >> 16)
    refused = ""
    if kind == stat.S_IFLNK:
        refused = "a symbolic link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refused = "not a plain file"
    elif one.flag_bits & 1:
        refused = "encrypted"
    # As it stands in the archive: `filename` has this system's separators.
    return _Member(one.orig_filename, one.file_size, refused)


def _tar_member(one: tarfile.TarInfo) -> _Member:
    refused = ""
    if one.issym() or one.islnk():
        refused = "a link"
    elif not (one.isfile() or one.isdir()):
        refused = "not a plain file"
    return _Member(one.name, one.size, refused)


def _outside(name: str) -> bool:
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    return name.startswith(("/", "\\")) or bool(windows.drive) or ".." in parts or "\0" in name


def _refuse(path: Path, root: str, members: Iterator[_Member]) -> None:
    own, total, seen = path.stat().st_size, 0, set()
    for member in members:
        problem = member.kind
        if _outside(member.name):
            problem = "a name outside the archive"
        elif member.name in seen:
            problem = "there twice"
        if problem:
            raise DataError(f"{path}: member {member.name!r}: {problem}: nothing was unpacked")
        seen.add(member.name)
        total += member.num_bytes
        # While they are counted: a list of members can be a bomb itself.
        limit = min(MAX_BYTES, max(MAX_RATIO * own, _SMALL))
        if len(seen) > MAX_MEMBERS or total > limit:
            raise DataError(
                f"{path}: {len(seen)} members of {total} bytes so far, from an archive of {own} "
                f"bytes: expected at most {MAX_MEMBERS} members, {MAX_BYTES} bytes and "
                f"{MAX_RATIO} times its own: nothing was unpacked"
            )
    free = shutil.disk_usage(root).free
    if total > free:
        raise DataError(
            f"{path}: holds {total} bytes: {root} has {free} left (TMPDIR names another place)"
        )
