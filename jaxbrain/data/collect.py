"""Decoded files, one after another, to the arrays and rows of a data set."""

import contextlib
import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxbrain.data import duplicates, masks, patients
from jaxbrain.data.classes import why_positive
from jaxbrain.data.decode import LeftOutError, Slices
from jaxbrain.data.layout import shown
from jaxbrain.data.preprocess import prepare
from jaxbrain.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Options:
    """How files become images.

    image_size: side of the result in pixels.
    crop, square: see `preprocess.prepare`.
    frames: of a file of several pictures: "error" refuses it, "first", or "all".
    brain_fraction: axial slices of a NIfTI volume with less brain than this share of their
        area are left out.
    positive: of two classes the one that is called positive, label 1; "" goes by their
        names.
    group_by: a regular expression, searched in each file's path: what its groups match says
        whose the image is. "" looks for patients, subjects and BraTS sequences in file
        names.
    patients: "auto" gives images of one patient one group, by DICOM's PatientID, Cheng's
        PID or file names; "ignore" leaves those ids out.

    Raises:
        ConfigError: for a value that a field cannot take.
    """

    image_size: int = 224
    crop: str = "none"
    square: str = "stretch"
    frames: str = "error"
    brain_fraction: float = 0.1
    positive: str = ""
    group_by: str = ""
    patients: str = "auto"

    def __post_init__(self):
        for name, allowed in (
            ("crop", ("none", "head")),
            ("square", ("stretch", "pad")),
            ("frames", ("error", "first", "all")),
            ("patients", ("auto", "ignore")),
        ):
            if (found := getattr(self, name)) not in allowed:
                raise ConfigError(f"{name} is {found!r}: expected {' | '.join(allowed)}")
        if self.image_size < 1:
            raise ConfigError(f"image_size is {self.image_size!r}: expected at least 1 pixel")
        patients.pattern(self.group_by)

    @property
    def use_patients(self) -> bool:
        return self.patients == "auto"


_LIKE_MASKS = "look like masks or label maps (few values, in patches)"


class _File(NamedTuple):
    """What is kept of a decoded file. found: without its images; parts: of each image its
    (image, small, small_head, size, digest, constant)."""

    path: str
    relative: str
    label: int
    split: str
    num_bytes: int
    found: Slices
    parts: list[tuple]


class Collection:
    """Files are added one by one; `finish` gives what `assemble` takes.

    notes: what was found and left out. bad: (path, reason) of each file that cannot be used.
    """

    def __init__(self, options: Options, class_names: tuple[str, ...], notes=()):
        self.options, self.class_names, self.notes = options, class_names, list(notes)
        self.files: list[_File] = []
        self.bad: list[tuple[str, str]] = []
        self.said: dict[str, list[str]] = defaultdict(list)

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Keep why a file is left out, or cannot be used, and go on with the next."""
        try:
            yield
        except LeftOutError as error:
            self.notes.append(f"{path}: {error}: left out")
        except DataError as error:
            self.bad.append((path, str(error)))

    def say(self, text: str, relative: str) -> None:
        """A warning that files share."""
        self.said[text].append(relative)

    def shared(self) -> list[str]:
        """What was said, with the number of files that share it."""
        return _counted(self.said)

    def add(
        self, path: str, relative: str, found: Slices, label: int, split: str, num_bytes: int
    ) -> None:
        """A decoded file. path: as messages say it; relative: within the data set."""
        parts = []
        for grey in found.image:
            digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
            image = prepare(grey, self.options.image_size, self.options.crop, self.options.square)
            small, head = duplicates.small(grey), duplicates.small_head(grey)
            constant = bool(grey.min() == grey.max())
            parts.append((image, small, head, [grey.shape[1], grey.shape[0]], digest, constant))
        kept = found._replace(image=[])
        self.files.append(_File(path, relative, label, split, num_bytes, kept, parts))

    def _without_masks(self) -> list[_File]:
        """The files that are no masks, and warnings on those that are or may be."""
        kept = []
        # Where all volumes look like label maps, they are what there is to learn from.
        volumes = [one.found.labels for one in self.files if one.found.mode == "NIfTI"]
        some_volumes = any(volumes) and not all(volumes)
        named = {one.path for one in self.files if masks.named_like_one(one.relative)}
        for one in self.files:
            # A mask of nothing is black.
            black = all(constant for *_, constant in one.parts)
            look = one.found.labels or black
            if look and (one.path in named or (some_volumes and one.found.mode == "NIfTI")):
                self.say(f"{_LIKE_MASKS}: left out", one.relative)
                continue
            if not one.parts:
                self.bad.append((one.path, "no slice of it holds enough brain"))
                continue
            kept.append(one)
            if one.found.labels:
                self.say(f"{_LIKE_MASKS}: kept", one.relative)
            elif one.path in named and len(named) < len(self.files):
                self.say("are named like masks and do not look like one: kept", one.relative)
        return kept

    def _patient(self, one: _File) -> tuple[str, str]:
        """(where it is from, id): what was asked for, then the file's own, then its name."""
        found, pattern = one.found, patients.pattern(self.options.group_by)
        if pattern and (asked := patients.of_name(one.relative, pattern)):
            return "--group-by", asked
        own = found.source, f"{found.mode} {found.patient}"
        if found.patient and found.source in (*patients.IDS, "data set"):
            return own
        by_name = self.options.use_patients and not pattern
        if by_name and (named := patients.spelled(one.relative)):
            return "file names", " ".join(named)
        if found.patient:
            return own
        return ("file", f"file {one.relative}") if len(one.parts) > 1 else ("", "")

    def finish(self, warnings: list[str], layout: str) -> tuple[dict, dict] | None:
        """(arrays by name, JSON values by name), or None where no file can be used."""
        warnings = list(warnings)
        rows, images, labels, whose = [], [], [], []
        numbers: dict[tuple[str, str], int] = {}
        seen: dict[str, tuple[int, str]] = {}
        remarks: dict[str, list[str]] = defaultdict(list)
        for one in self._without_masks():
            source, patient = self._patient(one)
            number = numbers.setdefault((source, patient), len(numbers)) if patient else -1
            if one.found.note:
                self.say(one.found.note, one.relative)
            if one.found.remark:
                remarks[one.found.remark].append(one.relative)
            named = zip(one.found.name, one.parts, strict=True)
            for name, (*pictures, size, digest, constant) in named:
                if constant:
                    warnings.append(f"{one.path}{name}: constant image")
                images.append(pictures)
                labels.append(one.label)
                details = [one.num_bytes, one.split, digest, number]
                rows.append([one.relative + name, one.found.mode, size, *details])
                whose.append((one.relative, one.label, number, source))
            self._refuse_twins(one, seen)
        warnings += [*self.shared(), *self._group_by(whose)]
        warnings += patients.warnings(whose, self.class_names)
        if not rows:
            return None
        stacked = map(np.stack, zip(*images, strict=True))
        arrays = dict(zip(("image", "small", "small_head"), stacked, strict=True))
        names = self.class_names
        return arrays | {"label": np.asarray(labels, np.int32)}, {
            "rows": rows,
            "notes": [*self.notes, *_counted(remarks), *warnings],
            "warnings": warnings,
            "layout": layout,
            "class_names": names,
            "ids": sorted({source for *_, source in whose} & set(patients.IDS)),
            "positive": why_positive(names, self.options.positive) if len(names) == 2 else "",
        }

    def _refuse_twins(self, one: _File, seen: dict[str, tuple[int, str]]) -> None:
        """Pictures that an earlier file of another class holds. seen: of each digest the
        class and the first picture."""
        twins = []
        for name, part in zip(one.found.name, one.parts, strict=True):
            label, twin = seen.setdefault(part[-2], (one.label, one.path + name))
            if label != one.label:
                twins.append((name, twin))
        if twins:
            (name, twin), more = twins[0], len(twins) - 1
            others = f" ({more} more of its pictures likewise)" if more else ""
            reason = f"the same picture as {twin}, of another class{others}"
            self.bad.append((one.path + name, reason))

    def _group_by(self, whose: list[tuple]) -> list[str]:
        asked = {file for file, *_, source in whose if source == "--group-by"}
        if not self.options.group_by or len(asked) == len(self.files):
            return []
        return [
            f"--group-by matches {len(asked)} of {len(self.files)} files: the others go by the "
            "ids that they carry, if any"
        ]


def _counted(said: dict[str, list[str]]) -> list[str]:
    return [
        f"{len(files)} files: {text}, the first is {shown(files[0])}"
        for text, files in said.items()
    ]
