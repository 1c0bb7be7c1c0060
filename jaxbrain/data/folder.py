"""A directory tree of images, or an archive of one, to (Dataset, Records)."""

import dataclasses
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.data import archive, cache, duplicates, medical
from jaxbrain.data.classes import text_of
from jaxbrain.data.collect import Collection, Options
from jaxbrain.data.decode import MAX_BYTES, Slices, pictures, read_bytes
from jaxbrain.data.layout import ACCEPTED, CHENG, Layout, find, link_problem, shown
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset

_LOG = logging.getLogger(__name__)


class Scan(NamedTuple):
    """What a folder holds, before anything is refused.

    data, records: of the files that can be used, or None. bad: (path, reason) of the
    others. total: files looked at.
    """

    data: Dataset | None
    records: Records | None
    bad: list[tuple[str, str]]
    total: int


def read_file(path: Path, root: Path, options: Options) -> Slices:
    """The pictures of one file, of any kind."""
    if problem := link_problem(path, root):
        raise DataError(problem)
    content = read_bytes(path)
    if medical.kind(content):
        how = options.frames, options.brain_fraction, options.use_patients
        return medical.read(content, *how)
    return pictures(content, options.frames)


def _decode(root: Path, layout: Layout, options: Options):
    """(arrays, about) as the cache keeps them, or None; the files that cannot be used."""
    collected, total = Collection(options, layout.class_names, layout.notes), len(layout.files)
    for number, (name, split, path) in enumerate(layout.files, start=1):
        relative = text_of(path.relative_to(root).as_posix())
        with collected.reading(shown(path)):
            found = read_file(path, root, options)
            if not (name or found.label):
                raise DataError("says no class: expected a file of Cheng's set")
            if name and found.label and found.label != name:
                if name.lower() in CHENG:
                    raise DataError(f"in {name}: it says itself {found.label}")
                collected.say("holds a label of its own, which is not used", relative)
            label = layout.class_names.index(name or found.label)
            collected.add(shown(path), relative, found, label, split, path.stat().st_size)
        _LOG.info("data   has read %d of %d files", number, total, extra={"of": (number, total)})
    found = collected.finish(layout.warnings, layout.kind)
    if found is None and not collected.bad:
        why = "; ".join(collected.shared() or collected.notes)
        raise DataError(f"{shown(root)}: no image is left: {why}")
    return found, collected.bad


def scan(
    source: Path,
    options: Options,
    *,
    duplicate_threshold: float | None,
    cache_folder: Path | None = None,
    flat: bool = False,
) -> Scan:
    """Read what can be read of a folder or an archive: see `load_folder`.

    duplicate_threshold: of near-duplicates, which get one group; None looks for none.

    Raises:
        DataError: for neither a folder nor an archive, another layout, an archive that is not
            safe.
        ConfigError: if `options.positive` is not one of two classes.
    """
    packed = not os.path.isdir(source)
    if packed and re.match(r"[A-Za-z]{2,}:/", str(source)):
        raise DataError(f"{shown(source)}: is an address: download it first, nothing is fetched")
    if packed and not archive.is_archive(source):
        found = archive.looks_like(source) if os.path.exists(source) else "does not exist"
        raise DataError(
            f"{shown(source)}: {found}: expected a folder of images, or a zip or tar archive of "
            f"one\n{ACCEPTED}"
        )
    layout = None if packed else find(source, options.positive, flat)
    files = [source] if packed else [file for *_, file in layout.files]
    _LOG.info("data   reads %s", shown(source) if packed else f"{len(files)} files")
    about_options = dataclasses.asdict(options) | ({"flat": True} if flat else {})
    if layout:
        # Files that are left out may be others while those that are read are the same.
        about_options |= {"notes": layout.notes, "warnings": layout.warnings}
    largest = None if packed else MAX_BYTES
    name = cache.key(files, about_options, largest) if cache_folder else ""
    kept, bad = cache.read(cache_folder, name) if cache_folder else None, []
    if kept is None:
        with archive.folder(source) as root:

            def named(text: str) -> str:
                return text.replace(str(root), str(source))

            try:
                layout = layout or find(root, options.positive, flat)
                kept, bad = _decode(root, layout, options)
            except DataError as error:
                raise DataError(named(str(error))) from error
            bad = [(named(path), named(reason)) for path, reason in bad]
        if kept is None:
            return Scan(None, None, bad, len(layout.files))
        arrays, about = kept
        for which in ("notes", "warnings"):
            about[which] = list(map(named, about[which]))
        kept = arrays, about | {"total": len(layout.files)}
        if not bad:
            refuse_empty(shown(source), arrays["label"], about["class_names"], about["warnings"])
            # Not of files that were written while they were read.
            if cache_folder and cache.key(files, about_options, largest) == name:
                cache.write(cache_folder, name, *kept)
    data, records = assemble(shown(source), *kept, duplicate_threshold)
    return Scan(data, records, bad, kept[1]["total"])


def refuse_empty(source: str, label: np.ndarray, class_names, warnings=()) -> None:
    """Raise a DataError for a class without an image, with what was left out, if anything."""
    counts = np.bincount(label, minlength=len(class_names)).tolist()
    if 0 in counts:
        found = ", ".join(f"{name} {n}" for name, n in zip(class_names, counts, strict=True))
        left_out = "".join(f"; {text}" for text in warnings if "left out" in text)
        raise DataError(f"{source}: {shown(found)}: expected images of every class{left_out}")


def assemble(
    root: str, arrays: dict[str, np.ndarray], about: dict, threshold: float | None
) -> tuple[Dataset, Records]:
    """(Dataset, Records) of decoded images.

    arrays, about: as `Collection.finish` gives them, or what JSON makes of them; threshold:
    of near-duplicates, or None.
    """
    names = "path", "mode", "size", "num_bytes", "split", "digest", "patient"
    columns = dict(zip(names, zip(*about["rows"], strict=True), strict=True))
    columns["size"] = tuple(map(tuple, columns["size"]))
    columns |= {which: arrays[which] for which in ("small", "small_head")}
    columns |= {which: tuple(about[which]) for which in ("class_names", "notes", "warnings", "ids")}
    records = Records(root=root, layout=about["layout"], positive=about["positive"], **columns)
    group = duplicates.groups(
        records.small, records.digest, threshold, records.patient, records.small_head
    )
    return Dataset(arrays["image"], arrays["label"], group), records


def load_folder(
    root: str | Path,
    *,
    dedup: str = "none",
    duplicate_threshold: float = 0.98,
    cache_folder: str | Path | None = None,
    flat: bool = False,
    **options,
) -> tuple[Dataset, Records]:
    """Read a folder of labelled images, or a zip or tar archive of one.

    Layouts: `no` and `yes` (or other spellings), any two or more class folders, or
    Training/Testing folders of those; one more folder may be around all of it; or a folder
    of Cheng's MATLAB files. Files are found and decoded by content, whatever their names
    end in. Label 0 is the class whose name negates or means healthy, a class that says
    tumour comes last, others in natural order.

    Args:
        root: the folder or the archive (`archive.unpacked` says what is refused).
        dedup: "group" gives near-duplicates one group (`duplicates.groups` at
            `duplicate_threshold`, of whole files and of head crops); "none" gives every
            image its own. Images of one patient, volume or film share one either way.
        cache_folder: decoded images are kept there and used again while the files have the
            same names and contents; None keeps none.
        flat: images outside any class folder are one class ("images"), and a class may be
            alone.
        options: fields of `Options`, how files become images.

    Returns:
        `Dataset` of NumPy arrays and `Records`, in the same order.

    Raises:
        DataError: for a missing folder, another layout, an empty class; and one that lists
            every file that cannot be used (the same picture in two classes is one).
        ConfigError: for an argument outside its values.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for grey, name in ((80, "no/1.png"), (99, "no/2.png"), (200, "yes/1.png")):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Image.new("L", (20, 30), grey).save(Path(folder, name))
        ...     data, records = load_folder(folder, image_size=16)
        >>> data.image.shape, data.label.tolist(), records.class_names
        ((3, 16, 16, 1), [0, 0, 1], ('no', 'yes'))
    """
    if dedup not in ("none", "group"):
        raise ConfigError(f"dedup is {dedup!r}: expected none | group")
    root = Path(root)
    found = scan(
        root,
        Options(**options),
        duplicate_threshold=duplicate_threshold if dedup == "group" else None,
        cache_folder=Path(cache_folder) if cache_folder else None,
        flat=flat,
    )
    if found.bad:
        raise DataError(
            f"{shown(root)}: {len(found.bad)} of {found.total} files cannot be used "
            f"(mend or remove them):\n{listed(found.bad)}"
        )
    return found.data, found.records


def listed(bad: list[tuple[str, str]]) -> str:
    """Files that cannot be used and why, a line each."""
    return "\n".join(f"  {path}: {reason}" for path, reason in bad)
