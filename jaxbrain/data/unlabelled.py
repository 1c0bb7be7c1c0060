"""Images without labels, as those to predict: files, folders, archives, read as `folder` does."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.data import archive
from jaxbrain.data.classes import text_of
from jaxbrain.data.collect import Collection, Options
from jaxbrain.data.folder import listed, read_file
from jaxbrain.data.layout import FLAT, find, shown
from jaxbrain.data.patients import COVERS
from jaxbrain.errors import DataError

_EXPECTED = "expected images directly in it, or in folders directly in it (not both)"


class Pictures(NamedTuple):
    """What was read, in the order of the sources.

    image: [N, S, S, 1] uint8. path: of each, as its source was given, `#z012` or `#1` after it
    for a slice or a frame. digest: SHA-256 of the decoded pixels. notes: what was found and
    left out. bad: (path, reason) of what cannot be used.
    """

    image: np.ndarray
    path: tuple[str, ...]
    digest: tuple[str, ...]
    notes: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]

    def refuse_bad(self, hint: str = "") -> None:
        """Raise a DataError that names every file that cannot be used, and why."""
        if self.bad:
            more = f"; {hint}" if hint else ""
            raise DataError(
                f"{len(self.bad)} of the images cannot be used (mend or leave them out{more}):\n"
                f"{listed(list(self.bad))}"
            )


def read(sources: Sequence[str | Path], options: Options) -> Pictures:
    """Read images whose classes are not asked for.

    Args:
        sources: image files of any kind that `load_folder` reads (DICOM and NIfTI with the extra
            `medical`), folders of images or of class folders, zip or tar archives of those.
            What the folders are called does not count.
        options: how files become images: those of a training, so that the images are what its
            networks have learned to read.

    Raises:
        DataError: if there is no source. What cannot be used is listed in `bad`.
    """
    if not sources:
        raise DataError("no image is named: expected files, folders or archives of images")
    # Whose an image is makes no difference here.
    options = dataclasses.replace(options, positive="", group_by="", patients="ignore")
    images, paths, digests, notes, bad = [], [], [], [], []
    for source in map(Path, sources):
        try:
            found, own = _collected(source, options)
        except DataError as error:
            bad.append((shown(source), str(error).removeprefix(f"{shown(source)}: ")))
            continue
        bad += own
        if found is None:
            continue
        arrays, about = found
        images.append(arrays["image"])
        paths += [row[0] for row in about["rows"]]
        digests += [row[5] for row in about["rows"]]
        notes += [text for text in about["notes"] if not text.startswith(COVERS)]
    side = options.image_size
    image = np.concatenate(images) if images else np.zeros((0, side, side, 1), np.uint8)
    return Pictures(image, tuple(paths), tuple(digests), tuple(notes), tuple(bad))


def _collected(source: Path, options: Options):
    """(arrays, about) of one source, or None; what of it cannot be used."""
    if not os.path.exists(source):
        raise DataError("does not exist")
    if not os.path.isdir(source) and not archive.is_archive(source):
        collected = Collection(options, (FLAT,))
        # A link that a user names may lead anywhere.
        file = Path(os.path.realpath(source))
        with collected.reading(shown(source)):
            found = read_file(file, file.parent, options)
            name = text_of(str(source))
            collected.add(shown(source), name, found, 0, "", file.stat().st_size)
        return _finished(collected, [], "one file")
    with archive.folder(source) as root:

        def text(said: str) -> str:
            return said.replace(str(root), str(source))

        try:
            layout = find(root, flat=True)
        except DataError as error:
            # Layouts of labelled folders, with which it ends, are not asked for.
            why = text(str(error)).splitlines()[0].removeprefix(f"{shown(source)}: ")
            why = why.partition(": if it is the folder of one class")[0]
            raise DataError(f"{why}: {_EXPECTED}") from error
        collected = Collection(options, (FLAT,), map(text, layout.notes))
        for *_, path in layout.files:
            where = source / path.relative_to(root)
            with collected.reading(shown(where)):
                found = read_file(path, root, options)
                name = text_of(where.as_posix())
                collected.add(shown(where), name, found, 0, "", path.stat().st_size)
        return _finished(collected, list(map(text, layout.warnings)), layout.kind)


def _finished(collected: Collection, warnings: list[str], kind: str):
    found = collected.finish(warnings, kind)
    if found is None and not collected.bad:
        why = "; ".join([*collected.shared(), *collected.notes])
        raise DataError(f"no image is left: {why}")
    return found, collected.bad
