"""What the cells of a study share, and the two trainings that are mapped over them.

`fit_cgan` and `fit_predict` are pure functions of one entry (a fold of a seed); `Lab` makes
their entries, with index arrays and 0/1 weights of one length, and runs what stays on the
host: floors, the linear oracle, the methods of Table 4.
"""

import dataclasses
import zlib
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.baselines import floors, linear
from jaxbrain.config import Config
from jaxbrain.data import duplicates, preprocess
from jaxbrain.errors import DivergedError
from jaxbrain.study import pooled
from jaxbrain.study.protocols import NETWORKS, Cell, Fit
from jaxbrain.training import loops
from jaxbrain.types import Array, Dataset


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
    state, _ = loops.train_gan(cfg, Dataset(real[index], label, index), train_key)
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
    state, _ = loops.train_classifier(cfg, data, key, weight=weight)
    return loops.predict(cfg, state, Dataset(images(test), test, test))[:, 1]


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


def named_key(key: Array, name: str) -> Array:
    """The key of a fit or a cell of a study, by its name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def family(cell: Cell) -> str:
    """Cells of one family are padded to one length, and so share a compiled program."""
    return "pool" if cell.protocol == "P0" and cell.fit else "real"


class Lab:
    """What the cells of a study share: images, padded lengths, compiled programs."""

    def __init__(self, cfg: Config, data: Dataset, key, records, mapping, methods, fits, cells):
        self.cfg, self.key, self.mapping, self.methods = cfg, key, mapping, methods
        small = preprocess.resized(data, cfg.gan.image_size)
        real = preprocess.resized(small if cfg.data.degrade_reals else data, cfg.data.image_size)
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
            self._lengthen((cell.generator, family(cell)), cell.train, cell.test)

    def _lengthen(self, name, *arrays) -> None:
        known = self.lengths.get(name, (0, 0))
        self.lengths[name] = tuple(map(max, known, map(len, arrays)))

    def refuse_small(self, classifiers: tuple[str, ...]) -> None:
        """Raise a ConfigError for a batch larger than a training set, before hours pass."""
        for (generator, kind), (length, _) in self.lengths.items():
            if isinstance(kind, str):
                for name in set(NETWORKS) & set(classifiers):
                    loops.classifier_steps(network(self.cfg, name), length)
            elif generator == "cgan":
                loops.gan_plan(self.cfg, length)

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
            entries.append((index, fit.label[index], drawn, named_key(self.key, fit.name)))
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
            rng = np.random.default_rng(
                np.asarray(jax.random.key_data(named_key(self.key, fit.name)))
            )
            drawn.append(linear.draw(real[fit.index], fit.label[fit.index], fit.drawn, rng))
        return drawn

    def linear_images(self, fits: list[Fit]) -> np.ndarray:
        """`cgan` by the linear oracle, enlarged from 32 x 32 thumbnails."""
        side, most = duplicates.SIDE, max(len(fit.drawn) for fit in fits)
        images = np.zeros((len(fits), most, *self.real.shape[1:]), np.uint8)
        for image, flat in zip(images, self.linear(fits, self.shrunk(self.real)), strict=True):
            small = np.clip(np.round((flat + 1.0) * 127.5), 0, 255).astype(np.uint8)
            unused = np.zeros(len(flat), np.int32)
            part = Dataset(small.reshape(-1, side, side, 1), unused, unused)
            image[: len(flat)] = preprocess.resized(part, self.cfg.data.image_size).image
        return images

    def networks(self, cells: list[Cell], places: dict[str, int], synthetic) -> np.ndarray:
        """[E, T] predictions of cells of one generator, classifier and family."""
        length, most = self.lengths[cells[0].generator, family(cells[0])]
        entries = []
        for cell in cells:
            missing = length - len(cell.train)
            index = np.pad(cell.train, (0, missing)).astype(np.int32)
            weight = np.pad(np.ones(len(cell.train), np.float32), (0, missing))
            test = np.pad(cell.test, (0, most - len(cell.test))).astype(np.int32)
            which = np.int32(places.get(cell.fit, 0))
            one_key = named_key(self.key, cell.name)
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
        label, one_key = cell.label[cell.train], named_key(self.key, cell.name)
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
