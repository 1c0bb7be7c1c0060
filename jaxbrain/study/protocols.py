"""The protocols P0 to P4: who is fitted on what, and who is tested, as index arrays.

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
P4 (none of these, and other images). As P3, but everything is fitted on all real images and
    images of another source are tested, those taken out that have a copy among the real ones
    (`data.external`). P3 and P4 differ in the source (its scanners, its files, its choice of
    patients) and in how much is trained on: all images, where P3 leaves a test set out.

Each without synthesis too (generator "none"; P0, P1 and P2 are then the same split by
images), or with synthetic images alone to train on ("cgan@only", `names`; not P0, which is
tested on synthetic images too). With shuffled labels nothing can be learnt, and an honest protocol
gives the accuracy of guessing: labels are shuffled by groups before anything is fitted.

A study's images are its real ones (0 to N-1 in their data set; the last of these may be
another source's, which P4 alone looks at) and those that a fit draws (N, N+1, ...): its pool.
Everything here is NumPy on the host, drawn from the study's key.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.config.studies import EXTERNAL, StudyConfig
from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.names import NONE, base, dose, parted
from jaxbrain.types import Array, require_range

# What a search (`nested`) calls the cells inside a training set of P3.
INNER = "inner"


class Draw(NamedTuple):
    """What every protocol of one seed starts from, with its true or its shuffled labels.

    rng: purpose -> a random stream. label: [N]; own: how many of them, from the first on,
        are not another source's; index: [n], those of them in use.
    counts: [K], how many of each class; by_image, by_group: test sets, one a fold.
    """

    cfg: Config
    options: StudyConfig
    seed: int
    labels: str
    rng: Callable[[str], np.random.Generator]
    label: np.ndarray
    own: int
    index: np.ndarray
    counts: np.ndarray
    by_image: list[np.ndarray]
    by_group: list[np.ndarray]

    @property
    def holdout(self) -> bool:
        return self.options.split == "holdout"

    @property
    def beside(self) -> np.ndarray:
        """[K]: P1's synthetic images."""
        return np.full_like(self.counts, self.counts.max()) if self.holdout else self.counts

    @property
    def filled(self) -> np.ndarray:
        """[K]: P0's synthetic images, which bring every class to twice the largest."""
        return 2 * self.beside - self.counts

    def split(self, label, group, index) -> list[np.ndarray]:
        folds = 1 if self.holdout else self.options.folds
        fraction = self.cfg.data.test_fraction
        return splits.folds(label, group, index, folds, fraction, self.rng("folds"))


def plan(
    cfg: Config,
    options: StudyConfig,
    label: np.ndarray,
    group: np.ndarray,
    key: Array,
    real_only: Collection[str] = (),
    num_external: int = 0,
) -> tuple[list[Fit], list[Cell]]:
    """Every fit and every cell of a study.

    Synthetic images: with "holdout" as many of each class as the largest class has real
    ones (P0: as many as fill every class to twice that); with "kfold" as many as there
    are real ones, of the training set under P2 and P3. A dose in a generator's name
    replaces these numbers.

    Args:
        options: generators and classifiers by their own names.
        label: [N] int32, 0 to K - 1; group: [N] int32, near-duplicates share one.
        key: of the study; seed s draws from `fold_in(key, s)`.
        real_only: classifiers that have no part beside synthetic images.
        num_external: how many of the images, the last ones, are another source's.

    Raises:
        ConfigError: for P4 without such images, for a generator that has no cell.
        DataError: unless there are two classes or more, each large enough to be split.
    """
    label, group = np.asarray(label), np.asarray(group)
    if EXTERNAL in options.protocols and not num_external:
        raise ConfigError(
            f"protocols has {EXTERNAL!r}: expected images of another source with it (--external)"
        )
    _refuse_empty(options)
    own = len(label) - num_external
    num_classes = len(np.unique(label[:own]))
    if num_classes < 2:
        raise DataError(f"a study has two classes or more: found {num_classes}")
    require_range("label", label, num_classes=num_classes)
    fits: dict[str, Fit] = {}
    cells: list[Cell] = []
    for seed in range(options.seeds):
        for labels in ("true", "shuffled") if options.shuffled else ("true",):
            draw = _draw(cfg, options, label, group, key, own=own, seed=seed, labels=labels)
            wanted = [p for p in options.protocols if labels == "true" or p in ("P0", "P3")]
            for generator in options.generators:
                for protocol in wanted:
                    if protocol == EXTERNAL:
                        some, made = _others_tested(draw, generator)
                    elif protocol == "P0" and generator != NONE:
                        some, made = _pooled(draw, generator)
                    else:
                        some, made = _real_tested(draw, protocol, generator)
                    fits |= {fit.name: fit for fit in some}
                    cells += [
                        cell._replace(protocol=protocol, generator=generator, classifier=name)
                        for cell in made
                        for name in options.classifiers
                        if not (cell.fit and name in real_only)
                    ]
    return list(fits.values()), cells


def _refuse_empty(options: StudyConfig) -> None:
    for generator in options.generators:
        if set(options.protocols) == {"P0"} and parted(generator)[1].only:
            raise ConfigError(
                f"generators has {generator!r}, and protocols P0 alone: expected P1, P2 or P3 too, "
                "since P0 has real images in training and synthetic ones in the test"
            )


def streams(key: Array, seed: int) -> Callable[[str], np.random.Generator]:
    """Of a seed of a study: purpose -> a random stream, the same one whenever it is asked for."""
    words = np.asarray(jax.random.key_data(jax.random.fold_in(key, seed))).tolist()

    def rng(purpose: str) -> np.random.Generator:
        return np.random.default_rng([*words, *purpose.encode()])

    return rng


def _draw(cfg, options, true_label, group, key, *, own, seed, labels) -> Draw:
    rng = streams(key, seed)
    per_class = cfg.data.n_per_class if options.split == "holdout" else 0
    index = splits.select(true_label[:own], per_class, rng("select"))
    label = true_label
    if labels == "shuffled":
        label = splits.shuffled(true_label, group, index, rng("shuffle"))
    counts = np.bincount(label[index], minlength=int(true_label.max()) + 1)
    draw = Draw(cfg, options, seed, labels, rng, label, own, index, counts, [], [])
    by_image = draw.split(label, np.arange(len(label)), index)
    by_group = draw.split(label, group, index) if "P3" in options.protocols else []
    return draw._replace(by_image=by_image, by_group=by_group)


def _cell(draw: Draw, fold: int, fit: Fit | None, train, test) -> Cell:
    """A cell of no protocol, generator and classifier yet."""
    drawn = np.zeros(0, np.int32) if fit is None else fit.drawn
    label = np.concatenate([draw.label, drawn])
    name = "" if fit is None else fit.name
    return Cell("", "", "", draw.labels, draw.seed, fold, name, label, train, test)


def _asked(generator: str, usual: np.ndarray) -> np.ndarray:
    """Synthetic images per class: the dose of the name, or the protocol's own number."""
    number = dose(generator)
    return usual if number is None else np.full_like(usual, number)


def _first(fit: Fit, counts: np.ndarray) -> np.ndarray:
    """Pool indices of the first `counts[k]` synthetic images of each class k."""
    parts = [np.flatnonzero(fit.drawn == k)[:count] for k, count in enumerate(counts)]
    return len(fit.label) + np.sort(np.concatenate(parts))


def _fit(draw: Draw, generator, scope, fold, seen, usual: list[np.ndarray]) -> Fit:
    """The fit that serves all names of a generator: it draws the most that one asks for."""
    own = base(generator)
    names = [name for name in draw.options.generators if base(name) == own]
    counts = np.max([_asked(name, one) for name in names for one in usual], axis=0)
    drawn = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    spare = any(parted(name)[1].filtered for name in names)
    return Fit(own, scope, draw.labels, draw.seed, fold, draw.label, seen, drawn, spare)


def _trained_on(real: np.ndarray, fit: Fit, generator: str, usual: np.ndarray) -> np.ndarray:
    """Pool indices of what a cell's classifier is trained on, of the real images `real`."""
    ours = _first(fit, _asked(generator, usual))
    return ours if parted(generator)[1].only else np.concatenate([real, ours])


def _fit_on_all(draw: Draw, generator: str) -> Fit:
    usual = {"P0": draw.filled, "P1": draw.beside}
    wanted = [usual[p] for p in draw.options.protocols if p in usual]
    return _fit(draw, generator, "all", 0, draw.index, wanted)


def _pooled(draw: Draw, generator: str) -> tuple[list[Fit], list[Cell]]:
    """P0 with synthesis: real and synthetic images are tested. Nothing of synthetic ones alone."""
    if parted(generator)[1].only:
        return [], []
    fit = _fit_on_all(draw, generator)
    pool = np.concatenate([draw.index, _first(fit, _asked(generator, draw.filled))])
    label = np.concatenate([draw.label, fit.drawn])
    # Of a synthetic image no copy is known: each is a group of its own.
    everyone = np.arange(len(label))
    origin = (everyone >= len(draw.label)).astype(np.int32)
    cells = []
    for fold, test in enumerate(draw.split(label, everyone, pool)):
        cell = _cell(draw, fold, fit, np.setdiff1d(pool, test), test)
        cells.append(cell)
        if draw.options.probe and draw.labels == "true":
            cells.append(cell._replace(labels="origin", label=origin))
    return [fit], cells


# Protocols whose generators are fitted on the training images alone.
_INSIDE = {"P2": "train", "P3": "grouped"}


def _real_tested(draw: Draw, protocol: str, generator: str) -> tuple[list[Fit], list[Cell]]:
    """P1 to P3, and every protocol without synthesis."""
    fits, cells = [], []
    fit, usual = None, draw.beside
    if protocol == "P1" and generator != NONE:
        fit = _fit_on_all(draw, generator)
    for fold, test in enumerate(draw.by_group if protocol == "P3" else draw.by_image):
        train = np.setdiff1d(draw.index, test)
        if protocol in _INSIDE and generator != NONE:
            if not draw.holdout:
                usual = np.bincount(draw.label[train], minlength=len(draw.counts))
            fit = _fit(draw, generator, _INSIDE[protocol], fold, train, [usual])
        if fit is not None:
            fits.append(fit)
            train = _trained_on(train, fit, generator, usual)
        cells.append(_cell(draw, fold, fit, train, test))
    return fits, cells


def _others_tested(draw: Draw, generator: str) -> tuple[list[Fit], list[Cell]]:
    """P4: all real images train, another source's are tested."""
    train, test = np.arange(draw.own), np.arange(draw.own, len(draw.label))
    if generator == NONE:
        return [], [_cell(draw, 0, None, train, test)]
    usual = np.bincount(draw.label[train], minlength=len(draw.counts))
    if draw.holdout:
        usual = np.full_like(usual, usual.max())
    fit = _fit(draw, generator, "whole", 0, train, [usual])
    train = _trained_on(train, fit, generator, usual)
    return [fit], [_cell(draw, 0, fit, train, test)]
