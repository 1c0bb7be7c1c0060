"""What is known of images besides their pixels."""

import dataclasses
import hashlib
from collections import Counter

import numpy as np

from jaxbrain.data import duplicates
from jaxbrain.data.classes import why_positive
from jaxbrain.data.layout import shown
from jaxbrain.types import Dataset


@dataclasses.dataclass(frozen=True)
class Records:
    """What is known of each image besides its pixels; stays on the host.

    Per image, in the order of the `Dataset`: `path` (relative to `root`; with `#z012` or
    `#1` for a slice or frame of a file), `mode` (Pillow's, or "DICOM", "NIfTI", "MAT"),
    `size` (width, height), `num_bytes`, `split` ("train", "test", "val", or "" where the
    folders do not say), `digest` (SHA-256 of the decoded pixels), `patient` (a number that
    the images of one patient, volume or file of frames share; -1 where nothing says it),
    `small` and `small_head` [N, 32, 32] float32 in [0, 1] (the whole file, and the head in
    it, see `duplicates.small`). For the whole: `class_names` (index = label), `layout`,
    `notes` on what was found and left out, `warnings` (those of them that may spoil a
    study), `ids` (what tells patients apart, such as "PatientID"; empty where nothing does)
    and `positive` (of two classes, what made the second the positive one).
    """

    root: str
    layout: str
    class_names: tuple[str, ...]
    path: tuple[str, ...]
    mode: tuple[str, ...]
    size: tuple[tuple[int, int], ...]
    num_bytes: tuple[int, ...]
    split: tuple[str, ...]
    digest: tuple[str, ...]
    patient: tuple[int, ...]
    notes: tuple[str, ...]
    small: np.ndarray = dataclasses.field(compare=False, repr=False)
    small_head: np.ndarray = dataclasses.field(compare=False, repr=False)
    warnings: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    positive: str = ""

    def positive_class(self) -> str | None:
        """The name of the positive class, number 1 of two; None of more."""
        return self.class_names[1] if len(self.class_names) == 2 else None


# Fields of `Records` with one entry an image.
_PER_IMAGE = "path mode size num_bytes split digest patient small small_head".split()


def some(records: Records, index: np.ndarray) -> Records:
    """The records of the images `index` [M] int, in that order."""
    kept = {
        name: of[index] if isinstance(of, np.ndarray) else tuple(of[i] for i in index.tolist())
        for name in _PER_IMAGE
        for of in (getattr(records, name),)
    }
    return dataclasses.replace(records, **kept)  # type: ignore[arg-type]


def joined(one: Records, two: Records) -> Records:
    """The images of `one`, then those of `two`; all else is that of `one`."""
    both = {
        name: np.concatenate([first, second]) if isinstance(first, np.ndarray) else first + second
        for name in _PER_IMAGE
        for first, second in ((getattr(one, name), getattr(two, name)),)
    }
    return dataclasses.replace(one, **both)  # type: ignore[arg-type]


def describe(data: Dataset, records: Records) -> list[str]:
    """Lines that say what was read: counts, sizes, modes, groups, notes."""
    counts = np.bincount(data.label, minlength=len(records.class_names)).tolist()
    per_class = "  ".join(
        f"{shown(name)} {n}" for name, n in zip(records.class_names, counts, strict=True)
    )
    name = records.positive_class()
    modes = " ".join(f"{mode} {n}" for mode, n in Counter(records.mode).most_common())
    widths, heights = zip(*records.size, strict=True)
    lines = [
        f"data   {records.root}",
        f"data   found {len(records.path)} images in {len(counts)} classes "
        f"({records.layout}): {per_class}"
        + (f"  (positive: {shown(name)}, {records.positive})" if name else ""),
        f"data   widths {min(widths)}..{max(widths)}  heights "
        f"{min(heights)}..{max(heights)}  modes {modes}  unreadable 0",
    ]
    num_groups = len(np.unique(data.group))
    if num_groups < len(records.path):
        known = "patients or " if records.ids else ""
        lines.append(f"data   {num_groups} groups of {known}near-duplicates")
    kinds = {note: "warn  " if note in records.warnings else "note  " for note in records.notes}
    return lines + [f"{kind} {note}" for note, kind in kinds.items()]


def from_arrays(data: Dataset, class_names: tuple[str, ...], root: str) -> Records:
    """`Records` of images that come from no file, such as phantoms."""
    data.check(num_classes=len(class_names))
    images = np.asarray(data.image)
    size = images.shape[2], images.shape[1]
    count = len(data.label)
    grey = [np.asarray(one[..., 0] / 255.0, np.float32) for one in images]
    path = [f"{class_names[k]}/{i:04d}" for i, k in enumerate(np.asarray(data.label))]
    return Records(
        root=root,
        layout="arrays",
        class_names=class_names,
        path=tuple(path),
        mode=("L",) * count,
        size=(size,) * count,
        num_bytes=(size[0] * size[1],) * count,
        split=("",) * count,
        digest=tuple(hashlib.sha256(one.tobytes()).hexdigest() for one in images),
        patient=(-1,) * count,
        notes=(),
        small=np.stack([duplicates.small(one) for one in grey]),
        small_head=np.stack([duplicates.small_head(one) for one in grey]),
        positive=why_positive(class_names) if len(class_names) == 2 else "",
    )
