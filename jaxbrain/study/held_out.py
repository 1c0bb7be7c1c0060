"""GANs fitted on all images but a held-out share: the plan of a study that does no more.

Every seed is one GAN, fitted on the same training images, and one question to it: does a
classifier that has learned training images from synthetic ones tell held-out images from
further synthetic ones? 0.5 means that it cannot.
"""

from collections.abc import Collection

import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.protocols import StudyConfig, streams
from jaxbrain.types import Array

PROTOCOL = "held-out"
TRAINING, HELD_OUT, UNUSED = SIDES = "training", "held-out", "unused"


def sides(
    held_out: float, n_per_class: int, label: np.ndarray, group: np.ndarray, key: Array
) -> np.ndarray:
    """The side of each image, [N] int: 0 training, 1 held-out, 2 neither (`SIDES`).

    Args:
        held_out: share of the groups of each class that are held out, above 0 and below 1.
        n_per_class: training images of a class, at most; 0 takes all that are not held out.
        label, group: [N] int32; images of one group are on one side.
        key: of the study.

    Raises:
        ConfigError: for a share outside its range.
        DataError: if a class would have no image on a side.
    """
    if not isinstance(held_out, float) or not 0 < held_out < 1:
        raise ConfigError(f"held_out is {held_out!r}: expected a share above 0 and below 1")
    # Of the key alone: all GANs of a run are fitted on the same images.
    rng = streams(key, 0)
    everyone = np.arange(len(label))
    try:
        (test,) = splits.folds(label, group, everyone, 1, held_out, rng("held out"))
    except DataError as error:
        raise DataError(f"held_out is {held_out}: {error}") from error
    side = np.full(len(label), SIDES.index(UNUSED))
    side[test] = SIDES.index(HELD_OUT)
    rest = np.setdiff1d(everyone, test)
    side[rest[splits.select(label[rest], n_per_class, rng("select"))]] = SIDES.index(TRAINING)
    return side


def plan(
    held_out: float,
    cfg: Config,
    options: StudyConfig,
    label: np.ndarray,
    group: np.ndarray,
    key: Array,
    real_only: Collection[str] = (),
    num_external: int = 0,
) -> tuple[list[Fit], list[Cell]]:
    """A fit of each seed, and the cell that asks for what it draws; see the module.

    A fit draws as many images of each class as there are training and held-out ones: the
    probe learns from the first and is tested on the rest.

    Args:
        held_out: see `sides`.
        options: of its seeds, its one generator and its one classifier.
        cfg, label, group, key: see `protocols.plan`. real_only, num_external: of no use here.
    """
    label, group = np.asarray(label), np.asarray(group)
    side = sides(held_out, cfg.data.n_per_class, label, group, key)
    train, test = (np.flatnonzero(side == SIDES.index(one)) for one in (TRAINING, HELD_OUT))
    num_classes = int(label.max()) + 1
    learned, tested = (np.bincount(label[own], minlength=num_classes) for own in (train, test))
    drawn = np.repeat(np.arange(num_classes, dtype=np.int32), learned + tested)
    # The n-th image of a class, whatever came before it.
    number = np.concatenate([np.arange(count) for count in learned + tested])
    first = number < learned[drawn]
    origin = np.repeat(np.int32([0, 1]), [len(label), len(drawn)])
    synthetic = len(label) + np.arange(len(drawn))
    fits, cells = [], []
    for seed in range(options.seeds):
        (generator,), (probe,) = options.generators, options.classifiers
        fit = Fit(generator, "train", "true", seed, 0, label, train, drawn)
        pool = np.concatenate([train, synthetic[first]]), np.concatenate([test, synthetic[~first]])
        cells.append(Cell(PROTOCOL, generator, probe, "origin", seed, 0, fit.name, origin, *pool))
        fits.append(fit)
    return fits, cells
