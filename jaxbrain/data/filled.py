"""Folders of synthetic images that somebody made outside, for the fits of a study.

`runs.folds` writes a folder for each fit: the images to train on, and `wanted.json`, what is
wanted of whom. What somebody's generator draws from them stands in `synthetic/<class>/`.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.data.classes import natural
from jaxbrain.data.collect import Options
from jaxbrain.data.folder import listed, read_file
from jaxbrain.data.layout import is_document, shown
from jaxbrain.data.preprocess import prepare
from jaxbrain.errors import ConfigError, DataError

WANTED, TRAINING, SYNTHETIC = "wanted.json", "training", "synthetic"


class Place(NamedTuple):
    """The folder of a fit, as its `wanted.json` says.

    fits: their names without the generator's, such as "train/true/0/2"; fits that see the same
        images with the same labels share a folder.
    names: of the classes, in the order of their labels; folders: what theirs are called;
        wanted: how many images of each.
    side: of an image, pixels. digest: see `digest`. training: (id, SHA-256) of each image.
    settings: what decided the fits.
    """

    path: Path
    fits: tuple[str, ...]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    wanted: tuple[int, ...]
    side: int
    digest: str
    training: tuple[tuple[str, str], ...]
    settings: dict


def pixels(image: np.ndarray) -> list[str]:
    """SHA-256 of the bytes of each image: [N, S, S, 1] uint8 -> N."""
    return [hashlib.sha256(one.tobytes()).hexdigest() for one in np.asarray(image)]


def digest(image: np.ndarray, label: np.ndarray) -> str:
    """SHA-256 of a training set: of the lines "<SHA-256 of an image's bytes> <its label>", each
    with a line break, in the order of the images.

    Example:
        >>> digest(np.zeros((1, 8, 8, 1), np.uint8), np.asarray([1]))[:8]
        '8ee2eb19'
    """
    lines = zip(pixels(image), np.asarray(label).tolist(), strict=True)
    return hashlib.sha256("".join(f"{one} {k}\n" for one, k in lines).encode()).hexdigest()


def places(root: Path) -> list[Place]:
    """The folders of fits in a folder.

    Raises:
        ConfigError: if there is none, or two are for one fit or hold one training set.
        DataError: for a `wanted.json` that no `folds` wrote.
    """
    if not root.is_dir():
        raise ConfigError(f"{shown(root)}: no folder: expected one that `jaxbrain folds` wrote")
    found = [
        _read(one) for one in sorted(root.glob(f"*/{WANTED}"), key=lambda p: natural(p.parent))
    ]
    if not found:
        raise ConfigError(
            f"{shown(root)}: no folder with a {WANTED} in it: expected one that `jaxbrain folds` "
            "wrote"
        )
    known: dict[str, Place] = {}
    for place in found:
        for what in (*place.fits, place.digest):
            if (other := known.setdefault(what, place)) is not place:
                raise ConfigError(
                    f"{shown(root)}: {shown(other.path.name)} and {shown(place.path.name)} are "
                    "both for the same fit or the same training images: expected one"
                )
    return found


def _read(path: Path) -> Place:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        classes = about["classes"]
        folders = tuple(str(one["folder"]) for one in classes)
        # A file of somebody else's names no place outside its folder.
        if strange := [name for name in folders if Path(name).name != name]:
            raise ValueError(f"folder {strange[0]!r} is no plain name")
        return Place(
            path.parent,
            tuple(map(str, about["fits"])),
            tuple(str(one["name"]) for one in classes),
            folders,
            tuple(int(one["wanted"]) for one in classes),
            int(about["side"]),
            str(about["training_sha256"]),
            tuple((str(one["id"]), str(one["sha256"])) for one in about["training"]),
            dict(about["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{shown(path)}: not what `jaxbrain folds` wrote: {error!r}") from error


def files(place: Place) -> list[list[Path]]:
    """Of each class its synthetic images in the order of their names, numbers as numbers.
    Hidden files and documents (.txt, .json, ...) are left out.

    Raises:
        DataError: for a folder in `synthetic/` that is no class, one that cannot be read.
    """
    root = place.path / SYNTHETIC
    try:
        inside = [one.name for one in root.iterdir() if one.is_dir()] if root.is_dir() else []
        if strange := sorted(set(inside) - set(place.folders)):
            raise DataError(
                f"{shown(root)}: {shown(', '.join(strange))} is no class: expected folders "
                f"{shown(', '.join(place.folders))}"
            )
        found = [
            sorted((root / n).iterdir(), key=natural) if n in inside else [] for n in place.folders
        ]
    except OSError as error:
        raise DataError(f"{shown(root)}: cannot be read: {error.strerror}") from error
    return [
        [one for one in own if not one.name.startswith(".") and not is_document(one)]
        for own in found
    ]


def lacking(place: Place, found: list[list[Path]], need: Sequence[int]) -> list[str]:
    """A line for each class of which there are fewer images than needed."""
    return [
        f"{shown(place.path / SYNTHETIC / folder)}: {len(own)} images, {count} wanted"
        for folder, own, count in zip(place.folders, found, need, strict=True)
        if len(own) < count
    ]


def images(place: Place, need: Sequence[int], options: Options) -> np.ndarray:
    """The first `need[k]` synthetic images of each class k, class by class.

    options: `image_size`, `square`, and how files are read; images are not cropped.

    Returns:
        [M, S, S, 1] uint8; an 8-bit grey image of side S as it is.

    Raises:
        DataError: for too few images, and one that lists every file that cannot be used.
    """
    found = files(place)
    if lines := lacking(place, found, need):
        raise DataError("\n".join(lines))
    side = options.image_size
    chosen = [file for own, count in zip(found, need, strict=True) for file in own[:count]]
    image, bad = np.zeros((len(chosen), side, side, 1), np.uint8), []
    for i, file in enumerate(chosen):
        try:
            read = read_file(file, place.path, options)
            if len(read.image) != 1:
                raise DataError(f"holds {len(read.image)} pictures: expected one")
            image[i] = prepare(read.image[0], side, "none", options.square)
        except DataError as error:
            bad.append((shown(file), str(error)))
    if bad:
        raise DataError(f"{len(bad)} synthetic images cannot be used:\n{listed(bad)}")
    return image
