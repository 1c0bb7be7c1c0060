"""What an audit compares: synthetic, training and held-out images, of folders or of a run."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxbrain import config
from jaxbrain.audit import privacy
from jaxbrain.config import Config
from jaxbrain.data import duplicates, load_data, options_of, phantom
from jaxbrain.data.layout import shown
from jaxbrain.data.preprocess import resized
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import files, sample
from jaxbrain.runs.sample import SavedGAN
from jaxbrain.runs.workdir import IMAGES
from jaxbrain.study import held_out as held
from jaxbrain.types import Dataset

SYNTHETIC, TRAINING, HELD_OUT = SETS = "synthetic", "training", "held-out"
# Of the thumbnails of two images of which one is taken for a copy of the other.
_THRESHOLD = 0.98
# Fewer say nothing: see `audit.generative`.
_LEAST, _FEW = 8, 40
# Held-out images from which on one is a twentieth or less.
_TWENTIETH = 19


class Images(NamedTuple):
    """One of the three sets: image [N, S, S, 1] uint8, label [N] int32; path, digest: of each;
    small, small_head: see `Records`. use: [M] int, without those that are left out, and of
    training and held-out images one of each group of copies; why: [N], why one is no part of
    `use`, or ""."""

    image: np.ndarray
    label: np.ndarray
    path: tuple[str, ...]
    digest: tuple[str, ...]
    small: np.ndarray
    small_head: np.ndarray
    use: np.ndarray
    why: tuple[str, ...]

    @property
    def used(self) -> np.ndarray:
        return self.image[self.use]

    def counts(self, class_names: tuple[str, ...]) -> dict:
        """How many there are of each class, are left out and why, and are used."""
        found = np.bincount(self.label, minlength=len(class_names)).tolist()
        left_out = Counter(why for why in self.why if why)
        by_class = dict(zip(class_names, found, strict=True))
        return {"found": by_class, "left_out": dict(left_out), "used": len(self.use)}


class Material(NamedTuple):
    """The three sets, and what is known of them. about: JSON values, for `audit.json`; cfg: of
    what is trained for the audit; saved: the GAN, of a run; among: what of the real images is
    used."""

    about: dict
    cfg: Config
    class_names: tuple[str, ...]
    synthetic: Images
    training: Images
    held_out: Images
    warnings: list[str]
    among: privacy.Kept
    saved: SavedGAN | None = None

    @property
    def settings(self) -> dict:
        """What must be the same to go on with an audit, beside the images."""
        names = ("kind", "size", "options", "seed", "key", "checkpoint")
        return {name: self.about[name] for name in names if name in self.about}

    @property
    def sets(self) -> dict[str, Images]:
        return dict(zip(SETS, (self.synthetic, self.training, self.held_out), strict=True))


def _images(data: Dataset, records: Records, label: np.ndarray) -> Images:
    count = len(label)
    own = records.path, records.digest, records.small, records.small_head
    image = np.asarray(data.image)
    return Images(image, np.int32(label), *own, np.arange(count), ("",) * count)


# Folders.


def of_folders(
    synthetic: str, training: str, held_out: str, *, size: int = 64, cache_folder=None, **options
) -> Material:
    """Three folders or archives: of class folders, or of images alone.

    Args:
        size: side that all images are brought to.
        options: crop, square, frames, ...: see `load_folder`; the same for all three.

    Raises:
        DataError: for a folder that cannot be read (see `load_folder`), and where fewer than 8
            images of a set are left.
        ConfigError: for a size below 16; if training and held-out are one folder.
    """
    if size < 16:
        raise ConfigError(f"size is {size}: expected at least 16 pixels")
    sources = dict(zip(SETS, (synthetic, training, held_out), strict=True))
    warnings = _same(sources)
    loaded = {}
    for name, source in sources.items():
        how = {"image_size": size, "flat": True, "cache_folder": cache_folder}
        try:
            loaded[name] = load_data(source, **how, **options)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        warnings += [f"{name}: {text}" for text in loaded[name][1].warnings]
    known = {records.class_names for _, records in loaded.values()}
    names = known.pop()
    if known:
        _refuse_fewer(loaded)
        names = ("all images",)
        shown_of = "; ".join(f"{n} {', '.join(r.class_names)}" for n, (_, r) in loaded.items())
        warnings.append(f"classes differ ({shown_of}): all images are taken for one class")
    drawn, *both = (
        _images(data, records, np.asarray(data.label) * (len(names) > 1))
        for data, records in loaded.values()
    )
    real = _real(*both)
    about = {"kind": "folders", "size": size, "options": options}
    about |= {
        name: os.path.abspath(source) if os.path.exists(source) else str(source)
        for name, source in sources.items()
    }
    cfg = _sized(config.cpu(), size, len(names))
    sets = drawn, real.training, real.held_out
    warnings += real.warnings
    return _checked(Material(about, cfg, names, *sets, warnings, real.among))


def _refuse_fewer(loaded: dict) -> None:
    """Refuse synthetic images of some of the classes only that the real ones are of."""
    own, *real = (set(records.class_names) for _, records in loaded.values())
    if real[0] == real[1] and own < real[0]:
        raise DataError(
            f"synthetic: has only {', '.join(sorted(own))} of {', '.join(sorted(real[0]))}: "
            "expected the same classes in all three: give the folders of these classes as "
            "training and held-out"
        )


def _sized(cfg: Config, size: int, num_classes: int) -> Config:
    data = dataclasses.replace(cfg.data, image_size=size, num_classes=max(num_classes, 2))
    return dataclasses.replace(cfg, data=data)


def _same(sources: dict[str, str]) -> list[str]:
    """Sets that are one folder: refused, or a warning for each."""
    where = {name: os.path.realpath(source) for name, source in sources.items()}
    both = [Path(where[name]) for name in (TRAINING, HELD_OUT)]
    if both[0] == both[1] or both[0] in both[1].parents or both[1] in both[0].parents:
        raise ConfigError(
            f"training {shown(sources[TRAINING])}, held-out {shown(sources[HELD_OUT])}: one holds "
            "the other: expected as held-out images those that the generator never saw"
        )
    return [
        f"synthetic images are the {name} images themselves: {shown(sources[name])}"
        for name in (TRAINING, HELD_OUT)
        if where[name] == where[SYNTHETIC]
    ]


# A run.


def of_run(
    run: str | Path,
    *,
    seed: int = 0,
    n: int = 0,
    key: int = 0,
    data: str | None = None,
    cache_folder=None,
    say=print,
) -> Material:
    """A run of `train_gan`: its sides, and images drawn from its last checkpoint.

    Args:
        seed: of the GAN. key: of the latents.
        n: synthetic images, classes as among training images; 0 draws as many as there are
            training images when copies count once.
        data: where its images are now; where they were without it.

    Raises:
        DataError: for another run, and images that are not those of its `images.csv`.
        CheckpointError, ConfigError: see `sample.load`.
    """
    if n < 0:
        raise ConfigError(f"n is {n}: expected images, or 0 for as many as training images")
    sample.require_key(key)
    saved = sample.load(run, seed, say)
    if saved.about.get("kind") != "train_gan":
        raise DataError(
            f"{saved.run}: is a run of {saved.about.get('kind')}, whose GAN held no image out: "
            "expected one of train_gan"
        )
    rows = {row["id"]: row for row in files.read_csv(saved.run / IMAGES)}
    found, records = _again(saved, data, cache_folder)
    if other := unlike(rows, records):
        raise DataError(f"{saved.run}: its images are not those of {records.root}: {other}")
    side = np.asarray([rows[files.cell(path)]["side"] for path in records.path])
    small = resized(found, saved.cfg.gan.image_size)
    whole = _images(small, records, np.asarray(small.label))
    both = (_some(whole, np.flatnonzero(side == name)) for name in (held.TRAINING, held.HELD_OUT))
    real = _real(*both)
    seen = real.training.label[real.training.use]
    counts = np.bincount(seen, minlength=len(saved.class_names))
    label = np.repeat(np.arange(len(counts), dtype=np.int32), shares(counts, n or counts.sum()))
    drawn = sample.draw(saved, label, jax.random.key(key))
    about = {"kind": "run", "key": key, "size": saved.cfg.gan.image_size} | saved.provenance()
    sets = _drawn(drawn, label, saved.class_names), real.training, real.held_out
    warnings = real.warnings
    if saved.chosen:
        warnings.append(
            f"step {saved.step} was chosen by the kernel distance of texture to these held-out "
            "images: that distance is a little too small"
        )
    known = saved.class_names, *sets, warnings, real.among, saved
    return _checked(Material(about, saved.cfg, *known))


def shares(counts: np.ndarray, total: int) -> np.ndarray:
    """`total` in whole parts as unequal as `counts` [K], by largest remainders.

    Example:
        >>> shares(np.asarray([10, 20, 30]), 7).tolist()
        [1, 2, 4]
    """
    exact = counts * total / counts.sum()
    whole = np.floor(exact).astype(int)
    most = np.argsort(whole - exact, kind="stable")[: total - whole.sum()]
    whole[most] += 1
    return whole


def _again(saved: SavedGAN, source: str | None, cache_folder) -> tuple[Dataset, Records]:
    """The images that a run was made of, as it read them."""
    # As the run had it: for the draw its classifier's size is the GAN's.
    cfg = config.from_dict(saved.about["config"]).data
    size = max(cfg.image_size, saved.cfg.gan.image_size)
    about = {}
    if source is None:
        try:
            about = json.loads((saved.run / "results.json").read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{saved.run}: does not say where its images are ({error}): name them with --data"
            ) from error
        if about["source"] == "phantoms":
            return phantom.folder(cfg, size)
        source = about["root"]
    return load_data(source, image_size=size, cache_folder=cache_folder, **options_of(cfg))


def unlike(rows: dict[str, dict], records: Records) -> str:
    """How images differ from those that a run has listed, or ""."""
    now = {files.cell(path): sha for path, sha in zip(records.path, records.digest, strict=True)}
    missing = [one for one in rows if one not in now]
    more = [one for one in now if one not in rows]
    other = [one for one in now if one in rows and rows[one]["sha256"] != now[one]]
    for what, names in (("missing", missing), ("added", more), ("changed", other)):
        if names:
            return f"{len(names)} {what}, such as {names[0]}"
    return ""


def _some(images: Images, index: np.ndarray) -> Images:
    kept = {
        name: of[index] if isinstance(of, np.ndarray) else tuple(of[i] for i in index.tolist())
        for name, of in images._asdict().items()
    }
    return images._replace(**kept | {"use": np.arange(len(index))})


def _drawn(image: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> Images:
    number = np.concatenate([np.arange(count) for count in np.bincount(label)])
    path = [f"{names[k]}/{n:04d}.png" for k, n in zip(label.tolist(), number, strict=True)]
    grey = image[..., 0].astype(np.float32) / np.float32(255.0)
    return Images(
        image,
        label,
        tuple(path),
        tuple(hashlib.sha256(one.tobytes()).hexdigest() for one in image),
        np.stack([duplicates.small(one) for one in grey]),
        np.stack([duplicates.small_head(one) for one in grey]),
        np.arange(len(label)),
        ("",) * len(label),
    )


# What is compared.


class _Real(NamedTuple):
    """Training and held-out images with what is in use of them; among: how they were chosen."""

    training: Images
    held_out: Images
    among: privacy.Kept
    warnings: list[str]


def _real(training: Images, held_out: Images) -> _Real:
    """Held-out images that are training images left out, and one of each group of
    near-duplicates in use (`privacy.kept`).

    Raises:
        DataError: if no held-out image is left.
    """
    same = np.isin(held_out.digest, training.digest) | np.isin(_bytes(held_out), _bytes(training))
    others = np.flatnonzero(~same)
    if not len(others):
        raise DataError(
            f"all {len(same)} held-out images are identical with training images: expected images "
            "that the generator never saw"
        )
    found = privacy.kept(training.image, held_out.image[others], _THRESHOLD)
    why = np.full(len(same), "near to a training image or to an earlier held-out one", object)
    why[same], why[others[found.held_out]] = "identical with a training image", ""
    first = np.full(
        len(training.label), "near to an earlier training image or a held-out one", object
    )
    first[found.members] = ""
    warnings = [
        f"{number} of {len(same)} held-out images are {what} training images, and are left out of "
        "the held-out ones"
        for number, what in ((same.sum(), "identical with"), (found.copies, "near copies of"))
        if number
    ]
    training = training._replace(use=found.members, why=tuple(first))
    held_out = held_out._replace(use=others[found.held_out], why=tuple(why))
    # Held-out images are from here on those in use.
    found = found._replace(held_out=np.arange(len(held_out.use)))
    return _Real(training, held_out, found, warnings)


def _bytes(images: Images) -> list[str]:
    return [hashlib.sha256(one.tobytes()).hexdigest() for one in images.image]


def _checked(material: Material) -> Material:
    """`material` with warnings of sets with few images; a DataError for next to none."""
    warnings = list(material.warnings)
    for name, images in material.sets.items():
        left, found = len(images.use), len(images.label)
        if left < _LEAST:
            raise DataError(
                f"{name}: {left} images are left of {found} when copies count once: expected at "
                f"least {_LEAST}"
            )
        if left < _FEW:
            warnings.append(f"{name}: {left} different images only: intervals are wide")
        if name == HELD_OUT and left < _TWENTIETH:
            warnings.append(
                f"copied_fraction: the nearest of {left} held-out images is the threshold, so "
                f"{100 / (left + 1):.0f} % are expected where nothing is copied, not 5"
            )
    return material._replace(warnings=warnings)
