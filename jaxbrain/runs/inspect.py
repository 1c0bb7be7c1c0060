"""What a set of images is, and what in it would fool a study."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from jaxbrain.baselines import floors
from jaxbrain.data import duplicates, load_data, splits, tfds
from jaxbrain.data.collect import Options
from jaxbrain.data.folder import Scan, scan
from jaxbrain.data.layout import shown
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.reports import sheets
from jaxbrain.scoring import intervals
from jaxbrain.types import Dataset

_SHEET_COLUMNS = 10
# Of the images as they are looked at, pixels.
_SIZE = 96
# Warnings of one kind that are printed one by one.
_MANY = 20
_COUNTED = "modes", "splits"
# Images per class of public sets as they were measured.
_KNOWN = (
    ("Kaggle navoneel/brain-mri-images-for-brain-tumor-detection", {"no": 98, "yes": 155}),
    ("Br35H (ahmedhamada0/brain-tumor-detection)", {"no": 1500, "yes": 1500}),
    (
        "Masoud Nickparvar's set, 7023 images",
        {"no": 2000, "glioma": 1621, "meningioma": 1645, "pituitary": 1757},
    ),
    ("Cheng's figshare set", {"glioma": 1426, "meningioma": 708, "pituitary": 930}),
)


def inspect(
    source: str | Path,
    *,
    duplicate_threshold: float = 0.98,
    sheet: str | Path | None = None,
    **options,
) -> dict:
    """Look at a folder, an archive or a TFDS data set as the loader would read it.

    Args:
        source: see `load_data`.
        duplicate_threshold: see `load_folder`.
        sheet: path of a contact sheet, images of every class.
        options: `frames`, `brain_fraction`, `positive`, `group_by` and `patients` of
            `load_folder`.

    Returns:
        JSON values: `status` (0 usable, 1 usable with warnings, 2 refused), `error` (of a
        refused one, else None), `layout`, `counts` (class: images that can be read),
        `positive` (name of the positive one of two classes, else None), `unreadable`
        [{path, reason}], `duplicates` [{kind: identical or near, paths}], `warnings`; and of
        a set that can be read `classes` (images, groups, sizes, modes and splits of each),
        `sizes`, `modes`, `groups`, `searches` (where near-duplicates were sought: images,
        distance, threshold, pairs, next), `patient_ids` (what tells patients apart), `splits`,
        `metadata` (accuracy from files alone, by cross-validation, beside the majority) and
        `looks_like`.

    Raises:
        ConfigError: for an option outside its values, a sheet that cannot be written.
    """
    found = {
        "source": shown(source),
        "status": 2,
        "error": None,
        "layout": None,
        "counts": {},
        "positive": None,
        "unreadable": [],
        "duplicates": [],
        "warnings": [],
    }
    try:
        result = _scan(source, options)
    except DataError as error:
        return found | {"error": str(error)}
    prefix = f"{shown(source)}/"
    found["unreadable"] = [
        {"path": path.removeprefix(prefix), "reason": reason} for path, reason in result.bad
    ]
    if result.data is None:
        return found | {"error": f"{shown(source)}: no image in it can be read"}
    found |= _looked_at(result.data, result.records, duplicate_threshold)
    if sheet is not None:
        try:
            contact_sheet(Path(sheet), result.data, result.records)
        except (OSError, ValueError) as error:
            raise ConfigError(f"sheet {sheet}: cannot be written: {error}") from error
    if result.bad:
        error = f"{shown(source)}: {len(result.bad)} of {result.total} files cannot be used"
        return found | {"error": error}
    return found | {"status": 1 if found["warnings"] else 0}


def _scan(source, options: dict) -> Scan:
    if str(source).startswith(tfds.PREFIX):
        data, records = load_data(source, image_size=_SIZE, **options)
        return Scan(data, records, [], len(data.label))
    options = Options(image_size=_SIZE, square="pad", **options)
    # Copies are looked for where they are reported.
    return scan(Path(source), options, duplicate_threshold=None)


def _looked_at(data: Dataset, records: Records, threshold: float) -> dict:
    names, label = records.class_names, np.asarray(data.label)
    counts = {name: int((label == k).sum()) for k, name in enumerate(names)}
    audit = duplicates.audit(
        records.small, label, records.digest, threshold, records.patient, records.small_head
    )
    copies = _copies(audit, records)
    widths, heights = zip(*records.size, strict=True)
    metadata = _metadata(records, label, audit.group)
    warnings = _of_files(records, counts)
    if copies:
        groups = audit.counts(label, names)["total"]
        among = len({path for one in copies for path in one["paths"]})
        warnings.append(
            f"{among} images are copies of one another or nearly so: {len(label)} images are "
            f"{groups} groups; a random split puts copies on both sides"
        )
    across = [
        f"near-duplicates of two classes: {shown(records.path[i])}, {shown(records.path[j])}"
        for i, j in audit.across
    ]
    warnings += _some(across, "pairs of near-duplicates of two classes")
    official = _official(records, audit.group)
    if official and official["test_with_twin"]:
        warnings.append(
            f"the official split leaks: {official['test_with_twin']} of {official['test']} test "
            f"images have a copy among the training images, {official['test_clean']} are clean"
        )
    if metadata and metadata["accuracy"] > metadata["majority"] + 0.10:
        low, _ = intervals.wilson(metadata["accuracy"] * len(label), len(label))
        if low > metadata["majority"]:
            warnings.append(
                f"labels leak: size, mode and length of the files alone give "
                f"{100 * metadata['accuracy']:.1f} % (the largest class "
                f"{100 * metadata['majority']:.1f} %)"
            )
    return {
        "layout": records.layout,
        "counts": counts,
        "classes": _classes(records, label, audit.group),
        "positive": records.positive_class(),
        "why_positive": records.positive,
        "sizes": {
            "width": [min(widths), max(widths)],
            "height": [min(heights), max(heights)],
            "distinct": len(set(records.size)),
        },
        "modes": dict(Counter(records.mode).most_common()),
        "duplicates": copies,
        "groups": audit.counts(label, names),
        "searches": [search._asdict() for search in audit.searches],
        "patient_ids": list(records.ids),
        "mirrored_pairs": len(audit.flipped),
        "splits": official,
        "metadata": metadata,
        "looks_like": next((name for name, known in _KNOWN if known == counts), None),
        "notes": list(map(shown, records.notes)),
        "warnings": list(map(shown, warnings)),
    }


def _classes(records: Records, label: np.ndarray, group: np.ndarray) -> list[dict]:
    """Of each class its images, groups, sizes (least, median, largest), modes and splits."""
    size, found = np.asarray(records.size), []
    for k, name in enumerate(records.class_names):
        own = np.flatnonzero(label == k)
        if not len(own):
            continue
        sides = {
            side: [int(size[own, axis].min()), int(np.median(size[own, axis])), int(most)]
            for axis, side in enumerate(("width", "height"))
            for most in (size[own, axis].max(),)
        }
        modes = Counter(records.mode[i] for i in own).most_common()
        splits = Counter(records.split[i] for i in own if records.split[i])
        counts = {"images": len(own), "groups": len(np.unique(group[own]))}
        found.append({"class": name} | counts | sides | {"modes": dict(modes), "splits": splits})
    return found


def _class_table(classes: list[dict]) -> list[str]:
    """The rows of `_classes`, in columns."""
    rows = [("class", "images", "groups", "width", "height", "modes", "")]
    for one in classes:
        sizes = ("..".join(map(str, dict.fromkeys(one[side]))) for side in ("width", "height"))
        words = (" ".join(f"{n} {count}" for n, count in one[of].items()) for of in _COUNTED)
        rows.append((shown(one["class"]), str(one["images"]), str(one["groups"]), *sizes, *words))
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "table  " + "  ".join(cell.ljust(n) for cell, n in zip(row, wide, strict=True)).rstrip()
        for row in rows
    ]


def _of_files(records: Records, counts: dict[str, int]) -> list[str]:
    """Warnings on what was read, one by one."""
    constant = [one for one in records.warnings if one.endswith("constant image")]
    empty = [name for name, count in counts.items() if not count]
    return [
        *_some(constant, "images that are constant"),
        *(one for one in records.warnings if one not in constant),
        *(f"class {name} has no image that can be read" for name in empty),
    ]


def _some(texts: list[str], what: str) -> list[str]:
    """The first of many, and how many there are."""
    if len(texts) <= _MANY:
        return texts
    return [*texts[:_MANY], f"{len(texts)} {what} in all"]


def _copies(audit: duplicates.Audit, records: Records) -> list[dict]:
    """Groups of the same pixels, and groups that near-duplicates connect beyond those."""
    by_digest, by_group = defaultdict(list), defaultdict(list)
    for i, digest in enumerate(records.digest):
        by_digest[digest].append(i)
    for i in np.unique(audit.near):
        by_group[audit.group[i]].append(i)
    identical = [own for own in by_digest.values() if len(own) > 1]
    near = [own for own in by_group.values() if len({records.digest[i] for i in own}) > 1]
    return [
        {"kind": kind, "paths": [shown(records.path[i]) for i in own]}
        for kind, groups in (("identical", identical), ("near", near))
        for own in groups
    ]


def _official(records: Records, group: np.ndarray) -> dict | None:
    """Images of official splits, and test images with a copy among the others."""
    split = np.asarray(records.split)
    if not (split == "test").any() or not (split == "train").any():
        return None
    twin = np.isin(group[split == "test"], group[split != "test"])
    counts = {name: int((split == name).sum()) for name in ("train", "val", "test")}
    return counts | {"test_with_twin": int(twin.sum()), "test_clean": int((~twin).sum())}


def _metadata(records: Records, label: np.ndarray, group: np.ndarray) -> dict | None:
    """Accuracy of the nearest files by size, mode and bytes (no pixel is looked at), over
    folds that keep copies together; None where there are too few images."""
    features = floors.file_features(records, brightness=False)
    count = len(records.class_names)
    smallest = min(len(np.unique(group[label == k])) for k in range(count))
    if smallest < 2:
        return None
    right, everyone, many = 0, np.arange(len(label)), min(5, smallest)
    try:
        rng = np.random.default_rng(0)
        tests = splits.folds(label, group, everyone, many, 1.0 / many, rng)
    except DataError:
        return None
    for test in tests:
        train = np.setdiff1d(everyone, test)
        p = floors.metadata(features[train], label[train], features[test], count)
        right += int((p.argmax(axis=1) == label[test]).sum())
    majority = float(np.bincount(label).max() / len(label))
    return {"accuracy": right / len(label), "majority": majority}


def contact_sheet(path: Path, data: Dataset, records: Records) -> None:
    """Images of each class in rows, evenly chosen, each over the name of its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, captions = [], []
    for k, name in enumerate(records.class_names):
        own = np.flatnonzero(data.label == k)
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), 4 * _SHEET_COLUMNS)).astype(int)]
        for start in range(0, len(chosen), _SHEET_COLUMNS):
            some = chosen[start : start + _SHEET_COLUMNS]
            rows.append(("" if start else shown(name), data.image[some]))
            captions.append([shown(Path(records.path[i]).name) for i in some])
    sheets.sheet(path, rows, captions)


def _search(one: dict) -> str:
    beyond = "" if one["next"] is None else f", the next at {one['next']:.3f}"
    return (
        f"pairs  {one['images']}: {one['pairs']} at {one['threshold']:g} or more "
        f"({one['distance']}){beyond}"
    )


def lines(found: dict) -> list[str]:
    """What `inspect` found, for people."""
    text = [f"data   {found['source']}"]
    if found["counts"]:
        counts = "  ".join(f"{name} {count}" for name, count in found["counts"].items())
        width, height = found["sizes"]["width"], found["sizes"]["height"]
        total, classes = sum(found["counts"].values()), len(found["counts"])
        text += [
            f"data   found {total} images in {classes} classes",
            f"layout {found['layout']}: {counts}",
            *_class_table(found["classes"]),
            f"sizes  widths {width[0]}..{width[1]}  heights {height[0]}..{height[1]}  "
            f"{found['sizes']['distinct']} distinct",
            "modes  " + " ".join(f"{mode} {n}" for mode, n in found["modes"].items()),
            "groups "
            + "  ".join(f"{name} {n}" for name, n in found["groups"].items())
            + f"  ({found['mirrored_pairs']} pairs when one is mirrored, not grouped)",
            *map(_search, found["searches"]),
        ]
        if found["positive"]:
            text.insert(3, f"class  positive: {found['positive']} ({found['why_positive']})")
        if found["patient_ids"]:
            text.append(f"known  patients, by {' and '.join(found['patient_ids'])}")
        if found["looks_like"]:
            text.append(f"known  as many images as {found['looks_like']}")
        if found["metadata"]:
            text.append(
                f"files  size, mode and length alone give {100 * found['metadata']['accuracy']:.1f}"
                f" %, the largest class {100 * found['metadata']['majority']:.1f} %"
            )
        text += [f"note   {one}" for one in found["notes"] if one not in found["warnings"]]
    text += [f"bad    {one['path']}: {one['reason']}" for one in found["unreadable"]]
    text += [f"warn   {warning}" for warning in found["warnings"]]
    if found["error"]:
        text.append(f"refused {found['error']}")
    return text
