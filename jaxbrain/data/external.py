"""Someone else's images to test on, without those that are copies of one's own.

Public sets hold each other's images. A test on another set that does not take the copies out
tests on images that were trained on.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxbrain.data import duplicates, patients
from jaxbrain.data.classes import canonical
from jaxbrain.data.layout import shown
from jaxbrain.data.records import Records, some
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset

# Before the ids of external images, which may have the paths of one's own.
PREFIX = "external:"


class Row(NamedTuple):
    """An external image. name: of its class there, own: in the data; value: the largest
    correlation of its thumbnails, or their mirror images, with an image of the data, which is
    `copy_of` where it is a copy; tested: 0 if it was taken out, with all that shares a group
    with it."""

    id: str
    name: str
    own: str
    copy_of: str
    value: float
    tested: int


class External(NamedTuple):
    """What is left to test on.

    data: labels are those of the own classes; groups are of these images alone, from 0.
    records: of the same images, with `PREFIX` before their paths. rows: every image that was
    there. threshold: of a copy.
    """

    data: Dataset
    records: Records
    rows: list[Row]
    threshold: float

    def summary(self) -> dict:
        """What a report says of it."""
        about = {"source": self.records.root, "threshold": self.threshold}
        return about | summary(self.rows)


def summary(rows: Sequence[Row]) -> dict:
    """Counts of external images: `found` by their own names and `classes` (their names to
    ours), `copies`, `taken_out`, `tested` by our names; and `nearest`, the largest correlation
    of a tested one with an image of the data; all of it as a `sentence`."""
    classes = {row.name: row.own for row in rows}
    tested = [row.own for row in rows if row.tested]
    said = {
        "found": {name: sum(row.name == name for row in rows) for name in classes},
        "classes": classes,
        "taken_out": len(rows) - len(tested),
        "copies": sum(bool(row.copy_of) for row in rows),
        "tested": {name: tested.count(name) for name in dict.fromkeys(classes.values())},
        "nearest": max((row.value for row in rows if row.tested), default=None),
    }
    return said | {"sentence": _sentence(said)}


def matched(found: Sequence[str], own: Sequence[str], mapping: Sequence[str] = ()) -> dict:
    """Name of each external class -> name of the class that it counts as.

    Args:
        found: names there; own: names of the data's classes.
        mapping: "old=new" each; a class that is not named keeps its name, whatever its case.

    Raises:
        ConfigError: for a mapping of or to what is not there, for a class that no name and no
            mapping matches.
    """
    chosen: dict[str, str] = {}
    for text in mapping:
        old, equal, new = text.partition("=")
        # Folders may be named otherwise: healthy is read as no.
        old = old if old in found else canonical(old)
        new = new if new in own else canonical(new)
        if not equal or old not in found or new not in own or old in chosen:
            raise ConfigError(
                f"map has {text!r}: expected old=new, each old once, old one of "
                f"{', '.join(found)}, new one of {', '.join(own)}"
            )
        chosen[old] = new
    by_name = {name.casefold(): name for name in own}
    for name in found:
        if name not in chosen and name.casefold() in by_name:
            chosen[name] = by_name[name.casefold()]
    if missing := [name for name in found if name not in chosen]:
        raise ConfigError(
            f"external: no class {', '.join(map(shown, missing))} in the data (classes "
            f"{', '.join(map(shown, own))}): expected the same names, or --map "
            + " ".join(f"{shown(name)}=NAME" for name in missing)
        )
    return {name: chosen[name] for name in found}


def prepared(
    data: Dataset,
    records: Records,
    other: Dataset,
    other_records: Records,
    mapping: Sequence[str] = (),
    threshold: float = 0.98,
) -> External:
    """Other images as a test set for those trained on `data`.

    An image is a copy if its pixels are those of one of the data, or if the thumbnails of the
    whole files or of the head crops, as they are or mirrored left to right (to methods that
    compare mirror places both are the same), correlate at `threshold` or more. Images that share a
    group with a copy (among themselves near-duplicates, or of one patient) go with it. Ids of
    patients are not compared between the two sources: equal names there mean nothing.

    Args:
        data, records: what is trained on; other, other_records: of the same image size.
        mapping: see `matched`.

    Raises:
        ConfigError: see `matched`. DataError: if no image is left.
    """
    classes = matched(other_records.class_names, records.class_names, mapping)
    number = {name: k for k, name in enumerate(records.class_names)}
    own = np.asarray([number[classes[name]] for name in other_records.class_names], np.int32)
    label = own[np.asarray(other.label)]
    value, copy_of = _nearest(records, other_records)
    copied = value >= threshold
    group = duplicates.audit(
        other_records.small,
        label,
        other_records.digest,
        threshold,
        other_records.patient,
        other_records.small_head,
    ).group
    stays = ~np.isin(group, group[copied])
    kept = np.flatnonzero(stays)
    rows = [
        Row(
            PREFIX + other_records.path[i],
            other_records.class_names[k],
            classes[other_records.class_names[k]],
            records.path[copy_of[i]] if copied[i] else "",
            round(float(value[i]), 4),
            int(stays[i]),
        )
        for i, k in enumerate(np.asarray(other.label).tolist())
    ]
    if not len(kept):
        why = [text for text in other_records.warnings if text.startswith(patients.COVERS)]
        raise DataError(
            "; ".join(
                [
                    f"external {other_records.root}: nothing is left to test on: {copied.sum()} of "
                    f"{len(rows)} images are copies of the data's, the others share a group with "
                    "one",
                    *why,
                ]
            )
        )
    left = some(other_records, kept)
    left = dataclasses.replace(left, path=tuple(PREFIX + path for path in left.path))
    _, numbers = np.unique(group[kept], return_inverse=True)
    tested = Dataset(np.asarray(other.image)[kept], label[kept], numbers.astype(np.int32))
    return External(tested, left, rows, threshold)


def _nearest(records: Records, other: Records) -> tuple[np.ndarray, np.ndarray]:
    """For each external image the largest correlation with one of the data, in whole files or
    head crops, as they are or mirrored, and which; 1 for the same pixels."""
    value, index = np.full(len(other.digest), -1.0), np.zeros(len(other.digest), np.int64)
    for one, two in ((records.small, other.small), (records.small_head, other.small_head)):
        own = duplicates.thumbnails(one)
        for seen in (np.asarray(two), np.asarray(two)[:, :, ::-1]):
            found, which = duplicates.nearest(duplicates.thumbnails(seen), own)
            index = np.where(found > value, which, index)
            value = np.maximum(value, found)
    first = {digest: i for i, digest in reversed(list(enumerate(records.digest)))}
    for i, digest in enumerate(other.digest):
        if digest in first:
            value[i], index[i] = 1.0, first[digest]
    return value, index


def _sentence(said: dict) -> str:
    found = ", ".join(
        f"{n} {shown(name)}" + (f" (as {shown(own)})" if own != name else "")
        for (name, n), own in zip(said["found"].items(), said["classes"].values(), strict=True)
    )
    tested = ", ".join(f"{n} {shown(name)}" for name, n in said["tested"].items())
    return (
        f"{found}; {said['copies']} are copies of the data's; with what shares a group with one "
        f"{said['taken_out']} are taken out; tested: {tested}, the nearest to one of the data at "
        f"{said['nearest']:.3f}"
    )


def describe(one: External) -> list[str]:
    """Lines that say what was found, and how many copies were taken out."""
    records = one.records
    lines = [f"other  {shown(records.root)}: {one.summary()['sentence']}"]
    kinds = {note: "warn  " if note in records.warnings else "note  " for note in records.notes}
    return lines + [f"{kind} other: {note}" for note, kind in kinds.items()]
