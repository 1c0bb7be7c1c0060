"""A directory tree of images, or an archive of one, to (Dataset, Records)."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.data import archive, cache, duplicates, medical
from jaxbrain.data.decode import Slices, pictures, read_bytes
from jaxbrain.data.layout import ACCEPTED, CHENG, Layout, find, link_problem, shown
from jaxbrain.data.preprocess import prepare
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset


class Scan(NamedTuple):
    """What a folder holds, before anything is refused.

    data, records: of the files that can be used, or None. bad: (path, reason) of the
    others. total: files looked at.
    """

    data: Dataset | None
    records: Records | None
    bad: list[tuple[str, str]]
    total: int


def read_file(path: Path, root: Path, frames: str, brain_fraction: float) -> Slices:
    """The pictures of one file, of any kind."""
    if problem := link_problem(path, root):
        raise DataError(problem)
    content = read_bytes(path)
    if medical.kind(content):
        return medical.read(content, frames, brain_fraction)
    return pictures(content, frames)


def _decode(root: Path, layout: Layout, image_size, crop, square, frames, brain_fraction):
    """(arrays, about) as the cache keeps them, and the files that cannot be used."""
    image, label, small, rows, bad = [], [], [], [], []
    notes, warned = list(layout.notes), {}
    seen: dict[str, tuple[int, str]] = {}
    patients: dict[tuple, int] = {}
    for name, places in layout.classes.items():
        for split, files in places:
            for path in files:
                relative = path.relative_to(root).as_posix()
                try:
                    found = read_file(path, root, frames, brain_fraction)
                except DataError as error:
                    bad.append((shown(path), str(error)))
                    continue
                if name and found.label and found.label != name:
                    if name.lower() in CHENG:
                        bad.append((shown(path), f"in {name}: it says itself {found.label}"))
                        continue
                    say = "holds a label of its own, which is not used"
                    warned.setdefault(say, []).append(relative)
                index = layout.class_names.index(name or found.label)
                patient = -1
                if found.patient or len(found.image) > 1:
                    who = (found.mode, found.patient) if found.patient else (relative,)
                    patient = patients.setdefault(who, len(patients))
                if found.note:
                    warned.setdefault(found.note, []).append(relative)
                for grey, part in zip(found.image, found.name, strict=True):
                    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
                    own = shown(path) + part
                    twin_label, twin = seen.setdefault(digest, (index, own))
                    if twin_label != index:
                        bad.append((own, f"the same picture as {twin}, of another class"))
                    if grey.min() == grey.max():
                        notes.append(f"{own}: constant image")
                    image.append(prepare(grey, image_size, crop, square))
                    label.append(index)
                    small.append(duplicates.small(grey))
                    size = [grey.shape[1], grey.shape[0]]
                    num_bytes = path.stat().st_size
                    row = [relative + part, found.mode, size, num_bytes, split, digest, patient]
                    rows.append(row)
    for note, files in warned.items():
        notes.append(f"{len(files)} files: {note}, the first is {shown(files[0])}")
    if not rows:
        return None, None, bad
    arrays = {
        "image": np.stack(image),
        "label": np.asarray(label, np.int32),
        "small": np.stack(small),
    }
    about = {
        "rows": rows,
        "notes": notes,
        "layout": layout.kind,
        "class_names": layout.class_names,
    }
    return arrays, about, bad


def scan(
    source: Path,
    *,
    image_size: int,
    crop: str,
    square: str,
    dedup: str,
    duplicate_threshold: float,
    frames: str,
    brain_fraction: float,
    cache_folder: Path | None = None,
) -> Scan:
    """Read what can be read of a folder or an archive: see `load_folder`.

    Raises:
        DataError: for another layout, an archive that is not safe.
    """
    packed = not os.path.isdir(source)
    layout = None if packed else find(source)
    files = [source] if packed else _files(layout)
    options = [image_size, crop, square, frames, brain_fraction]
    name = cache.key([_identity(file) for file in files], options)
    kept, bad = cache.read(cache_folder, name), []
    if kept is None:
        with contextlib.ExitStack() as stack:
            root = stack.enter_context(archive.unpacked(source)) if packed else source

            def named(text: str) -> str:
                return text.replace(str(root), str(source))

            try:
                layout = layout or find(root)
                arrays, about, bad = _decode(root, layout, *options)
            except DataError as error:
                raise DataError(named(str(error))) from error
            total = len(_files(layout))
            bad = [(named(path), named(reason)) for path, reason in bad]
        if arrays is None:
            return Scan(None, None, bad, total)
        about |= {"notes": list(map(named, about["notes"])), "total": total}
        kept = arrays, about
        if not bad:
            refuse_empty(shown(source), arrays["label"], about["class_names"])
            cache.write(cache_folder, name, *kept)
    threshold = duplicate_threshold if dedup == "group" else None
    data, records = assemble(shown(source), *kept, threshold)
    return Scan(data, records, bad, kept[1]["total"])


def _files(layout: Layout) -> list[Path]:
    return [file for places in layout.classes.values() for _, files in places for file in files]


def refuse_empty(source: str, label: np.ndarray, class_names) -> None:
    """Raise a DataError for a class without an image."""
    counts = np.bincount(label, minlength=len(class_names)).tolist()
    if 0 in counts:
        found = ", ".join(f"{name} {n}" for name, n in zip(class_names, counts, strict=True))
        raise DataError(f"{source}: {shown(found)}: expected images of every class")


def assemble(
    root: str, arrays: dict[str, np.ndarray], about: dict, threshold: float | None
) -> tuple[Dataset, Records]:
    """(Dataset, Records) of decoded images.

    arrays: image, label, small; about: rows (path, mode, size, bytes, split, digest,
    patient), notes, layout, class_names; threshold: of near-duplicates, or None.
    """
    rows = [[*row[:2], tuple(row[2]), *row[3:]] for row in about["rows"]]
    path, mode, size, num_bytes, split, digest, patient = map(tuple, zip(*rows, strict=True))
    group = duplicates.groups(arrays["small"], digest, threshold, patient)
    records = Records(
        root=root,
        layout=about["layout"],
        class_names=tuple(about["class_names"]),
        path=path,
        mode=mode,
        size=size,
        num_bytes=num_bytes,
        split=split,
        digest=digest,
        patient=patient,
        notes=tuple(about["notes"]),
        small=arrays["small"],
    )
    return Dataset(arrays["image"], arrays["label"], group), records


def _identity(path: Path) -> list:
    try:
        found = path.stat()
    except OSError:
        return [str(path), -1, -1]
    return [str(path.absolute()), found.st_size, found.st_mtime_ns]


def load_folder(
    root: str | Path,
    *,
    image_size: int = 224,
    crop: str = "none",
    square: str = "stretch",
    dedup: str = "none",
    duplicate_threshold: float = 0.98,
    frames: str = "error",
    brain_fraction: float = 0.1,
    cache_folder: str | Path | None = None,
) -> tuple[Dataset, Records]:
    """Read a folder of labelled images, or a zip or tar archive of one.

    Layouts: `no` and `yes` (or other spellings), any two or more class folders, or
    Training/Testing folders of those; one more folder may be around all of it; or a folder
    of Cheng's MATLAB files. Files are decoded by content; names only choose which are
    images. Label 0 is the normal class where there is one, a class that only says tumour
    comes last, others in natural order.

    Args:
        root: the folder or the archive (`archive.unpacked` says what is refused).
        image_size: side of the result in pixels.
        crop, square: see `preprocess.prepare`.
        dedup: "group" gives near-duplicates one group (`duplicates.groups` at
            `duplicate_threshold`); "none" gives every image its own. Images of one patient,
            volume or film share one either way.
        frames: of a file of several pictures: "error" refuses it, "first", or "all".
        brain_fraction: axial slices of a NIfTI volume with less brain than this share of
            their area are left out.
        cache_folder: decoded images are kept there and used again while the files have the
            same names, sizes and times of change; None keeps none.

    Returns:
        `Dataset` of NumPy arrays and `Records`, in the same order.

    Raises:
        DataError: for a missing folder, another layout, an empty class; and one error
            that lists every file that cannot be used, with the reason (the same picture
            in two classes is one).
        ConfigError: for an argument outside its values.

    Example:
        >>> data, records = load_folder("path/to/set", image_size=64)  # doctest: +SKIP
        >>> data.image.shape, records.class_names                      # doctest: +SKIP
        ((253, 64, 64, 1), ('no', 'yes'))
    """
    for name, value, allowed in (
        ("crop", crop, ("none", "head")),
        ("square", square, ("stretch", "pad")),
        ("dedup", dedup, ("none", "group")),
        ("frames", frames, ("error", "first", "all")),
    ):
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}: expected {' | '.join(allowed)}")
    if image_size < 1:
        raise ConfigError(f"image_size is {image_size!r}: expected at least 1 pixel")
    root = Path(root)
    if not os.path.isdir(root) and not archive.is_archive(root):
        found = "is a file" if os.path.exists(root) else "does not exist"
        raise DataError(
            f"{shown(root)}: {found}: expected a folder of images, or a zip or tar archive of "
            f"one\n{ACCEPTED}"
        )
    found = scan(
        root,
        image_size=image_size,
        crop=crop,
        square=square,
        dedup=dedup,
        duplicate_threshold=duplicate_threshold,
        frames=frames,
        brain_fraction=brain_fraction,
        cache_folder=None if cache_folder is None else Path(cache_folder),
    )
    if found.bad:
        raise DataError(
            f"{shown(root)}: {len(found.bad)} of {found.total} files cannot be used "
            "(mend or remove them):\n"
            + "\n".join(f"  {path}: {reason}" for path, reason in found.bad)
        )
    return found.data, found.records
