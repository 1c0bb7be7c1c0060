"""Decoded images on disk, so that the next run does not decode them again.

A cache is found by its files (their names, and digests of what they hold) and by what was
asked for; one flipped byte and it is not used. It holds the images: it belongs to who may
see them.
"""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from jaxbrain.data.decode import MAX_BYTES

# Changed when a decoder gives other pixels, or the same files other patients.
VERSION = 4
_KEEP = 8


def key(files: list[Path], options: dict, largest: int | None = MAX_BYTES) -> str:
    """The name of what was made of these files with these options (JSON values). Sizes and
    times can stay equal while a file changes: what it holds is read, but of files larger
    than `largest`, which are never decoded."""
    identities = [_identity(file, largest) for file in files]
    text = json.dumps([VERSION, identities, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _identity(path: Path, largest: int | None) -> list[str]:
    digest = ""
    # Why a file cannot be read is said where it is read.
    with contextlib.suppress(OSError):
        if path.is_file() and (largest is None or path.stat().st_size <= largest):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [str(path.absolute()), digest]


def read(folder: Path, name: str) -> tuple[dict[str, np.ndarray], dict] | None:
    """(arrays, JSON values) of a cache, or None if there is none as it was written."""
    path = folder / f"{name}.npz"
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[64:]).hexdigest().encode() != content[:64]:
            return None
        with np.load(io.BytesIO(content[64:]), allow_pickle=False) as file:
            arrays = {one: file[one] for one in file.files}
        about = json.loads(arrays.pop("about").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return arrays, about


def write(folder: Path, name: str, arrays: dict[str, np.ndarray], about: dict) -> None:
    """Keep arrays and JSON values, and of all caches the few used last. What cannot be
    written is not kept."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        memory = io.BytesIO()
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(memory, about=text, **arrays)
        content = memory.getvalue()
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)
        os.replace(temporary, folder / f"{name}.npz")
        kept = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_KEEP]:
            path.unlink(missing_ok=True)
