"""The cells of a search: every arm in every fold of P3, and inside the training set of each.

An outer cell is a cell of P3 without synthesis. Its training images, and they alone, are
dealt once more into inner folds, by the same groups: an arm's answers on these say how good
it is, and no image of the outer test set had a part in them. All cells of a search are one
study, so that its methods, lanes, padding, saving and resuming are those of every study: the
inner training sets of all outer folds are padded to one length, and are lanes of one program.
"""

from collections.abc import Collection

import numpy as np

from jaxbrain.config import Config
from jaxbrain.config.studies import StudyConfig
from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import protocols
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.protocols import INNER, streams
from jaxbrain.types import Array


def plan(
    inner_folds: int,
    cfg: Config,
    options: StudyConfig,
    label: np.ndarray,
    group: np.ndarray,
    key: Array,
    real_only: Collection[str] = (),
    num_external: int = 0,
) -> tuple[list[Fit], list[Cell]]:
    """No fit, and of each arm the inner and then the outer cells; see the module.

    An inner cell is one of the protocol "inner". Its fold is that of its outer cell times
    `inner_folds`, plus its own: inner folds of outer fold 2 are 6, 7 and 8 of three.

    Args:
        inner_folds: at least 2.
        options: from `SearchConfig.study`.
        cfg, label, group, key, real_only: see `protocols.plan`; outer splits are its own.
        num_external: 0.

    Raises:
        ConfigError: for external images.
        DataError: see `protocols.plan`; for a training set too small for the inner folds.
    """
    if num_external:
        raise ConfigError(f"num_external is {num_external}: expected 0, a search has no P4")
    _, outer = protocols.plan(cfg, options, label, group, key, real_only)
    inside: dict[tuple, list[Cell]] = {}
    for cell in outer:
        if (place := (cell.labels, cell.seed, cell.fold)) not in inside:
            inside[place] = _inside(cell, np.asarray(group), inner_folds, key)
    cells = []
    for name in options.classifiers:
        own = [cell for cell in outer if cell.classifier == name]
        for cell in own:
            found = inside[cell.labels, cell.seed, cell.fold]
            cells += [one._replace(classifier=name) for one in found]
        cells += own
    return [], cells


def _inside(cell: Cell, group: np.ndarray, inner_folds: int, key: Array) -> list[Cell]:
    """The inner cells of an outer one."""
    rng = streams(key, cell.seed)(f"inner folds of {cell.labels} {cell.fold}")
    try:
        tests = splits.folds(cell.label, group, cell.train, inner_folds, 0.0, rng)
    except DataError as error:
        raise DataError(
            f"inner folds of seed {cell.seed}, fold {cell.fold}: {error}: give fewer inner_folds"
        ) from error
    return [
        cell._replace(
            protocol=INNER,
            fold=cell.fold * inner_folds + number,
            train=np.setdiff1d(cell.train, test),
            test=test,
        )
        for number, test in enumerate(tests)
    ]
