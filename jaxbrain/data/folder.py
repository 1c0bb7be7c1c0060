"""A directory tree of images to (Dataset, Records)."""

import dataclasses
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np

from jaxbrain.data import duplicates
from jaxbrain.data.decode import decode
from jaxbrain.data.preprocess import prepare
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif"}
# Unlabelled images and second copies that public sets carry beside their classes.
_NOT_CLASSES = {"pred", "br35h-mask-rcnn", "__macosx"}
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
_NORMAL = {"no", "normal", "healthy", "negative", "control", "controls"} | {
    f"{prefix}{tumor}" for prefix in ("no", "non", "without") for tumor in ("tumor", "tumour")
}
_TUMOUR = {"yes", "positive", "tumor", "tumour", "withtumor", "withtumour"}
_ACCEPTED = """accepted layouts (images directly inside the class folders, at most one
folder around all of it):
  DIR/no/*.jpg  DIR/yes/*.jpg
  DIR/<class>/*.png for two or more classes
  DIR/Training/<class>/*.jpg  DIR/Testing/<class>/*.jpg"""


@dataclasses.dataclass(frozen=True)
class Records:
    """What is known of each image besides its pixels; stays on the host.

    Per image, in the order of the `Dataset`: `path` (relative to `root`), `mode`
    (Pillow's), `size` (width, height), `num_bytes`, `split` ("train", "test", "val", or
    "" where the folders do not say), `digest` (SHA-256 of the decoded pixels), `small`
    [N, 32, 32] float32 in [0, 1] (the whole file, see `duplicates.small`). For the whole:
    `class_names` (index = label), `layout`, and `notes` on what was found and left out.
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
    notes: tuple[str, ...]
    small: np.ndarray = dataclasses.field(compare=False, repr=False)


def _natural(path: Path) -> list:
    """Sort key with numbers as numbers (y2 before y10), the same on every system."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts] + [(2, 0, path.name)]


def _canonical(name: str) -> str:
    """Common spellings of normal and tumour become "no" and "yes"; others stay."""
    letters = re.sub(r"[\s_-]", "", name.lower())
    if letters in _NORMAL:
        return "no"
    return "yes" if letters in _TUMOUR else name


def _listing(folder: Path) -> tuple[list[Path], list[Path], int]:
    """Sub-folders, image files and the number of other files; hidden ones left out."""
    try:
        entries = sorted(folder.iterdir(), key=_natural)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [e for e in visible if e.is_dir() and e.name.lower() not in _NOT_CLASSES]
    files = [e for e in visible if not e.is_dir()]
    images = [file for file in files if file.suffix.lower() in EXTENSIONS]
    left_out = len(entries) - len(folders) - len(images)
    return folders, images, left_out


def _refuse(folder: Path, found: str) -> DataError:
    return DataError(f"{folder}: {found}\n{_ACCEPTED}")


def _class_folders(root: Path, notes: list[str]) -> dict[str, list[tuple[str, Path]]]:
    """Folders of images by class: class name -> [(split, folder)]."""
    folders, images, left_out = _listing(root)
    if left_out:
        notes.append(f"{root}: {left_out} hidden or other entries left out")
    if images:
        raise _refuse(root, f"{len(images)} images outside any class folder")
    if not folders:
        raise _refuse(root, "no images and no class folders in it")
    classes: dict[str, list[tuple[str, Path]]] = {}
    splits = [f for f in folders if f.name.lower() in _SPLITS]
    if splits:
        others = [f.name for f in folders if f not in splits]
        if others:
            raise _refuse(root, f"split folders beside other folders: {others}")
        order = ("train", "val", "test")
        splits.sort(key=lambda folder: order.index(_SPLITS[folder.name.lower()]))
        sources = []
        for place in splits:
            inner, images, left_out = _listing(place)
            if images:
                raise _refuse(place, f"{len(images)} images outside any class folder")
            if left_out:
                notes.append(f"{place}: {left_out} hidden or other entries left out")
            sources += [(_SPLITS[place.name.lower()], folder) for folder in inner]
        if not sources:
            raise _refuse(root, "no class folders in its split folders")
    else:
        sources = [("", f) for f in folders]
    for split, folder in sources:
        name = _canonical(folder.name)
        places = classes.setdefault(name, [])
        for other_split, other in places:
            if other_split == split:
                raise _refuse(root, f"{other.name!r} and {folder.name!r} both mean class {name}")
        places.append((split, folder))
    if splits:
        for name, places in classes.items():
            if len(places) < len(splits):
                where = ", ".join(str(folder.parent) for _, folder in places)
                raise _refuse(root, f"class {name!r} is only in {where}")
    return classes


def _second_copy(inner: Path, root: Path) -> bool:
    """Whether `inner` holds, class by class, the same files as `root` itself."""

    def contents(base: Path):
        return {
            (folder.name, image.name): image.read_bytes()
            for folder in _listing(base)[0]
            if folder != inner
            for image in _listing(folder)[1]
        }

    found = contents(inner)
    return bool(found) and found == contents(root)


def _find(root: Path, notes: list[str]) -> dict[str, list[tuple[str, Path]]]:
    """`_class_folders` of `root`, or of the one folder that wraps them."""
    folders, images, _ = _listing(root)
    wrapped = len(folders) == 1 and folders[0].name.lower() not in _SPLITS
    if wrapped and not images and not _listing(folders[0])[1]:
        notes.append(f"{root}: read from the one folder in it, {folders[0].name}")
        root = folders[0]
    classes = _class_folders(root, notes)
    for name, places in list(classes.items()):
        for _, folder in places:
            inner, images, left_out = _listing(folder)
            if images:
                if left_out:
                    notes.append(f"{folder}: {left_out} hidden or other entries left out")
                for deeper in inner:
                    count = len(_listing(deeper)[1])
                    notes.append(f"{deeper}: a folder inside a class, left out ({count} images)")
                continue
            if inner and _second_copy(folder, root):
                notes.append(f"{folder}: a second copy of the same files, left out")
                del classes[name]
                break
            found = "no images in it"
            if inner:
                found += f", but folders: {', '.join(f.name for f in inner)}"
            raise _refuse(folder, found)
    if len(classes) < 2:
        raise _refuse(root, f"one class only: {', '.join(classes)}")
    return classes


def _order(names) -> tuple[str, ...]:
    """Normal first, a class that only says tumour last, the others in natural order, so
    that of two classes the tumour is number 1, the positive one."""
    rank = {"no": 0, "yes": 2}
    return tuple(sorted(names, key=lambda n: (rank.get(n, 1), _natural(Path(n)))))


def load_folder(
    root: str | Path,
    *,
    image_size: int = 224,
    crop: str = "none",
    square: str = "stretch",
    dedup: str = "none",
    duplicate_threshold: float = 0.98,
) -> tuple[Dataset, Records]:
    """Read a folder of labelled images.

    Layouts: `no` and `yes` (or other spellings), any two or more class folders, or
    Training/Testing folders of those; one more folder may be around all of it. Files are
    decoded by content; names only choose which are images. Label 0 is the normal class
    where there is one, a class that only says tumour comes last, others in natural order.

    Args:
        root: the folder.
        image_size: side of the result in pixels.
        crop, square: see `preprocess.prepare`.
        dedup: "group" gives near-duplicates one group (`duplicates.groups` at
            `duplicate_threshold`); "none" gives every image its own.

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
    ):
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}: expected {' | '.join(allowed)}")
    if image_size < 1:
        raise ConfigError(f"image_size is {image_size!r}: expected at least 1 pixel")
    root = Path(root)
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root}: {found}: expected a folder of images\n{_ACCEPTED}")
    notes: list[str] = []
    classes = _find(root, notes)
    class_names = _order(classes)
    image, label, small, rows, bad = [], [], [], [], []
    seen: dict[str, tuple[int, Path]] = {}
    for index, name in enumerate(class_names):
        for split, folder in classes[name]:
            for path in _listing(folder)[1]:
                try:
                    grey, mode = decode(path)
                except DataError as error:
                    bad.append(f"  {path}: {error}")
                    continue
                content = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
                twin_label, twin = seen.setdefault(content, (index, path))
                if twin_label != index:
                    bad.append(f"  {path}: the same picture as {twin}, of another class")
                image.append(prepare(grey, image_size, crop, square))
                label.append(index)
                small.append(duplicates.small(grey))
                if grey.min() == grey.max():
                    notes.append(f"{path}: constant image")
                size = (grey.shape[1], grey.shape[0])
                relative = path.relative_to(root).as_posix()
                rows.append((relative, mode, size, path.stat().st_size, split, content))
    if bad:
        total = sum(len(_listing(place)[1]) for name in classes for _, place in classes[name])
        raise DataError(
            f"{root}: {len(bad)} of {total} files cannot be used "
            "(mend or remove them):\n" + "\n".join(bad)
        )
    stacked = np.stack(image)
    path, mode, size, num_bytes, split, digest = zip(*rows, strict=True)
    if dedup == "group":
        group = duplicates.groups(np.stack(small), digest, duplicate_threshold)
    else:
        group = np.arange(len(stacked), dtype=np.int32)
    layout = "split folders" if any(split) else "class folders"
    records = Records(
        root=str(root),
        layout=layout,
        class_names=class_names,
        path=path,
        mode=mode,
        size=size,
        num_bytes=num_bytes,
        split=split,
        digest=digest,
        notes=tuple(notes),
        small=np.stack(small),
    )
    return Dataset(stacked, np.asarray(label, np.int32), group), records


def describe(data: Dataset, records: Records) -> list[str]:
    """Lines that say what was read: counts, sizes, modes, groups, notes."""
    counts = np.bincount(data.label, minlength=len(records.class_names)).tolist()
    per_class = "  ".join(
        f"{name} {n}" for name, n in zip(records.class_names, counts, strict=True)
    )
    modes = " ".join(f"{mode} {n}" for mode, n in Counter(records.mode).most_common())
    widths, heights = zip(*records.size, strict=True)
    lines = [
        f"data   {records.root}",
        f"data   found {len(records.path)} images in {len(counts)} classes "
        f"({records.layout}): {per_class}"
        + (f"  (positive: {records.class_names[1]})" if len(counts) == 2 else ""),
        f"data   widths {min(widths)}..{max(widths)}  heights "
        f"{min(heights)}..{max(heights)}  modes {modes}  unreadable 0",
    ]
    num_groups = len(np.unique(data.group))
    if num_groups < len(records.path):
        lines.append(f"data   {num_groups} groups of near-duplicates")
    return lines + [f"note   {note}" for note in records.notes]


def from_arrays(data: Dataset, class_names: tuple[str, ...], root: str) -> Records:
    """`Records` of images that come from no file, such as phantoms."""
    size = data.image.shape[2], data.image.shape[1]
    count = len(data.label)
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
        digest=tuple(hashlib.sha256(one.tobytes()).hexdigest() for one in np.asarray(data.image)),
        notes=(),
        small=np.stack([duplicates.small(one[..., 0] / 255.0) for one in np.asarray(data.image)]),
    )
