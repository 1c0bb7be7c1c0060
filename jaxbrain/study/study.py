"""A study as a function of (config, data, key); no file is touched here.

`study` runs every cell of protocol x generator x classifier x labels x fold x seed (see
`protocols`): it fits the generators inside each fold, draws synthetic images, trains the
classifiers and predicts the tests. Trainings of one shape are lanes of one program, mapped
over seeds and folds; index arrays and 0/1 weights make their shapes equal.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DivergedError
from jaxbrain.study import choose, copies, folders
from jaxbrain.study.block import Block, Keep
from jaxbrain.study.cells import Cell, Fit, twins
from jaxbrain.study.filtering import Filtered
from jaxbrain.study.names import NONE
from jaxbrain.study.protocols import EXTERNAL, StudyConfig, plan
from jaxbrain.study.shared import Shared
from jaxbrain.study.training import Finished, Training, straight
from jaxbrain.study.views import Views, thumbnails
from jaxbrain.training import devices, streamed
from jaxbrain.types import Array, Dataset


class Prediction(NamedTuple):
    """One cell's answers.

    twin: [T] int8, see `cells.twins`; label: [T] int32 as the cell was told them;
    p: [T, K] float64, probabilities (of the probe: real, synthetic). Order as in
    `cell.test`. filtered: of a generator with a filter, what that did.
    """

    cell: Cell
    twin: np.ndarray
    label: np.ndarray
    p: np.ndarray
    filtered: Filtered | None = None


def _now(_kind: str, names: list[str], make: Callable, whole: str = "") -> dict:
    return make(names)


def _raise(name: str, problem: str) -> None:
    raise DivergedError(problem)


_EVERY_PROTOCOL = StudyConfig()
# Fits in one block that draws thumbnails alone.
_SMALL = 64


class Study:
    """A study, planned: its fits, its cells, and the iterator over its predictions.

    Args:
        cfg, data, key: see `study`.
        options: which cells there are, and how they are mapped.
        generators, classifiers: names, "module:object" or values (`methods`); None takes
            those of the options.
        records: of the images; with them thumbnails are of the files as they are. A
            classifier that sees files needs them.
        num_external: how many images, the last ones, are another source's: P4 tests on them,
            nothing else sees them. Their groups must be others than those of the rest.
        how: one of `lanes.HOW`, in place of the options' mapping; on `num_devices` (0: all).
        planner: makes the fits and the cells, as `protocols.plan` does (`nested.plan`).
    """

    def __init__(
        self,
        cfg: Config,
        data: Dataset,
        key: Array,
        *,
        options: StudyConfig = _EVERY_PROTOCOL,
        generators=None,
        classifiers=None,
        records: Records | None = None,
        num_external: int = 0,
        how: str = "",
        num_devices: int = 0,
        planner: Callable = plan,
    ):
        data.check()
        label, self.group = np.asarray(data.label), np.asarray(data.group)
        if not 0 <= num_external < len(label):
            raise ConfigError(
                f"num_external is {num_external}: expected 0 to {len(label) - 1}, fewer than images"
            )
        if num_external and EXTERNAL not in options.protocols:
            options = dataclasses.replace(options, protocols=(*options.protocols, EXTERNAL))
        drawing, generator = choose.generators(generators or options.generators)
        telling, classifier = choose.classifiers(
            classifiers or options.classifiers, options.weights
        )
        if both := set(generator) & set(classifier):
            raise ConfigError(f"{both.pop()!r} names a generator and a classifier: expected two")
        # From here on by their own names.
        self.options = dataclasses.replace(options, generators=drawing, classifiers=telling)
        of_files = {name for name, one in classifier.items() if one.sees == "files"}
        planned = cfg, self.options, label, self.group, key, of_files, num_external
        self.fits, self.cells = planner(*planned)
        if not self.cells:
            raise ConfigError(
                f"generators is {drawing!r}: expected {NONE!r} among them, since synthetic images "
                f"come from no file and {', '.join(telling)} sees files"
            )
        num_classes = len(np.unique(label[: len(label) - num_external]))
        cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, num_classes=num_classes))
        views = Views(cfg, data, records)
        names = records.class_names if records else None
        generator, self.without = folders.bound(
            generator, self.fits, cfg, self.options, lambda: views.images, names
        )
        self._leave_out()
        placement = cfg.data.placement
        # By the own images: another source's must not change how these are computed.
        own = Dataset(*(leaf[: len(label) - num_external] for leaf in data))
        if placement == "host" or (placement == "auto" and not streamed.fits(own)):
            how = "host"
        self.shared = Shared(
            cfg,
            key,
            views,
            group=self.group,
            generators=generator,
            classifiers=classifier,
            planned=[*self.fits, *self.cells],
            how=how or options.mapping,
            num_devices=num_devices,
        )
        self.shared.refuse_small()
        if of_files:
            _ = self.shared.views.files

    def _leave_out(self) -> None:
        """Drop the fits without images, and the cells that would use them."""
        self.left_out = [cell for cell in self.cells if cell.fit in self.without]
        self.cells = [cell for cell in self.cells if cell.fit not in self.without]
        self.fits = [fit for fit in self.fits if fit.name not in self.without]

    @property
    def chunk(self) -> int:
        """Trainings in one call."""
        each = self.options.chunk or (1 if jax.default_backend() == "cpu" else 32)
        shared = self.shared
        return each * (len(devices.devices(shared.num_devices)) if shared.how == "devices" else 1)

    def predictions(
        self,
        train: Callable[[Training], Finished],
        keep: Keep,
        skip: Callable[[str, str], None],
        shard: tuple[int, int] = (0, 1),
        copied: dict[str, np.ndarray] | None = None,
    ) -> Iterator[Prediction]:
        """See `study`. shard: (i, n) makes the i-th of n shares of the cells alone, counted
        from 0; cells of one fit are in one share. copied: gets `copies.counted` of every fit
        with images, by its name, kept as "copies"."""
        for number, (name, fits, cells) in enumerate(self._blocks()):
            if fits and number % shard[1] != shard[0]:
                continue
            block = Block(self.shared, name, fits, train, keep)
            # Cells without a fit are all in one block.
            for cell, p, filtered in block.answers(cells, self.chunk, (0, 1) if fits else shard):
                if isinstance(p, str):
                    skip(cell.name, p)
                    continue
                told = cell.label[cell.test]
                yield Prediction(cell, twins(cell, self.group), told, p, filtered)
            if fits and copied is not None:
                names = [fit.name for fit in fits]
                copied |= keep("copies", names, partial(self._copies, block, fits, cells), name)

    def _copies(self, block: Block, fits: list[Fit], cells: list[Cell], _names) -> dict:
        """`copies.counted` of each fit; why it has no images stays."""
        views, small = self.shared.views, "thumbnails" in self._seen
        real = views.prepared_thumbnails
        if small and self.shared.generators[fits[0].generator].sees == "each":
            real = views.thumbnails
        found: dict[str, np.ndarray | str] = dict(block.thumbnails if small else block.images)
        threshold = self.shared.cfg.data.duplicate_threshold
        for fit in fits:
            if not isinstance(image := found[fit.name], str):
                others = real[copies.tested(fit, cells)]
                # Without those to spare.
                own = thumbnails(image[: len(fit.drawn)])
                shown = own, real[fit.index], others
                found[fit.name] = copies.counted(*shown, threshold)
        return found

    def trainings(self) -> frozenset[str]:
        """Names of the fits and cells that are trained, step by step."""
        generators, classifiers = self.shared.generators, self.shared.classifiers
        fits = {fit.name for fit in self.fits if generators[fit.generator].trains}
        cells = {cell.name for cell in self.cells if classifiers[cell.classifier].trains}
        return frozenset(fits | cells)

    @property
    def _seen(self) -> set[str]:
        """What its classifiers see."""
        return {classifier.sees for classifier in self.shared.classifiers.values()}

    def _blocks(self) -> Iterator[tuple[str, list[Fit], list[Cell]]]:
        """What belongs together: fits of one shape, and the cells that use their images, so
        that no more images than those of a block are ever held."""
        using: dict[str, list[Cell]] = {}
        for cell in self.cells:
            using.setdefault(cell.fit, []).append(cell)
        yield "none", [], using.pop("", [])
        for kind in dict.fromkeys(fit.generator for fit in self.fits):
            trains = self.shared.generators[kind].trains
            size = self.chunk if trains or "images" in self._seen else _SMALL
            alike: dict[tuple, list[Fit]] = {}
            for fit in self.fits:
                if fit.generator == kind:
                    alike.setdefault((fit.kind, fit.labels), []).append(fit)
            for (scope, labels), own in alike.items():
                for number, start in enumerate(range(0, len(own), size)):
                    some = own[start : start + size]
                    cells = [cell for fit in some for cell in using.get(fit.name, [])]
                    yield f"{kind}_{scope}_{labels}_{number:04d}", some, cells


def study(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    train: Callable[[Training], Finished] = straight,
    keep: Keep = _now,
    skip: Callable[[str, str], None] = _raise,
    **which,
) -> Iterator[Prediction]:
    """Run every cell of a study and yield its predictions, in the order they are made.

    Args:
        cfg: of the methods; the number of classes is that of the data.
        data: all real images, at the larger of the sizes in use; near duplicates share a
            group.
        key: of the study; splits, fits and cells take keys of their own from it, by name.
            Training sets are padded (weight 0) to the longest of their kind in the study,
            which sets the number of updates.
        train: runs the lanes of a training (`training.straight`, or a loop that saves).
        keep: `keep(kind, names, make, whole)` returns what `make(names)` returns, {name:
            array, or text of a divergence}, or what it kept of an earlier call; `kind` is
            "images", "filters" or "parts"; all answers of one `whole` are kept together.
        skip: called with the name of a cell that has no answer, and why; raises by default.
        which: options, generators, classifiers, records, num_external, planner: see `Study`.

    Yields:
        A `Prediction` per cell. Without synthesis P0, P1 and P2 are one computation.

    Raises:
        DataError: unless there are two classes or more, 0 to K - 1, each large enough to be
            split; for data that are no bytes, see `Dataset.check`; for a method that returns
            something else than it promises.
        ConfigError: for unknown methods, a batch larger than a training set, an extra that a
            method needs and that is not installed, a classifier of files without records.
        DivergedError: naming the fit or cell.

    Example:
        >>> from jaxbrain import config, phantom
        >>> data = phantom.dataset(jax.random.key(0), 20, 32, 0.5)
        >>> options = StudyConfig(seeds=1, classifiers=("ridge",), generators=("linear",))
        >>> answers = study(config.tiny(), data, jax.random.key(0), options=options)
        >>> sorted({(one.cell.protocol, one.cell.labels) for one in answers})[:2]
        [('P0', 'origin'), ('P0', 'shuffled')]
    """
    return Study(cfg, data, key, **which).predictions(train, keep, skip)
