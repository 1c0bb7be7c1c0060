"""A study as a function of (config, data, key); no file is touched here.

`study` runs every cell of protocol x generator x classifier x labels x fold x seed (see
`protocols`): it fits the generators inside each fold, draws synthetic images, trains the
classifiers and predicts the tests. Trainings of one shape run in chunks, mapped over seeds
and folds; index arrays and 0/1 weights make their shapes equal.
"""

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from jaxbrain.baselines.methods import method
from jaxbrain.config import Config
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.study.lab import Lab, family, mapped
from jaxbrain.study.protocols import FLOORS, METHODS, NETWORKS, Cell, Fit, StudyConfig, plan, twins
from jaxbrain.types import Array, Dataset


class Prediction(NamedTuple):
    """One cell's answers.

    twin: [T] int8, see `protocols.twins`; label: [T] int32 as the cell was told them;
    p: [T] float64, the probability of class 1. Order as in `cell.test`.
    """

    cell: Cell
    twin: np.ndarray
    label: np.ndarray
    p: np.ndarray


def _now(_name: str, _members: list[str], make: Callable[[], np.ndarray]) -> np.ndarray:
    return make()


def _blocks(fits: list[Fit], cells: list[Cell], sizes: dict[str, int]):
    """(name, fits, cells) that belong together: fits of one shape, and the cells that use
    their images, so that no more images than those of a block are ever held."""
    yield "none", [], [cell for cell in cells if not cell.fit]
    for kind, size in sizes.items():
        for scope, whole in (("all", True), ("fold", False)):
            own = [f for f in fits if f.generator == kind and (f.scope == "all") == whole]
            for number, start in enumerate(range(0, len(own), size)):
                some = own[start : start + size]
                names = {fit.name for fit in some}
                used = [cell for cell in cells if cell.fit in names]
                yield f"{kind}_{scope}_{number:04d}", some, used


# Floors take milliseconds each: many in one part keep the files of a study few.
_FLOOR_CHUNK = 64
_EVERY_PROTOCOL = StudyConfig()


def study(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    options: StudyConfig = _EVERY_PROTOCOL,
    records: Records | None = None,
    mapping: Callable | None = None,
    keep: Callable = _now,
) -> Iterator[Prediction]:
    """Run every cell of a study and yield its predictions, in the order they are made.

    Args:
        cfg: of the generators and networks.
        data: all real images of two classes, at the larger of the sizes in use; near
            duplicates share a group.
        key: of the study; every fit and every cell takes a key of its own from it, by
            name. Training sets are padded (weight 0) to the longest of their kind in the
            study, which sets the number of updates.
        options: which cells there are, and how they are mapped.
        records: of the images; with them the floors see the files as they are (except
            beside images of a GAN, which they see as the networks do). The metadata floor
            needs them.
        mapping: `mapping(function)` as `mapped`, which it replaces.
        keep: `keep(name, members, make)` returns `make()`, or what an earlier call of
            that name returned; a study on disk remembers by it (`ladder`).

    Yields:
        A `Prediction` per cell. Without synthesis P0, P1 and P2 are one computation.

    Raises:
        DataError: unless there are two classes, 0 and 1, each large enough to be split; for
            data that are no bytes, see `Dataset.check`.
        ConfigError: if the metadata floor is asked for without records, a batch is larger
            than a training set, or an extra that a method needs is not installed.
        DivergedError: naming the fit or cell.

    Example:
        >>> options = StudyConfig(seeds=2, classifiers=("ridge",))    # doctest: +SKIP
        >>> answers = list(study(cfg, data, key, options=options))    # doctest: +SKIP
    """
    data.check()
    label, group = np.asarray(data.label), np.asarray(data.group)
    fits, cells = plan(cfg, options, label, group)
    if "metadata" in options.classifiers and records is None:
        raise ConfigError("classifiers has 'metadata': expected records, the files' own")
    how = mapping or partial(mapped, how=options.mapping)
    methods = {
        name: method(name, options.weights) for name in options.classifiers if name in METHODS
    }
    lab = Lab(cfg, data, key, records, how, methods, fits, cells)
    lab.refuse_small(options.classifiers)
    chunk = options.chunk or (2 if jax.default_backend() == "cpu" else 32)
    # Thumbnails alone are small.
    small = set(options.classifiers) <= set(FLOORS)
    sizes = {"cgan": chunk, "linear": _FLOOR_CHUNK if small else chunk}
    for block, some, used in _blocks(fits, cells, sizes):
        yield from _run_block(lab, block, some, used, chunk, keep, group)


def _run_block(lab: Lab, block, fits, cells, chunk, keep, group) -> Iterator[Prediction]:
    places = {fit.name: place for place, fit in enumerate(fits)}
    kind = fits[0].generator if fits else "none"

    @functools.cache
    def images():
        if kind == "none":
            return np.zeros((1, 1, *lab.real.shape[1:]), np.uint8)
        if kind == "linear":
            return lab.linear_images(fits)
        return keep(f"images_{block}", list(places), lambda: lab.cgan(fits))

    @functools.cache
    def thumbnails():
        return lab.linear(fits, lab.files)

    @functools.cache
    def drawn_features(name, fit):
        return lab.methods[name].features(images()[places[fit]])

    def host(cell):
        if cell.classifier in METHODS:
            drawn = drawn_features(cell.classifier, cell.fit) if cell.fit else None
            return lab.method(cell, drawn)
        if not cell.fit:
            return lab.floor(cell, None)
        drawn = thumbnails() if kind == "linear" else images()
        return lab.floor(cell, drawn[places[cell.fit]])

    alike: dict[tuple, dict[str, list[Cell]]] = {}
    for cell in cells:
        together = alike.setdefault((cell.generator, cell.classifier, family(cell)), {})
        together.setdefault(cell.name, []).append(cell)
    for (generator, classifier, kin), named in alike.items():
        is_network = classifier in NETWORKS
        # What takes long is saved often.
        size = _FLOOR_CHUNK * 16 if classifier in FLOORS else chunk
        for number, start in enumerate(range(0, len(named), size)):
            members = dict(list(named.items())[start : start + size])
            some = [same[0] for same in members.values()]

            def predict(some=some, is_network=is_network):
                if is_network:
                    return lab.networks(some, places, images())
                width = max(len(cell.test) for cell in some)
                # Matrices of a few hundred rows: more threads only wait for each other.
                with threadpool_limits(1, user_api="blas"):
                    rows = [np.pad(p, (0, width - len(p))) for p in map(host, some)]
                return np.stack(rows)

            name = f"{block}_{generator}_{classifier}_{kin}_{number:04d}"
            answers = keep(name, list(members), predict)
            for same, p in zip(members.values(), answers, strict=True):
                for cell in same:
                    told = cell.label[cell.test]
                    yield Prediction(cell, twins(cell, group), told, p[: len(cell.test)])
