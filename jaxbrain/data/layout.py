"""What a folder of labelled images looks like: which of its folders are classes."""

import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from jaxbrain.data import sniff
from jaxbrain.data.classes import canonical, letters_of, natural, order, text_of
from jaxbrain.errors import DataError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")
MEDICAL = (".dcm", ".nii", ".nii.gz", ".mat")
# Files beside images that nobody takes for images.
_DOCUMENTS = set(
    ".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .html .htm .pdf .doc .docx .xls .xlsx "
    ".odt .ini .cfg .log .py .m .r .ipynb .sh .bval .bvec .db .url .lnk .zip .sha256 .md5".split()
)
_PLAIN_DOCUMENTS = set(
    "license licence copying readme changelog changes authors citation notice attribution version "
    "manifest md5sums sha256sums thumbs desktop dicomdir".split()
)
# Unlabelled images and second copies that public sets carry beside their classes.
_NOT_CLASSES = {"pred", "br35h-mask-rcnn", "__macosx"}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ACCEPTED = """accepted layouts (images directly inside the class folders, at most one
folder around all of it):
  DIR/no/*.jpg  DIR/yes/*.jpg
  DIR/<class>/*.png for two or more classes
  DIR/Training/<class>/*.jpg  DIR/Testing/<class>/*.jpg
  DIR/*.mat (Cheng's set, which holds its labels)"""
CHENG = ("glioma", "meningioma", "pituitary")
# The class of images that are in no class folder.
FLAT = "images"


class Layout(NamedTuple):
    """kind: as `Records.layout` says it. files: (class name, split, file), class by class;
    in Cheng's set both are "". notes: what was left out; warnings: what of that may be
    images."""

    kind: str
    class_names: tuple[str, ...]
    files: list[tuple[str, str, Path]]
    notes: list[str]
    warnings: list[str]


def shown(path) -> str:
    """A name as one line of text: line breaks, and what is no UTF-8, as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))


def link_problem(path: Path, root: Path) -> str | None:
    """Why a symbolic link is not followed, or None."""
    if not path.is_symlink():
        return None
    if not path.exists():
        return "a symbolic link to nothing"
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(root)):
        return (
            f"a symbolic link out of the folder, to {target}: where a cache keeps the files, copy "
            "them (cp -rL follows links), or name the folder that holds them"
        )
    if path.is_dir() and Path(os.path.realpath(path.parent)).is_relative_to(target):
        return "a symbolic link to a folder around it"
    return None


def is_document(file: Path) -> bool:
    """Whether a file beside images is one that nobody takes for an image, by its name."""
    name = file.name.lower()
    return file.suffix.lower() in _DOCUMENTS or name.split(".")[0] in _PLAIN_DOCUMENTS


def _may_be_image(file: Path) -> bool:
    """By its name, or by its first bytes where that does not say: downloads and scanners
    give images many suffixes, or none."""
    name = file.name.lower()
    # However a system spelled it: DICOMDIR;1, DICOMDIR.dcm.
    if name.startswith("dicomdir"):
        return False
    if name.endswith(IMAGES + MEDICAL):
        return True
    if is_document(file) or not plain(file):
        return False
    try:
        with file.open("rb") as opened:
            # Any HDF5 file looks like Cheng's, which are named .mat.
            return sniff.kind(opened.read(sniff.HEAD)) not in (None, "MAT")
    except OSError:
        return False


def plain(path: Path) -> bool:
    """Whether a path is a file that can be read to its end: no pipe, no device. Why one
    cannot be looked at is said where it is read."""
    return os.path.isfile(path) or not os.path.exists(path)


def _listing(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Sub-folders, image files and what is neither, hidden entries among it."""
    try:
        entries = sorted(folder.iterdir(), key=natural)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be read: {error.strerror}") from error
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    # Unlike a path's own `is_dir` it answers where the entry may not be looked at.
    places = {entry for entry in visible if os.path.isdir(entry)}
    folders = [e for e in visible if e in places and e.name.lower() not in _NOT_CLASSES]
    images = [e for e in visible if e not in places and _may_be_image(e)]
    used = {*folders, *images}
    return folders, images, [entry for entry in entries if entry not in used]


# What every run holds: its pictures are no images to learn from.
_RUN = "config.json", "images.csv"


class _Said(NamedTuple):
    """What a look at a data set found worth saying."""

    notes: list[str]
    warnings: list[str]

    def left_out(self, folder: Path, entries: list[Path]) -> None:
        """Hidden entries, documents, and files of kinds that are not read, by suffix."""
        if not entries:
            return
        self.notes.append(f"{folder}: {len(entries)} hidden or other entries left out")
        files = [one for one in entries if not one.name.startswith(".") and plain(one)]
        documents = Counter(file.suffix or file.name for file in files if is_document(file))
        for kind, count in documents.items():
            self.notes.append(f"{folder}: {kind} {count}, left out")
        others = [file.suffix or "without a suffix" for file in files if not is_document(file)]
        for kind, count in Counter(others).items():
            self.warnings.append(
                f"{folder}: {count} files {kind} are of no kind that is read, and are left out"
            )


def _refuse_links(folders: list[Path], root: Path) -> None:
    for folder in folders:
        if problem := link_problem(folder, root):
            raise DataError(f"{shown(folder)}: {problem}: expected a folder")


def _refuse(folder: Path, found: str) -> DataError:
    return DataError(f"{shown(folder)}: {shown(found)}\n{ACCEPTED}")


def _class_folders(root: Path, said: _Said) -> dict[str, list[tuple[str, Path]]]:
    """Folders of images by class: class name -> [(split, folder)]."""
    folders, images, left_out = _listing(root)
    said.left_out(root, left_out)
    if images:
        raise _refuse(
            root,
            f"{len(images)} images outside any class folder: if it is the folder of one class, "
            "name the folder around it",
        )
    if not folders:
        raise _refuse(root, "no images and no class folders in it")
    splits = {f: SPLITS[f.name.lower()] for f in folders if f.name.lower() in SPLITS}
    sources = [("", f) for f in folders]
    if splits:
        if "train" not in splits.values():
            raise _refuse(root, f"only {', '.join(f.name for f in splits)}, no Training beside it")
        if others := [f.name for f in folders if f not in splits]:
            raise _refuse(root, f"split folders beside other folders: {others}")
        sources = []
        for place in sorted(splits, key=lambda f: ("train", "val", "test").index(splits[f])):
            inner, images, left_out = _listing(place)
            if images:
                raise _refuse(place, f"{len(images)} images outside any class folder")
            said.left_out(place, left_out)
            sources += [(splits[place], folder) for folder in inner]
        if not sources:
            raise _refuse(root, "no class folders in its split folders")
    classes: dict[str, list[tuple[str, Path]]] = {}
    spelled: dict[str, str] = {}
    for split, folder in sources:
        # One class in two spellings takes the first.
        name = canonical(text_of(folder.name))
        name = spelled.setdefault(letters_of(name), name)
        places = classes.setdefault(name, [])
        for other_split, other in places:
            if other_split == split:
                raise _refuse(root, f"{other.name!r} and {folder.name!r} both mean class {name}")
        places.append((split, folder))
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


def _cheng(root: Path) -> list[Path]:
    """The files of Cheng's set, in the folder or in those directly inside; else none."""
    folders, images, _ = _listing(root)
    for folder in folders:
        images = images + _listing(folder)[1]
    matlab = [file for file in images if file.name.lower().endswith(".mat")]
    # Fold numbers, not an image.
    slices = [file for file in matlab if file.name.lower() != "cvind.mat"]
    inside = any(canonical(folder.name) in ("no", "yes", *CHENG) for folder in folders)
    return slices if len(matlab) == len(images) and not inside else []


def find(root: Path, positive: str = "", flat: bool = False) -> Layout:
    """The classes of `root`, or of the one folder that wraps them, and their files.

    positive: see `classes.order`. flat: images outside any class folder are one class, and one
        class is enough.

    Raises:
        DataError: for another layout, an empty class, a link to a folder elsewhere.
        ConfigError: if `positive` is not one of two classes.
    """
    if all((root / name).is_file() for name in _RUN):
        raise DataError(
            f"{shown(root)}: is the directory of a run: expected a folder of images; sample and "
            "audit take runs"
        )
    said = _Said([], [])
    notes = said.notes
    folders, images, _ = _listing(root)
    _refuse_links(folders, root)
    # The one folder in `root`, if there is nothing else and it holds folders.
    wrapped = len(folders) == 1 and folders[0].name.lower() not in SPLITS and not images
    inside = folders[0] if wrapped and not _listing(folders[0])[1] else root
    _refuse_links(_listing(inside)[0], root)
    for place in dict.fromkeys((root, inside)):
        if files := _cheng(place):
            order(CHENG, positive)
            return Layout("Cheng's set", CHENG, [("", "", file) for file in files], notes, [])
    if inside != root:
        notes.append(f"{root}: read from the one folder in it, {inside.name}")
    alone = flat and _only_images(inside, said)
    classes = {FLAT: [("", inside)]} if alone else _find(inside, said, 1 if flat else 2)
    names, found = order(classes, positive), []
    for name in names:
        for split, folder in classes[name]:
            _refuse_links([folder], root)
            files = _listing(folder)[1]
            looks = Counter(unicodedata.normalize("NFC", file.name) for file in files)
            for look, count in looks.items():
                if count > 1:
                    notes.append(f"{shown(folder)}: {count} files whose names look alike: {look}")
            found += [(name, split, file) for file in files]
    kind = "split folders" if any(split for _, split, _ in found) else "class folders"
    kind = "one folder of images" if alone else kind
    return Layout(kind, names, found, list(map(shown, notes)), list(map(shown, said[1])))


def _only_images(root: Path, said: _Said) -> bool:
    """Whether a folder holds images and no folder."""
    folders, images, left_out = _listing(root)
    if folders or not images:
        return False
    said.left_out(root, left_out)
    return True


def _find(root: Path, said: _Said, least: int) -> dict[str, list[tuple[str, Path]]]:
    """`_class_folders` without a second copy of the same files, each with images; of `least`
    classes or more."""
    classes = _class_folders(root, said)
    for name, places in list(classes.items()):
        for _, folder in places:
            inner, images, left_out = _listing(folder)
            if images:
                said.left_out(folder, left_out)
                for deeper in inner:
                    count = len(_listing(deeper)[1])
                    text = f"{deeper}: a folder inside a class, left out ({count} images)"
                    said.notes.append(text)
                continue
            if inner and _second_copy(folder, root):
                said.notes.append(f"{folder}: a second copy of the same files, left out")
                del classes[name]
                break
            names = f", but folders: {', '.join(f.name for f in inner)}" if inner else ""
            raise _refuse(folder, f"no images in it{names}")
    if len(classes) < least:
        raise _refuse(
            root,
            f"one class only: {', '.join(classes)}: expected two or more, each in a folder of "
            "its own",
        )
    return classes
