"""The protocols P0 to P3: who is fitted on what, and who is tested, as index arrays.

Leaks: L1 the generator saw test images, L2 synthetic images are tested,
L3 exact copies and L4 near-duplicates fall on both sides of the split.

P0, the paper's (L1 to L4). The generator is fitted on every real image; real and synthetic
    images are pooled, the pool is split. Half the test set is synthetic: images made by
    what made half the training set, from the very images tested. Its accuracy says how
    well the classifier tells the generator's classes apart; it estimates nothing about
    new patients.
P1 (L1, L3, L4). Only real images are tested, the others and all synthetic ones train, and
    the generator still saw every real image. P0 minus P1 is what testing on synthetic
    images is worth. Whatever the generator copied from a test image trains the
    classifier: for a generator that memorises, P1 is testing on training images.
P2 (L3, L4). The generator is fitted on the training images alone. P1 minus P2 is what its
    looking at the test images was worth. This is what most careful studies do.
P3 (none of these). As P2, and near-duplicates stay on one side of the split. P2 minus P3 is
    what copies were worth. What remains: slices of one patient that do not look alike
    cannot be recognised without patient ids, so P3 is still an upper estimate.

Each without synthesis too (generator "none"; P0, P1 and P2 are then the same split by
images). With shuffled labels nothing can be learnt, and an honest protocol gives the
accuracy of guessing: labels are shuffled by groups before anything is fitted.

A study's images are its real ones (0 to N-1 in their data set) and those that a fit draws
(N, N+1, ...): its pool. Everything here is NumPy on the host, drawn from a whole seed.
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import require_range

PROTOCOLS = "P0", "P1", "P2", "P3"
GENERATORS = "cgan", "linear", "none"
NETWORKS = "cnn_lstm_vector", "cnn_lstm_scalar", "cnn_lstm_rows", "cnn"
FLOORS = "majority", "metadata", "nn1", "ridge"
# Of the paper's Table 4 (`baselines.methods`).
METHODS = "glrlm_cslbp_ann", "radiomics_svm", "vgg16_transfer", "vgg16_scratch", "hbtc_mlp"
# What sees images as they are prepared for a network; floors see files.
PREPARED = NETWORKS + METHODS


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Which cells a study has, and how they are mapped."""

    # holdout: each seed draws its images (data.n_per_class) and one test set
    # (data.test_fraction). kfold: all images, every one tested once a seed.
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 20
    folds: int = 5  # of kfold
    protocols: tuple[str, ...] = PROTOCOLS
    # cgan, linear, none; cgan@50 draws 50 synthetic images per class to train on.
    generators: tuple[str, ...] = ("linear", "none")
    # cnn_lstm_vector, cnn_lstm_scalar, cnn_lstm_rows, cnn, majority, metadata, nn1, ridge,
    # glrlm_cslbp_ann, radiomics_svm, vgg16_transfer, vgg16_scratch, hbtc_mlp
    classifiers: tuple[str, ...] = ("majority", "metadata", "nn1", "ridge")
    shuffled: bool = True  # shuffled labels under P0 and P3 too
    probe: bool = True  # classifiers also tell real images from synthetic ones (P0)
    # How networks are trained over seeds and folds. auto: two at a time on a CPU, side by
    # side on an accelerator (benchmarks/README.md); devices: that on every device.
    mapping: Literal["auto", "map", "vmap", "devices"] = "auto"
    # Trainings in one call (on each device), saved together; 0 takes 2 on a CPU, else 32.
    chunk: int = 0
    # ImageNet weights of VGG-16, .npz or .safetensors in torchvision's or Keras's layout;
    # vgg16_transfer needs them.
    weights: str = ""

    def __post_init__(self):
        for name in ("seeds", "folds"):
            value, low = getattr(self, name), 1 if name == "seeds" else 2
            if not isinstance(value, int) or value < low:
                raise ConfigError(f"{name} is {value!r}: expected a whole number from {low}")
        if not isinstance(self.chunk, int) or self.chunk < 0:
            raise ConfigError(f"chunk is {self.chunk!r}: expected 0 or more")
        for name, known in (("protocols", PROTOCOLS), ("classifiers", PREPARED + FLOORS)):
            _check_names(name, getattr(self, name), known)
        _check_names("generators", [base(name) for name in self.generators], GENERATORS)
        if len(set(self.generators)) < len(self.generators):
            raise ConfigError(f"generators is {self.generators!r}: expected each once")
        for name in self.generators:
            dose(name)
        if "vgg16_transfer" in self.classifiers and not self.weights:
            raise ConfigError(
                "classifiers has 'vgg16_transfer': expected weights, a file of VGG-16's ImageNet "
                "weights; without one vgg16_scratch trains the same network from nothing"
            )


def _check_names(field: str, values, known: tuple[str, ...]) -> None:
    if not values:
        raise ConfigError(f"{field} is empty: expected some of {', '.join(known)}")
    for value in values:
        if value not in known:
            raise ConfigError(f"{field} has {value!r}: expected some of {', '.join(known)}")
    if field != "generators" and len(set(values)) < len(values):
        raise ConfigError(f"{field} is {tuple(values)!r}: expected each once")


def base(generator: str) -> str:
    """ "cgan@50" -> "cgan"."""
    return generator.split("@")[0]


def dose(generator: str) -> int | None:
    """Synthetic images per class that a name asks for ("cgan@50" -> 50), or None."""
    _, at, number = generator.partition("@")
    if not at:
        return None
    if base(generator) == "none" or not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"generators has {generator!r}: expected a name such as cgan@50")
    return int(number)


class Fit(NamedTuple):
    """A generator to fit.

    generator: "cgan" or "linear". scope: "all" (P0, P1), "train" (P2), "grouped" (P3).
    labels: "true" or "shuffled".
    label: [N] int32, of the real images as this fit is told them.
    index: [F], the real images that it sees; drawn: [M] int32, labels of the synthetic
        images that it draws, class by class.
    """

    generator: str
    scope: str
    labels: str
    seed: int
    fold: int
    label: np.ndarray
    index: np.ndarray
    drawn: np.ndarray

    @property
    def name(self) -> str:
        return "/".join(map(str, self[:5]))


class Cell(NamedTuple):
    """A classifier to train and test; `labels` is "true", "shuffled", or "origin" for the
    probe, which learns 0 for real and 1 for synthetic images.

    fit: name of the `Fit` that drew its synthetic images, "" for none.
    label: [N + M] int32 over its pool; train, test: ascending indices into it.
    """

    protocol: str
    generator: str
    classifier: str
    labels: str
    seed: int
    fold: int
    fit: str
    label: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @property
    def name(self) -> str:
        """Equal for cells that are one computation: without synthesis P0, P1 and P2."""
        protocol = self.protocol
        if self.generator == "none" and protocol != "P3":
            protocol = "P2"
        return "/".join(map(str, (protocol, *self[1:6])))


def _first(drawn: np.ndarray, counts, offset: int) -> np.ndarray:
    """Pool indices of the first `counts[k]` synthetic images of each class k."""
    parts = [np.flatnonzero(drawn == k)[:count] for k, count in enumerate(counts)]
    return offset + np.sort(np.concatenate(parts))


def plan(
    cfg: Config, options: StudyConfig, label: np.ndarray, group: np.ndarray
) -> tuple[list[Fit], list[Cell]]:
    """Every fit and every cell of a study.

    Synthetic images: with "holdout" as many of each class as the larger class has real
    ones (P0: as many as fill both classes to twice that); with "kfold" as many as there
    are real ones, of the training set under P2 and P3. A dose in a generator's name
    replaces these numbers.

    Args:
        label: [N] int32, 0 or 1; group: [N] int32, near-duplicates share one.

    Raises:
        DataError: unless there are two classes, each large enough to be split.
    """
    label, group = np.asarray(label), np.asarray(group)
    found = len(np.unique(label))
    if found != 2:
        raise DataError(f"a study has two classes, normal and tumour: found {found}")
    require_range("label", label, num_classes=2)
    fits: list[Fit] = []
    cells: list[Cell] = []
    for seed in range(options.seeds):
        for labels in ("true", "shuffled") if options.shuffled else ("true",):
            _plan_seed(cfg, options, label, group, seed, labels, fits, cells)
    return fits, cells


def _plan_seed(cfg, options, true_label, group, seed, labels, fits, cells) -> None:
    holdout = options.split == "holdout"
    num_per_class = cfg.data.n_per_class if holdout else 0
    index = splits.select(true_label, num_per_class, seed)
    largest = int(np.bincount(true_label[index]).max())
    label = true_label
    if labels == "shuffled":
        label = splits.shuffled(true_label, group, index, seed)
    own = np.arange(len(label))
    num_folds = 1 if holdout else options.folds
    counts = np.bincount(label[index], minlength=2)

    def split(label, group, index):
        return splits.folds(label, group, index, num_folds, cfg.data.test_fraction, seed)

    def add_fit(kind, scope, fold, seen, per_class) -> Fit:
        drawn = np.repeat(np.arange(2, dtype=np.int32), per_class)
        fit = Fit(kind, scope, labels, seed, fold, label, seen, drawn)
        fits.append(fit)
        return fit

    def add_cells(protocol, generator, fold, fit, train, test, labels=labels, told=None):
        drawn = fit.drawn if fit else np.zeros(0, np.int32)
        told = np.concatenate([label, drawn]) if told is None else told
        for classifier in options.classifiers:
            # Synthetic images come from no file; the probe needs something to tell.
            if classifier == "metadata" and fit:
                continue
            name = fit.name if fit else ""
            cells.append(
                Cell(protocol, generator, classifier, labels, seed, fold, name, told, train, test)
            )

    wanted = [p for p in options.protocols if labels == "true" or p in ("P0", "P3")]
    by_image = split(label, own, index)
    by_group = split(label, group, index) if "P3" in wanted else []
    names = {kind: [g for g in options.generators if base(g) == kind] for kind in GENERATORS}
    if names["none"]:
        for protocol in wanted:
            for fold, test in enumerate(by_group if protocol == "P3" else by_image):
                add_cells(protocol, "none", fold, None, np.setdiff1d(index, test), test)
    for kind in ("cgan", "linear"):
        if not names[kind]:
            continue

        def numbers(generator, usual):
            asked = dose(generator)
            return np.full(2, asked) if asked else np.asarray(usual)

        def most(usual, kind=kind):
            return np.max([numbers(generator, usual) for generator in names[kind]], axis=0)

        filled = 2 * largest - counts if holdout else counts
        if {"P0", "P1"} & set(wanted):
            usual = np.maximum(filled, largest) if holdout else counts
            fit = add_fit(kind, "all", 0, index, most(usual))
            for generator in names[kind]:
                if "P0" in wanted:
                    new = _first(fit.drawn, numbers(generator, filled), len(label))
                    pool = np.concatenate([index, new])
                    told = np.concatenate([label, fit.drawn])
                    everyone = np.arange(len(told))
                    origin = (everyone >= len(label)).astype(np.int32)
                    for fold, test in enumerate(split(told, everyone, pool)):
                        train = np.setdiff1d(pool, test)
                        add_cells("P0", generator, fold, fit, train, test)
                        if options.probe and labels == "true":
                            add_cells("P0", generator, fold, fit, train, test, "origin", origin)
                if "P1" in wanted:
                    usual = np.full(2, largest) if holdout else counts
                    new = _first(fit.drawn, numbers(generator, usual), len(label))
                    for fold, test in enumerate(by_image):
                        train = np.concatenate([np.setdiff1d(index, test), new])
                        add_cells("P1", generator, fold, fit, train, test)
        for protocol, scope, tests in (("P2", "train", by_image), ("P3", "grouped", by_group)):
            if protocol not in wanted:
                continue
            for fold, test in enumerate(tests):
                seen = np.setdiff1d(index, test)
                usual = np.full(2, largest)
                if not holdout:
                    usual = np.bincount(label[seen], minlength=2)
                fit = add_fit(kind, scope, fold, seen, most(usual))
                for generator in names[kind]:
                    new = _first(fit.drawn, numbers(generator, usual), len(label))
                    train = np.concatenate([seen, new])
                    add_cells(protocol, generator, fold, fit, train, test)


def twins(cell: Cell, group: np.ndarray) -> np.ndarray:
    """For each test image of a cell: 1 if the training set holds a real image of its
    group, 0 if not, -1 for a synthetic one. [T] int8."""
    count = len(group)
    seen = group[cell.train[cell.train < count]]
    real = cell.test < count
    found = np.full(len(cell.test), -1, np.int8)
    found[real] = np.isin(group[cell.test[real]], seen)
    return found
