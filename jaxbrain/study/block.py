"""Some fits of a study and the cells that use their images: fitted, drawn, trained, predicted.

`mapped` holds what runs over lanes, `filtering` which synthetic images are near-copies.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from jaxbrain.errors import DataError
from jaxbrain.study import filtering, mapped
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.filtering import Filtered
from jaxbrain.study.methods import Classifier
from jaxbrain.study.names import parted
from jaxbrain.study.shared import Shared, family, named_key
from jaxbrain.study.training import (
    Finished,
    Lane,
    Training,
    checked_answer,
    checked_metrics,
    checked_state,
)
from jaxbrain.study.views import thumbnails
from jaxbrain.training import lanes
from jaxbrain.types import Dataset

# See `study.study`: keep(kind, names, make, whole) -> {name: array, or text of a divergence}.
Keep = Callable[..., dict[str, np.ndarray | str]]
# Answers on thumbnails take milliseconds each: many in one file keep a study's files few.
_TOGETHER = 1024
# Training images from which on more threads are worth their waiting for each other.
_LARGE = 2000


def _few_threads(most: int):
    """BLAS on one thread for matrices of `most` rows, where these are few."""
    return threadpool_limits(1 if most < _LARGE else None, user_api="blas")


def _of_each(found: dict, function: Callable) -> dict:
    """`function` of the images of each fit; why a fit has none stays."""
    return {name: one if isinstance(one, str) else function(one) for name, one in found.items()}


def _filters(cell: Cell) -> bool:
    return parted(cell.generator)[1].filtered


class Block:
    """See the module; images are made when a cell first asks for them."""

    def __init__(self, shared: Shared, name: str, fits: list[Fit], train, keep: Keep):
        self._shared, self._name, self._fits = shared, name, fits
        self._train: Callable[[Training], Finished] = train
        self._keep = keep
        self._seen: dict[tuple, dict] = {}
        self._near: dict[str, dict] = {}
        self._generator = shared.generators[fits[0].generator] if fits else None
        # The cells that asked for the images which are made.
        self._asked: tuple[Classifier, list[Cell]] | None = None

    # Fits.

    @functools.cached_property
    def images(self) -> dict[str, np.ndarray | str]:
        """Synthetic images [M, S, S, 1] uint8 of each fit, and behind them as many to spare
        where it has these; or why there are none."""
        if self._generator.trains:
            return self._keep("images", [fit.name for fit in self._fits], self._trained_images)
        return self._drawn(self._shared.views.images)

    @functools.cached_property
    def thumbnails(self) -> dict[str, np.ndarray | str]:
        """The same as thumbnails; a generator of any size draws them itself."""
        if self._generator.sees == "each":
            return self._drawn(self._shared.views.thumbnails)
        return _of_each(self.images, thumbnails)

    @property
    def _padded(self) -> bool:
        return self._generator.trains or not self._shared.on_host(self._generator)

    def _entry(self, fit: Fit, spare: bool = False) -> tuple:
        """(index, label, drawn, key) of a fit; drawn with those to spare, or without."""
        index, drawn = fit.index.astype(np.int32), np.tile(fit.drawn, 1 + spare)
        if self._padded:
            # Some images twice an epoch, where a fold has fewer: a generator knows no weights.
            length, most = self._shared.lengths(fit)
            index = np.resize(index, length)
            drawn = np.pad(drawn, (0, most * (1 + spare) - len(drawn)))
        return index, fit.label[index], drawn, named_key(self._shared.key, fit.name)

    def _with_spare(self, fits: list[Fit], draw: Callable[[bool], list]) -> dict:
        """By the names of fits what `draw(False)` draws, and behind it what `draw(True)`, asked
        for twice as many with the same keys, draws beyond it: so that the first ones are, to
        the bit, those of a study without a filter."""
        found = draw(False)
        if fits[0].spare:
            pairs = zip(fits, found, draw(True), strict=True)
            found = [
                one if isinstance(one, str) else np.concatenate([one, more[len(fit.drawn) :]])
                for fit, one, more in pairs
            ]
        return {fit.name: one for fit, one in zip(fits, found, strict=True)}

    def _drawn(self, real: np.ndarray) -> dict[str, np.ndarray]:
        shared, method, side = self._shared, self._generator, real.shape[1]
        if method.sees == "gan":
            real = shared.views.gan
        run = shared.program(method, "sample", shared.cfg, mapped.sample)

        def draw(spare: bool) -> list:
            entries = [self._entry(fit, spare) for fit in self._fits]
            if shared.on_host(method):
                with _few_threads(max(len(fit.index) for fit in self._fits)):
                    found = [run.function(real, (), entry) for entry in entries]
            else:
                found = np.asarray(run(jax.device_put(real), (), lanes.stacked(entries)))
            pairs = zip(self._fits, found, strict=True)
            return [self._checked_images(fit, image, side, spare) for fit, image in pairs]

        return self._with_spare(self._fits, draw)

    def _checked_images(self, fit: Fit, image, side: int, spare: bool) -> np.ndarray:
        image = np.asarray(image)
        count = self._shared.lengths(fit)[1] if self._padded else len(fit.drawn)
        count *= 1 + spare
        if image.dtype != np.uint8 or image.shape[1:] != (side, side, 1):
            raise DataError(
                f"generator {fit.generator} returned {image.dtype} {list(image.shape)}: expected "
                f"uint8 {[count, side, side, 1]}"
            )
        if len(image) != count:
            raise DataError(
                f"generator {fit.generator} returned {len(image)} images: expected {count}"
            )
        return image[: len(fit.drawn) * (1 + spare)]

    def _trained_images(self, names: list[str]) -> dict[str, np.ndarray | str]:
        fits = [fit for fit in self._fits if fit.name in names]
        shared, method, cfg = self._shared, self._generator, self._shared.cfg
        host = shared.views.gan if method.sees == "gan" else shared.views.images
        entries = lanes.stacked([self._entry(fit) for fit in fits])
        real = host if shared.on_host(method) else jax.device_put(host)
        run = shared.program(method, "finish", cfg, mapped.finish_fit)

        def draw(states, label, key):
            # As many as a fit draws, so that a look needs no program of its own.
            filled = np.pad(label, (0, max(shared.lengths(fits[0])[1] - len(label), 0)))
            return np.asarray(run((), states, lanes.stacked([(filled, key)])))[0][: len(label)]

        training = self._training(method, fits, real, entries)
        self._begin_cells()
        training = training._replace(
            draw=draw,
            seen=lambda i: Dataset(host[fits[i].index], fits[i].label[fits[i].index], None),
        )
        done = self._train(training)

        def finish(spare: bool) -> list:
            some = lanes.stacked([self._entry(fit, spare)[2:] for fit in fits])
            image, side = np.asarray(run((), done.states, some)), cfg.data.image_size
            return [
                done.diverged.get(i) or self._checked_images(fit, image[i], side, spare)
                for i, fit in enumerate(fits)
            ]

        return self._with_spare(fits, finish)

    def _training(self, method, members: list[Fit] | list[Cell], arrays, entries) -> Training:
        """Fits or cells of one method as lanes; arrays, entries: see the module."""
        shared, cfg = self._shared, self._shared.config(members[0])
        of_fits = isinstance(members[0], Fit)
        kind, given = ("gan", mapped.fit_only) if of_fits else ("classifier", mapped.cell_data)
        begin = shared.program(method, "start", cfg, partial(mapped.start, given))
        run = shared.program(method, "advance", cfg, partial(mapped.advance, given))
        total = method.steps(cfg, shared.lengths(members[0])[0])
        look = partial(checked_metrics, method.name, total)
        step = (lambda n: n) if shared.on_host(method) else np.int32
        if not shared.on_host(method):
            # All that it runs is compiled from here on, beside what runs meanwhile.
            begin.ahead(arrays, (), entries)
            states = begin.result_shapes(arrays, (), entries)
            run.ahead((arrays, step(0), step(0)), states, entries)
            if of_fits:
                last, rest = mapped.finish_fit, ((), states, entries[2:])
            else:
                last, rest = mapped.finish_cell, (arrays, states, (entries[0], entries[4]))
            shared.program(method, "finish", cfg, last).ahead(*rest)

        def go(states, which, first, stop):
            own, bounds = lanes.some(states, which), (step(first), step(stop))
            own, metrics = look(run((arrays, *bounds), own, lanes.some(entries, which)))
            return lanes.merged(states, which, own), metrics

        return Training(
            kind,
            method.name,
            tuple(Lane(one.name, one.seed) for one in members),
            total,
            method.batch_size(cfg) if method.batch_size else 1,
            lambda: checked_state(method.name, begin(arrays, (), entries)),
            lambda states, say: run.compile((arrays, step(0), step(0)), states, entries, say),
            go,
        )

    # Cells.

    def answers(
        self, cells: list[Cell], chunk: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Cell, np.ndarray | str, Filtered | None]]:
        """Each cell with its probabilities [T, K], or why it has none, and what a filter did
        for it. shard: see `Study.predictions`."""
        call = itertools.count()
        alike: dict[tuple, dict[str, list[Cell]]] = {}
        for cell in cells:
            labels = "shuffled" if cell.labels == "shuffled" else "true"
            if self._shared.config(cell) != self._shared.cfg:
                labels = "origin"
            kin = cell.generator, cell.classifier, family(cell), labels
            alike.setdefault(kin, {}).setdefault(cell.name, []).append(cell)
        for kin, named in alike.items():
            method = self._shared.classifiers[kin[1]]
            host = self._shared.on_host(method) and not method.trains
            quick = host and method.sees != "images"
            size = _TOGETHER if quick else chunk
            for number, start in enumerate(range(0, len(named), size)):
                if next(call) % shard[1] != shard[0]:
                    continue
                members = dict(list(named.items())[start : start + size])
                whole = "/".join((self._name, *kin, f"{number:04d}")) if quick else ""
                make = partial(self._made, method, {k: same[0] for k, same in members.items()})
                found = self._keep("parts", list(members), make, whole)
                for name, same in members.items():
                    for cell in same:
                        yield cell, found[name], self._filtered(method, cell)

    def _made(self, method: Classifier, members: dict[str, Cell], names: list[str]) -> dict:
        self._asked = method, [members[name] for name in names]
        synthetic = self._synthetic(method, members[names[0]])
        found: dict[str, np.ndarray | str] = dict.fromkeys(names, "")
        for name in names:
            if isinstance(why := synthetic.get(members[name].fit), str):
                found[name] = f"{name} has no images: {why}"
        cells = [members[name] for name in names if not found[name]]
        if self._shared.on_host(method) and not method.trains:
            with _few_threads(max((len(cell.train) for cell in cells), default=0)):
                answers = [self._on_host(method, cell, synthetic.get(cell.fit)) for cell in cells]
        else:
            answers = self._as_lanes(method, cells, synthetic) if cells else []
        for cell, p in zip(cells, answers, strict=True):
            wanted = len(cell.test), self._shared.config(cell).data.num_classes
            found[cell.name] = p if isinstance(p, str) else checked_answer(method, cell, p, wanted)
        return found

    def _synthetic(self, method: Classifier, cell: Cell) -> dict[str, np.ndarray | str]:
        """What a classifier sees of the synthetic images, by fit; empty without synthesis."""
        if not cell.fit:
            return {}
        return self._shown(method, _filters(cell))

    def _shown(self, method: Classifier, filters: bool) -> dict[str, np.ndarray | str]:
        if (kept := (method.name, filters)) not in self._seen:
            self._seen[kept] = (self._chosen if filters else self._first)(method)
        return self._seen[kept]

    def _pictures(self, method: Classifier) -> dict[str, np.ndarray | str]:
        return self.thumbnails if method.sees == "thumbnails" else self.images

    def _look(self, method: Classifier, image: np.ndarray) -> np.ndarray:
        return method.features(self._shared.cfg, image) if method.features else image

    def _first(self, method: Classifier) -> dict[str, np.ndarray | str]:
        """What a classifier sees of each fit's images, without those to spare."""
        found = {}
        for fit in self._fits:
            one = self._pictures(method)[fit.name]
            found[fit.name] = (
                one if isinstance(one, str) else self._look(method, one[: len(fit.drawn)])
            )
        return found

    def _chosen(self, method: Classifier) -> dict[str, np.ndarray | str]:
        """The same with those to spare in the places of near-copies."""
        found = dict(self._shown(method, False))
        for fit in self._fits:
            one, count = found[fit.name], len(fit.drawn)
            if not isinstance(one, str):
                near = self._copies(method)[fit.name]
                which = filtering.chosen(*near, np.tile(fit.drawn, 2), count)
                one, new = one[np.minimum(which, count - 1)], which >= count
                if new.any():
                    one[new] = self._look(method, self._pictures(method)[fit.name][which[new]])
                found[fit.name] = one
        return found

    def _view(self, method: Classifier) -> str:
        """Which pictures of the synthetic images a classifier is shown."""
        return method.sees if self._generator.sees == "each" else "images"

    def _copies(self, method: Classifier) -> dict[str, tuple[np.ndarray, float] | str]:
        """How far from the images of its fit each synthetic one is, those to spare among them,
        and the distance up to which it is a near-copy."""
        if (view := self._view(method)) not in self._near:
            names = [fit.name for fit in self._fits]
            make = partial(self._distances, view)
            found = self._keep("filters", names, make, f"{self._name}/{view}")
            self._near[view] = _of_each(found, lambda one: (one[:-1], float(one[-1])))
        return self._near[view]

    def _distances(self, view: str, _: list[str]) -> dict[str, np.ndarray | str]:
        """Each fit's distances, and the limit behind them: one array, as it is kept."""
        shared, found = self._shared, {}
        if view == "thumbnails":
            real, small = shared.views.thumbnails, self.thumbnails
        else:
            real, small = shared.views.prepared_thumbnails, _of_each(self.images, thumbnails)
        for fit in self._fits:
            if not isinstance(one := small[fit.name], str):
                seen, group = real[fit.index], shared.groups(fit.index)
                limit = filtering.limit(seen, group, shared.cfg.data.duplicate_threshold)
                one = np.append(filtering.distances(one, seen), limit)
            found[fit.name] = one
        return found

    def _filtered(self, method: Classifier, cell: Cell) -> Filtered | None:
        """What the filter did for a cell."""
        if not _filters(cell) or isinstance(near := self._copies(method)[cell.fit], str):
            return None
        (fit,) = (fit for fit in self._fits if fit.name == cell.fit)
        taken = np.concatenate([cell.train, cell.test]) - len(fit.label)
        asked = np.bincount(fit.drawn[taken[taken >= 0]])
        return filtering.counted(self._view(method), *near, np.tile(fit.drawn, 2), asked)

    def _begin_cells(self) -> None:
        """Compile what trains the cells that asked for images, while these are made."""
        method, cells = self._asked or (None, [])
        if method is None or not method.trains or self._shared.on_host(method):
            return
        real = self._shared.shown(method, self._generator)
        used = {cell.fit for cell in cells}
        most = max(len(fit.drawn) for fit in self._fits if fit.name in used)
        ours = jax.ShapeDtypeStruct((len(used), most, *real.shape[1:]), real.dtype)
        entries = lanes.stacked([self._cell_entry(cell, 0) for cell in cells])
        self._training(method, cells, (real, ours), entries)

    def _on_host(self, method: Classifier, cell: Cell, synthetic) -> np.ndarray:
        pool = self._shared.shown(method, self._generator)
        if synthetic is not None:
            pool = np.concatenate([pool, synthetic])
        groups = self._shared.groups(cell.train)
        train = Dataset(pool[cell.train], cell.label[cell.train], groups)
        weight, key = np.ones(len(cell.train), np.float32), named_key(self._shared.key, cell.name)
        cfg = self._shared.config(cell)
        return method.fit_predict(cfg, train, weight, pool[cell.test], key)

    def _cell_entry(self, cell: Cell, place: int) -> tuple:
        """(which, index, label, weight, test, key) of a cell, padded; `place` of its fit."""
        length, most = self._shared.lengths(cell)
        missing = length - len(cell.train)
        index = np.pad(cell.train, (0, missing)).astype(np.int32)
        weight = np.pad(np.ones(len(cell.train), np.float32), (0, missing))
        test = np.pad(cell.test, (0, most - len(cell.test))).astype(np.int32)
        key = named_key(self._shared.key, cell.name)
        return np.int32(place), index, cell.label[index], weight, test, key

    def _as_lanes(self, method, cells: list[Cell], synthetic: dict) -> list[np.ndarray | str]:
        shared, cfg = self._shared, self._shared.config(cells[0])
        real = shared.shown(method, self._generator)
        used = list(dict.fromkeys(cell.fit for cell in cells if cell.fit))
        drawn = [synthetic[name] for name in used]
        # Of one fit alone there may be fewer than of another: the others' places stay black.
        most = max([len(one) for one in drawn], default=1)
        ours = np.zeros((max(len(used), 1), most, *real.shape[1:]), real.dtype)
        for place, one in enumerate(drawn):
            ours[place, : len(one)] = one
        arrays = real, ours
        if not shared.on_host(method):
            arrays = jax.device_put(real), jax.device_put(ours)
        entries = lanes.stacked(
            [self._cell_entry(cell, used.index(cell.fit) if cell.fit else 0) for cell in cells]
        )
        if method.trains:
            states, diverged = self._train(self._training(method, cells, arrays, entries))
            run = shared.program(method, "finish", cfg, mapped.finish_cell)
            which, *_, test, _ = entries
            p = np.asarray(run(arrays, states, (which, test)))
        else:
            run = shared.program(method, "predict", cfg, mapped.predict)
            p, diverged = np.asarray(run(arrays, (), entries)), {}
        return [diverged.get(i) or p[i, : len(cell.test)] for i, cell in enumerate(cells)]
