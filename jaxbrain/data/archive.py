"""Zip and tar archives of images: unpacked to a temporary folder, or refused before anything
of them is written."""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from jaxbrain.errors import DataError

MAX_MEMBERS = 200_000
MAX_BYTES = 20 * 10**9
MAX_RATIO = 100
# Of a few bytes a ratio says little.
_SMALL = 2**20
_PIECE = 2**24


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, by its content.

    Raises:
        DataError: if it cannot be read.
    """
    # Unlike a path's own methods they answer for names that no system could hold.
    if not os.path.isfile(path):
        return False
    try:
        if zipfile.is_zipfile(path):
            return True
        with _open_tar(path):
            return True
    except OSError as error:
        if error.errno is None:
            # Of a decompressor: no archive.
            return False
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception:  # Both libraries raise almost anything on bad bytes.
        return False


_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_KINDS = dict.fromkeys(_PACKED, "a compressed file that is cut off, or no tar archive") | {
    b"PK\x03\x04": "a zip archive that is cut off: its end is missing",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
}


def looks_like(path: Path) -> str:
    """What a file is that is no archive as `is_archive` says."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    found = (what for magic, what in _KINDS.items() if head.startswith(magic))
    return next(found, "is a file")


# What tarfile says of a tar that ends too early.
_CUT = ("unexpected end of data", "empty header", "truncated header")


class _Reader:
    """A decompressed stream that gives no more than `_PIECE` bytes at once: tarfile reads
    the headers of a member whole, however long it says they are."""

    def __init__(self, stream):
        self.stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _PIECE:
            raise DataError(f"a header of {size} bytes: expected at most {_PIECE}")
        return self.stream.read(size)


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("rb") as file:
        head = file.read(6)
    opener = next((_PACKED[magic] for magic in _PACKED if head.startswith(magic)), open)
    with opener(path, "rb") as stream, tarfile.open(fileobj=_Reader(stream), mode="r:") as opened:
        yield opened


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
                    for one in opened.infolist():
                        # As Windows writes it, though no archive should.
                        one.filename = one.filename.replace("\\", "/")
                    opened.extractall(root, opened.infolist())  # noqa: S202, names were checked
            else:
                with _open_tar(path) as opened:
                    _refuse(path, root, map(_tar_member, opened))
                    _refuse_cut(path)
                    members = [one.replace(name=one.name.replace("\\", "/")) for one in opened]
                    opened.extractall(root, members, filter="data")
        except DataError:
            raise
        except Exception as error:  # Both libraries raise almost anything on bad bytes.
            cut = isinstance(error, EOFError) or str(error) in _CUT
            what = "damaged archive" + ", cut off" * cut
            raise DataError(f"{path}: {what}: {error}") from error
        yield Path(root)


def folder(path: Path) -> contextlib.AbstractContextManager[Path]:
    """A folder as it is, an archive `unpacked`."""
    return contextlib.nullcontext(path) if path.is_dir() else unpacked(path)


def _zip_member(one: zipfile.ZipInfo) -> tuple[str, int, str]:
    kind = stat.S_IFMT(one.external_attr >> 16)
    refused = "encrypted" if one.flag_bits & 1 else ""
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refused = "a symbolic link" if kind == stat.S_IFLNK else "not a plain file"
    # As it stands in the archive: `filename` has this system's separators.
    return one.orig_filename, one.file_size, refused


def _tar_member(one: tarfile.TarInfo) -> tuple[str, int, str]:
    refused = ""
    if one.issym() or one.islnk():
        refused = "a link"
    elif not (one.isfile() or one.isdir()):
        refused = "not a plain file"
    return one.name, one.size, refused


def _refuse_cut(path: Path) -> None:
    """Refuse a tar that does not end as one: one that was cut between two members would
    lack the rest without a word. A compressed one cannot be read past a cut."""
    with path.open("rb") as file:
        if file.read(6).startswith(tuple(_PACKED)):
            return
        file.seek(-512, os.SEEK_END)
        if file.read().strip(b"\0"):
            raise DataError(f"{path}: a tar archive that is cut off: its end is missing")


def _refuse(path: Path, root: str, members: Iterator[tuple[str, int, str]]) -> None:
    """members: (name, bytes, why it is refused or "")."""
    own, total, seen = path.stat().st_size, 0, set()
    for count, (name, num_bytes, problem) in enumerate(members, 1):
        # On any system: slashes of both kinds part it. a/./b is a/b.
        place = PureWindowsPath(name)
        if place.anchor or ".." in place.parts or "\0" in name:
            problem = "a name outside the archive"
        elif not problem and place.parts and place.parts in seen:
            problem = "there twice"
        if problem:
            raise DataError(f"{path}: member {name!r}: {problem}: nothing was unpacked")
        seen.add(place.parts)
        total += num_bytes
        # While they are counted: a list of members can be a bomb itself.
        limit = min(MAX_BYTES, max(MAX_RATIO * own, _SMALL))
        if count > MAX_MEMBERS or total > limit:
            raise DataError(
                f"{path}: {count} members of {total} bytes so far, from an archive of {own} "
                f"bytes: expected at most {MAX_MEMBERS} members, {MAX_BYTES} bytes and "
                f"{MAX_RATIO} times its own: nothing was unpacked"
            )
    free = shutil.disk_usage(root).free
    if total > free:
        raise DataError(
            f"{path}: holds {total} bytes: {root} has {free} left (TMPDIR names another place)"
        )
