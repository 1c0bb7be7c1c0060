"""A study as a function of (config, data, key); no file is touched here.

`study` runs every cell of protocol x generator x classifier x labels x fold x seed (see
`protocols`): it fits the generators inside each fold, draws synthetic images, trains the
classifiers and predicts the tests. Trainings of one shape run in chunks, mapped over seeds
and folds; index arrays and 0/1 weights make their shapes equal.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from jaxbrain import pooled, train
from jaxbrain.baselines import floors, linear
from jaxbrain.baselines.methods import method
from jaxbrain.config import Config
from jaxbrain.data import duplicates
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError, DivergedError
from jaxbrain.protocols import FLOORS, METHODS, NETWORKS, Cell, Fit, StudyConfig, plan, twins
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


def network(cfg: Config, name: str) -> Config:
    """The configuration of a network by its name in a study, such as cnn_lstm_rows."""
    if name == "cnn":
        mode = dataclasses.replace(cfg.classifier, mode="cnn")
        hybrid = dataclasses.replace(cfg.hybrid, standardise=False)
        return dataclasses.replace(cfg, classifier=mode, hybrid=hybrid)
    hybrid = dataclasses.replace(cfg.hybrid, sequence=name.removeprefix("cnn_lstm_"))
    return dataclasses.replace(cfg, hybrid=hybrid)


def fit_cgan(cfg: Config, real: Array, entry) -> tuple[Array, Array]:
    """Fit a conditional GAN and draw: pure, for one entry of a mapped call.

    Args:
        real: [N, s, s, 1] uint8 at the GAN's size.
        entry: (index [F] int32, label [F] int32, drawn [M] int32, key).

    Returns:
        [M, S, S, 1] uint8 at the classifier's size, and whether the generator is finite.
    """
    index, label, drawn, key = entry
    train_key, draw_key = jax.random.split(key)
    state, _ = train.train_gan(cfg, Dataset(real[index], label, index), train_key)
    leaves = jax.tree.leaves((state.generator.params, state.average))
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
    return pooled.synthesise(cfg, state, drawn, draw_key), finite


def fit_predict(cfg: Config, shared: tuple[Array, Array], entry) -> Array:
    """Train a network and predict: pure, for one entry of a mapped call.

    Args:
        shared: real [N, S, S, 1] uint8 and synthetic [E, M, S, S, 1] uint8.
        entry: (which of the E, train [L] int32, label [L] int32, weight [L] float32, test
            [T] int32, key); indices are into the pool: N real, then M synthetic images.

    Returns:
        [T] float32, the probability of class 1.
    """
    real, synthetic = shared
    which, train_index, label, weight, test, key = entry
    count = real.shape[0]

    def images(index):
        ours = synthetic[which, jnp.maximum(index - count, 0)]
        is_real = (index < count).reshape(-1, 1, 1, 1)
        return jnp.where(is_real, real[jnp.minimum(index, count - 1)], ours)

    data = Dataset(images(train_index), label, train_index)
    state, _ = train.train_classifier(cfg, data, key, weight=weight)
    return train.predict(cfg, state, Dataset(images(test), test, test))[:, 1]


def mapped(function: Callable, how: str = "auto") -> Callable:
    """`(shared, entries) -> results`, compiled: `function(shared, entry)` over the first
    axis of `entries`.

    how: "map" runs one entry after another, "vmap" all side by side; "auto" two at a time
    on a CPU, whose caches hold no more, and side by side elsewhere.
    """

    def run(shared, entries):
        one = partial(function, shared)
        count = jax.tree.leaves(entries)[0].shape[0]
        in_pairs = how == "auto" and jax.default_backend() == "cpu" and count > 1
        if how == "map" or in_pairs:
            return jax.lax.map(one, entries, batch_size=2 if in_pairs else None)
        return jax.vmap(one)(entries)

    return jax.jit(run)


def _key(key: Array, name: str) -> Array:
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _family(cell: Cell) -> str:
    """Cells of one family are padded to one length, and so share a compiled program."""
    return "pool" if cell.protocol == "P0" and cell.fit else "real"


class _Lab:
    """What the cells of a study share: images, padded lengths, compiled programs."""

    def __init__(self, cfg: Config, data: Dataset, key, records, mapping, methods, fits, cells):
        self.cfg, self.key, self.mapping, self.methods = cfg, key, mapping, methods
        small = pooled.resized(data, cfg.gan.image_size)
        real = pooled.resized(small if cfg.data.degrade_reals else data, cfg.data.image_size)
        self.gan_real, self.real = np.asarray(small.image), np.asarray(real.image)
        if records is None:
            self.files = self.shrunk(self.real)
        else:
            self.files = 2.0 * np.float64(records.small).reshape(len(records.small), -1) - 1.0
            self.features = floors.file_features(records)
        self.programs: dict[str, Callable] = {}
        self.seen: dict[str, np.ndarray] = {}
        self.lengths: dict[tuple[str, str | bool], tuple[int, int]] = {}
        for fit in fits:
            self._lengthen((fit.generator, fit.scope == "all"), fit.index, fit.drawn)
        for cell in cells:
            self._lengthen((cell.generator, _family(cell)), cell.train, cell.test)

    def _lengthen(self, name, *arrays) -> None:
        known = self.lengths.get(name, (0, 0))
        self.lengths[name] = tuple(map(max, known, map(len, arrays)))

    def refuse_small(self, classifiers: tuple[str, ...]) -> None:
        """Raise a ConfigError for a batch larger than a training set, before hours pass."""
        for (generator, kind), (length, _) in self.lengths.items():
            if isinstance(kind, str):
                for name in set(NETWORKS) & set(classifiers):
                    train.classifier_steps(network(self.cfg, name), length)
            elif generator == "cgan":
                train.gan_plan(self.cfg, length)

    def program(self, name: str, function: Callable) -> Callable:
        if name not in self.programs:
            self.programs[name] = self.mapping(function)
        return self.programs[name]

    @staticmethod
    def shrunk(image: np.ndarray) -> np.ndarray:
        """[N, S, S, 1] uint8 -> flat thumbnails [N, 1024] float64 in [-1, 1]."""
        small = [duplicates.small(one[..., 0] / np.float32(127.5) - 1.0) for one in image]
        return np.float64(small).reshape(len(image), -1)

    def cgan(self, fits: list[Fit]) -> np.ndarray:
        """Synthetic images of each fit: [E, M, S, S, 1] uint8."""
        length, most = self.lengths[fits[0].generator, fits[0].scope == "all"]
        entries = []
        for fit in fits:
            # Some images twice an epoch, where a fold has fewer: the GAN knows no weights.
            index = np.resize(fit.index, length).astype(np.int32)
            drawn = np.pad(fit.drawn, (0, most - len(fit.drawn)))
            entries.append((index, fit.label[index], drawn, _key(self.key, fit.name)))
        run = self.program("cgan", partial(fit_cgan, self.cfg))
        image, finite = jax.device_get(run(self.gan_real, _stacked(entries)))
        for fit, good in zip(fits, finite, strict=True):
            if not good:
                raise DivergedError(f"{fit.name} diverged: lower its learning rate")
        return image

    def linear(self, fits: list[Fit], real: np.ndarray) -> list[np.ndarray]:
        """Synthetic thumbnails [M, 1024] of each fit; real: [N, 1024]."""
        drawn = []
        for fit in fits:
            rng = np.random.default_rng(np.asarray(jax.random.key_data(_key(self.key, fit.name))))
            drawn.append(linear.draw(real[fit.index], fit.label[fit.index], fit.drawn, rng))
        return drawn

    def linear_images(self, fits: list[Fit]) -> np.ndarray:
        """`cgan` by the linear oracle, enlarged from 32 x 32 thumbnails."""
        side, most = duplicates.SIDE, max(len(fit.drawn) for fit in fits)
        images = np.zeros((len(fits), most, *self.real.shape[1:]), np.uint8)
        for image, flat in zip(images, self.linear(fits, self.shrunk(self.real)), strict=True):
            small = np.clip(np.round((flat + 1.0) * 127.5), 0, 255).astype(np.uint8)
            part = Dataset(small.reshape(-1, side, side, 1), np.zeros(len(flat)), np.zeros(0))
            image[: len(flat)] = pooled.resized(part, self.cfg.data.image_size).image
        return images

    def networks(self, cells: list[Cell], places: dict[str, int], synthetic) -> np.ndarray:
        """[E, T] predictions of cells of one generator, classifier and family."""
        length, most = self.lengths[cells[0].generator, _family(cells[0])]
        entries = []
        for cell in cells:
            missing = length - len(cell.train)
            index = np.pad(cell.train, (0, missing)).astype(np.int32)
            weight = np.pad(np.ones(len(cell.train), np.float32), (0, missing))
            test = np.pad(cell.test, (0, most - len(cell.test))).astype(np.int32)
            which = np.int32(places.get(cell.fit, 0))
            one_key = _key(self.key, cell.name)
            entries.append((which, index, cell.label[index], weight, test, one_key))
        name = cells[0].classifier
        run = self.program(name, partial(fit_predict, network(self.cfg, name)))
        p = np.float64(run((self.real, synthetic), _stacked(entries)))
        for cell, row in zip(cells, p, strict=True):
            if not np.isfinite(row).all():
                raise DivergedError(f"{cell.name} predicts NaN: lower its learning rate")
        return p

    def floor(self, cell: Cell, synthetic) -> np.ndarray:
        """[T] predictions of one cell; synthetic: of its fit, None without one."""
        if cell.classifier == "metadata":
            pool = self.features
        elif cell.generator.startswith("cgan"):
            pool = np.concatenate([self.shrunk(self.real), self.shrunk(synthetic)])
        else:
            pool = self.files if synthetic is None else np.concatenate([self.files, synthetic])
        fit_predict_one = floors.FLOORS[cell.classifier]
        return fit_predict_one(pool[cell.train], cell.label[cell.train], pool[cell.test])

    def seen_by(self, name: str) -> np.ndarray:
        """What a method of Table 4 sees in the real images; computed once."""
        if name not in self.seen:
            self.seen[name] = self.methods[name].features(self.real)
        return self.seen[name]

    def method(self, cell: Cell, drawn: np.ndarray | None) -> np.ndarray:
        """[T] predictions of one cell; drawn: the method's features of synthetic images,
        None without one."""
        pool = self.seen_by(cell.classifier)
        if drawn is not None:
            pool = np.concatenate([pool, drawn])
        label, one_key = cell.label[cell.train], _key(self.key, cell.name)
        fit_predict_one = self.methods[cell.classifier].fit_predict
        p = fit_predict_one(pool[cell.train], label, pool[cell.test], one_key)
        if not np.isfinite(p).all():
            raise DivergedError(f"{cell.name} predicts NaN")
        return p


def _stacked(entries: list[tuple]):
    """One entry's leaves along a new first axis."""
    return tuple(
        jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)
        for leaves in zip(*entries, strict=True)
    )


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
        DataError: unless there are two classes, each large enough to be split.
        ConfigError: if the metadata floor is asked for without records, a batch is larger
            than a training set, or an extra that a method needs is not installed.
        DivergedError: naming the fit or cell.

    Example:
        >>> options = StudyConfig(seeds=2, classifiers=("ridge",))    # doctest: +SKIP
        >>> answers = list(study(cfg, data, key, options=options))    # doctest: +SKIP
    """
    label, group = np.asarray(data.label), np.asarray(data.group)
    fits, cells = plan(cfg, options, label, group)
    if "metadata" in options.classifiers and records is None:
        raise ConfigError("classifiers has 'metadata': expected records, the files' own")
    how = mapping or partial(mapped, how=options.mapping)
    methods = {
        name: method(name, options.weights) for name in options.classifiers if name in METHODS
    }
    lab = _Lab(cfg, data, key, records, how, methods, fits, cells)
    lab.refuse_small(options.classifiers)
    chunk = options.chunk or (2 if jax.default_backend() == "cpu" else 32)
    # Thumbnails alone are small.
    small = set(options.classifiers) <= set(FLOORS)
    sizes = {"cgan": chunk, "linear": _FLOOR_CHUNK if small else chunk}
    for block, some, used in _blocks(fits, cells, sizes):
        yield from _run_block(lab, block, some, used, chunk, keep, group)


def _run_block(lab: _Lab, block, fits, cells, chunk, keep, group) -> Iterator[Prediction]:
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
        together = alike.setdefault((cell.generator, cell.classifier, _family(cell)), {})
        together.setdefault(cell.name, []).append(cell)
    for (generator, classifier, family), named in alike.items():
        is_network = classifier in NETWORKS
        size = chunk if is_network else _FLOOR_CHUNK * 16
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

            name = f"{block}_{generator}_{classifier}_{family}_{number:04d}"
            answers = keep(name, list(members), predict)
            for same, p in zip(members.values(), answers, strict=True):
                for cell in same:
                    told = cell.label[cell.test]
                    yield Prediction(cell, twins(cell, group), told, p[: len(cell.test)])
