"""A study's fits and cells, as index arrays."""

from typing import NamedTuple

import numpy as np

from jaxbrain.study.names import NONE


class Fit(NamedTuple):
    """A generator to fit.

    scope: "all" (P0, P1), "train" (P2), "grouped" (P3), "whole" (P4).
    labels: "true" or "shuffled".
    label: [N] int32, of the real images as this fit is told them.
    index: [F], the real images that it sees; drawn: [M] int32, labels of the synthetic
        images that it draws, class by class.
    spare: whether it draws as many again, which stand in for near-copies (`filtering`).
    """

    generator: str
    scope: str
    labels: str
    seed: int
    fold: int
    label: np.ndarray
    index: np.ndarray
    drawn: np.ndarray
    spare: bool = False

    @property
    def name(self) -> str:
        return "/".join(map(str, self[:5]))

    @property
    def kind(self) -> str:
        """Fits of one kind see nearly as many images as one another."""
        return self.scope if self.scope in ("all", "whole") else "fold"


class Cell(NamedTuple):
    """A classifier to train and test; `labels` is "true", "shuffled", or "origin" for the
    probe, which learns 0 for real and 1 for synthetic images.

    fit: name of the `Fit` that drew its synthetic images, "" for none.
    label: [N + M] int32 over its pool; train, test: ascending indices into it. Beside a
        filter the synthetic images of the pool are those that it chose, in its order.
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
        if self.generator == NONE and protocol in ("P0", "P1"):
            protocol = "P2"
        return "/".join(map(str, (protocol, *self[1:6])))


def twins(cell: Cell, group: np.ndarray) -> np.ndarray:
    """For each test image of a cell: 1 if the training set holds a real image of its
    group, 0 if not, -1 for a synthetic one. [T] int8."""
    count = len(group)
    seen = group[cell.train[cell.train < count]]
    real = cell.test < count
    found = np.full(len(cell.test), -1, np.int8)
    found[real] = np.isin(group[cell.test[real]], seen)
    return found
