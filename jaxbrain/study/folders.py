"""A generator whose synthetic images are files: "folder:DIR", a folder that `runs.folds` wrote
and that somebody's own generator filled (`data.filled`).

A fit is known by its name, and by the digest of the images and labels that it sees: images
drawn for other fits, or from other images, are refused. Fits that nobody filled are left out.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import filled
from jaxbrain.data.collect import Options
from jaxbrain.data.filled import Place
from jaxbrain.data.layout import shown
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import names as grammar
from jaxbrain.study.cells import Fit
from jaxbrain.study.methods import Generator
from jaxbrain.study.protocols import StudyConfig

PREFIX = grammar.FOLDER
# Where images are kept changes no fit; a study sets the number of classes itself.
_FREE = "placement", "num_classes"
# Lines of an error, at most.
_MOST = 10


def parted(text: str) -> tuple[str, str]:
    """The path, and the modes that follow (`names`). A path that itself ends as they do is given
    with a / at its end.

    Example:
        >>> parted("folder:my images@home@50,only")
        ('my images@home', '@50,only')
    """
    own, _ = grammar.parted(text)
    return own.removeprefix(PREFIX), text[len(own) :]


def own_name(text) -> str:
    """What a generator is called in results: "folder:some/where@50" -> "folder_where@50";
    other names, and values, stay."""
    if not isinstance(text, str) or not text.startswith(PREFIX):
        return text
    path, suffix = parted(text)
    return f"{generator(path).name}{suffix}"


class Folder(NamedTuple):
    """A folder that no study has looked into yet; equal to another one of the same path."""

    path: Path

    def __call__(self, *_):
        raise ConfigError(f"{self.path}: expected to be made ready by its study")


def generator(path: str) -> Generator:
    """The generator of a folder, for `bound`; named after the last part of its path.

    Raises:
        ConfigError: for no path.
    """
    if not path:
        raise ConfigError(f"generators has {PREFIX!r}: expected a folder after it")
    try:
        place = Path(path).expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise ConfigError(f"generators has {PREFIX}{path!r}: {error}") from error
    name = re.sub(r"[^\w.-]", "_", place.name, flags=re.ASCII)
    return Generator(f"folder_{name}"[:60], Folder(place))


class Drawn:
    """A folder in a study, called as `Generator.fit_sample`.

    used: digest of a training set -> its place, and how many images of each class are taken.
    sha256: name of a place -> digest of the images that were there when the study began.
    notes: what is worth saying.
    """

    def __init__(self, options: Options):
        self.options = options
        self.used: dict[str, tuple[Place, np.ndarray]] = {}
        self.sha256: dict[str, str] = {}
        self.notes: list[str] = []

    def take(self, place: Place, need: np.ndarray) -> None:
        """Look at what a place holds."""
        self.used[place.digest] = place, need
        self.sha256[place.path.name] = _sha256(filled.images(place, need, self.options))
        more = sum(map(len, filled.files(place))) - int(need.sum())
        if more:
            self.notes.append(
                f"{shown(place.path.name)}: {more} synthetic images more than the "
                f"{need.sum()} wanted; the first of each class by name are taken"
            )

    def __call__(self, cfg: Config, train, label, key) -> np.ndarray:
        place, need = self.used[filled.digest(train.image, train.label)]
        image = filled.images(place, need, self.options)
        if _sha256(image) != self.sha256[place.path.name]:
            raise DataError(f"{shown(place.path)}: its synthetic images changed during the run")
        label, first = np.asarray(label), np.cumsum(need) - need
        same = np.eye(len(need), dtype=np.int64)[label]
        # The n-th image of a class is its n-th file.
        number = ((same.cumsum(axis=0) - 1) * same).sum(axis=1)
        return image[first[label] + number]


def _sha256(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def bound(
    generators: dict[str, Generator],
    fits: list[Fit],
    cfg: Config,
    options: StudyConfig,
    images: Callable[[], np.ndarray],
    names: Sequence[str] | None,
) -> tuple[dict[str, Generator], dict[str, str]]:
    """Folders among the generators, looked into.

    Args:
        fits: of the study; images: gives [N, S, S, 1] uint8, what a generator is shown of the
            real ones; names: of the classes, None where they are not known.

    Returns:
        The generators, ready to draw; and why a fit has no images, by its name.

    Raises:
        ConfigError: for folders that were written for other fits, saying what differs; where
            no fit of a generator is there.
        DataError: for classes with too few images, files that cannot be used.
    """
    found, without = {}, {}
    for name, one in generators.items():
        if isinstance(one.fit_sample, Folder):
            own = [fit for fit in fits if fit.generator == name]
            drawn, missing = _bound(one.fit_sample.path, own, cfg, options, images(), names)
            one, without = dataclasses.replace(one, fit_sample=drawn), without | missing
        found[name] = one
    return found, without


def _bound(root, fits, cfg, options, image, names) -> tuple[Drawn, dict[str, str]]:
    known = {fit: place for place in filled.places(root) for fit in place.fits}
    wanted = settings(cfg, options)
    missing, needs = {}, {}
    for fit in fits:
        place = known.get(fit_name(fit))
        if place is None:
            missing[fit.name] = "no folder was written for it"
            continue
        _refuse_other(place, fit, image, wanted, names)
        need = np.bincount(fit.drawn, minlength=len(place.names)) * (1 + fit.spare)
        if any(filled.files(place)):
            before = needs.get(place.digest, (place, need))[1]
            needs[place.digest] = place, np.maximum(before, need)
        else:
            missing[fit.name] = f"nothing is in its {filled.SYNTHETIC}/"
    if fits and not needs:
        why = "; ".join(dict.fromkeys(list(missing.values())[:3]))
        raise ConfigError(f"{shown(root)}: no fit of this study has synthetic images: {why}")
    lines = [
        line
        for place, need in needs.values()
        for line in filled.lacking(place, filled.files(place), need)
    ]
    if lines:
        rest = [f"... and {len(lines) - _MOST} more"] * (len(lines) > _MOST)
        raise DataError("too few synthetic images:\n" + "\n".join([*lines[:_MOST], *rest]))
    read = Options(
        image_size=image.shape[1],
        square=cfg.data.square,
        frames=cfg.data.frames,
        brain_fraction=cfg.data.brain_fraction,
        patients="ignore",
    )
    drawn = Drawn(read)
    for place, need in needs.values():
        drawn.take(place, need)
    return drawn, missing


def fit_name(fit: Fit) -> str:
    """A fit's name whatever its generator: "train/true/0/2"."""
    return "/".join(map(str, fit[1:5]))


def settings(cfg: Config, options: StudyConfig) -> dict:
    """What decides which fits a study has, and what they see."""
    data = {name: one for name, one in vars(cfg.data).items() if name not in _FREE}
    study = {name: getattr(options, name) for name in ("split", "seeds", "folds")}
    return {
        **{f"data.{name}": one for name, one in data.items()},
        "gan.image_size": cfg.gan.image_size,
        **study,
    }


def _refuse_other(place: Place, fit: Fit, image, wanted: dict, names) -> None:
    """Refuse a folder that was written for a fit of this name that sees something else."""
    own = image[fit.index]
    differ = []
    if names is not None and tuple(names) != place.names:
        differ.append(f"classes: {', '.join(place.names)} there, {', '.join(names)} now")
    if filled.digest(own, fit.label[fit.index]) == place.digest and not differ:
        return
    differ += [
        f"{name}: {place.settings.get(name)!r} there, {wanted[name]!r} now"
        for name in wanted
        if place.settings.get(name) != wanted[name]
    ]
    there, now = dict(place.training), set(filled.pixels(own))
    if gone := [one for one, digest in there.items() if digest not in now]:
        differ.append(f"images: {len(gone)} of {len(there)} are not here, such as {gone[0]}")
    if more := len(now - set(there.values())):
        differ.append(f"images: {more} of {len(now)} are not there")
    differ = differ or ["labels, or the order of the images"]
    raise ConfigError(
        f"{shown(place.path)}: written for a fit {fit_name(fit)} that sees other images or labels "
        "than this study's: write folders with the study's own flags, or judge with theirs:\n  "
        + "\n  ".join(map(shown, differ))
    )
