"""Decoded files, one after another, to the arrays and rows of a data set."""

import dataclasses
import hashlib
import re
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxbrain.data import duplicates, masks, patients
from jaxbrain.data.classes import why_positive
from jaxbrain.data.decode import Slices
from jaxbrain.data.layout import shown
from jaxbrain.data.preprocess import prepare
from jaxbrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Options:
    """How files become images: see `load_folder`, which says what each field means.

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
            if getattr(self, name) not in allowed:
                found = getattr(self, name)
                raise ConfigError(f"{name} is {found!r}: expected {' | '.join(allowed)}")
        if self.image_size < 1:
            raise ConfigError(f"image_size is {self.image_size!r}: expected at least 1 pixel")
        patients.pattern(self.group_by)

    @property
    def use_patients(self) -> bool:
        return self.patients == "auto"

    def pattern(self) -> re.Pattern | None:
        return patients.pattern(self.group_by)


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

    @property
    def name(self) -> str:
        return PurePosixPath(self.relative).name


class Collection:
    """Files are added one by one; `finish` gives what `assemble` takes.

    bad: (path, reason) of each file that cannot be used.
    """

    def __init__(self, options: Options, class_names: tuple[str, ...]):
        self.options, self.class_names = options, class_names
        self.files: list[_File] = []
        self.bad: list[tuple[str, str]] = []
        self.said: dict[str, list[str]] = {}

    def say(self, text: str, relative: str) -> None:
        """A warning that files share."""
        self.said.setdefault(text, []).append(relative)

    def shared(self) -> list[str]:
        """What was said, with the number of files that share it."""
        return [_counted(text, files) for text, files in self.said.items()]

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
        named = {one.path for one in self.files if masks.named_like_one(one.name)}
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
        """(id, where it is from): what was asked for, then the file's own, then its name."""
        options, found = self.options, one.found
        if options.group_by:
            if asked := patients.of_name(one.relative, options.pattern()):
                return asked, "--group-by"
        if found.patient and found.source in (*patients.IDS, "data set"):
            return f"{found.mode} {found.patient}", found.source
        if options.use_patients and not options.group_by:
            if named := patients.of_name(one.relative, None):
                return named, "file names"
        if found.patient:
            return f"{found.mode} {found.patient}", found.source
        return (f"file {one.relative}", "file") if len(one.parts) > 1 else ("", "")

    def finish(self, notes: list[str], warnings: list[str], layout: str):
        """(arrays, about): see `assemble`; None where no file can be used."""
        notes, warnings = list(notes), list(warnings)
        rows, images, labels, numbers = [], [], [], {}
        seen: dict[str, tuple[int, str]] = {}
        remarks: dict[str, list[str]] = {}
        whose = []
        for one in self._without_masks():
            patient, source = self._patient(one)
            number = numbers.setdefault((source, patient), len(numbers)) if patient else -1
            if one.found.note:
                self.say(one.found.note, one.relative)
            if one.found.remark:
                remarks.setdefault(one.found.remark, []).append(one.relative)
            twins = []
            for name, part in zip(one.found.name, one.parts, strict=True):
                *pictures, size, digest, constant = part
                twin = seen.setdefault(digest, (one.label, one.path + name))
                if twin[0] != one.label:
                    twins.append((name, twin[1]))
                if constant:
                    warnings.append(f"{one.path}{name}: constant image")
                images.append(pictures)
                labels.append(one.label)
                details = [one.num_bytes, one.split, digest, number]
                rows.append([one.relative + name, one.found.mode, size, *details])
                whose.append((one.relative, one.label, number, source))
            if twins:
                (name, twin), more = twins[0], len(twins) - 1
                others = f" ({more} more of its pictures likewise)" if more else ""
                reason = f"the same picture as {twin}, of another class{others}"
                self.bad.append((one.path + name, reason))
        notes += [_counted(text, files) for text, files in remarks.items()]
        warnings += self.shared()
        asked = {file for file, *_, source in whose if source == "--group-by"}
        if self.options.group_by and len(asked) < len(self.files):
            warnings.append(
                f"--group-by matches {len(asked)} of {len(self.files)} files: the others go by "
                "the ids that they carry, if any"
            )
        warnings += patients.warnings(whose, self.class_names)
        if not rows:
            return None
        image, small, head = (np.stack(kind) for kind in zip(*images, strict=True))
        arrays = {"image": image, "small": small, "small_head": head}
        arrays["label"] = np.asarray(labels, np.int32)
        names = self.class_names
        about = {
            "rows": rows,
            "notes": notes + warnings,
            "warnings": warnings,
            "layout": layout,
            "class_names": names,
            "ids": sorted({source for *_, source in whose} & set(patients.IDS)),
            "positive": why_positive(names, self.options.positive) if len(names) == 2 else "",
        }
        return arrays, about


def _counted(text: str, files: list[str]) -> str:
    return f"{len(files)} files: {text}, the first is {shown(files[0])}"
