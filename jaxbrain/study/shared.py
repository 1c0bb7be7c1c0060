"""What the blocks of a study share: images, methods, padded lengths, compiled programs."""

import dataclasses
import zlib
from collections.abc import Callable

import jax

from jaxbrain.config import Config
from jaxbrain.study.methods import Classifier, Generator, Method
from jaxbrain.study.protocols import Cell, Fit
from jaxbrain.study.views import Views
from jaxbrain.training.lanes import Lanes
from jaxbrain.types import Array


def named_key(key: Array, name: str) -> Array:
    """The key of a fit or a cell of a study, by its name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def family(cell: Cell) -> str:
    """Cells of one family are padded to one length, and so share a compiled program."""
    return "pool" if cell.protocol == "P0" and cell.fit else "real"


class Shared:
    """See the module. `place` says where trainings run."""

    def __init__(
        self,
        cfg: Config,
        key: Array,
        views: Views,
        generators: dict[str, Generator],
        classifiers: dict[str, Classifier],
        fits: list[Fit],
        cells: list[Cell],
    ):
        self.cfg, self.key, self.views = cfg, key, views
        self.generators, self.classifiers = generators, classifiers
        self.how, self.num_devices = "auto", 0
        self._programs: dict[tuple, Lanes] = {}
        self._features: dict[str, object] = {}
        self._lengths: dict[tuple, tuple[int, int]] = {}
        for fit in fits:
            self._lengthen(self._kin(fit), fit.index, fit.drawn)
        for cell in cells:
            self._lengthen(self._kin(cell), cell.train, cell.test)

    @staticmethod
    def _kin(one: Fit | Cell) -> tuple:
        """What is padded to one length together. Shuffled classes may have other sizes, and
        their study must not change the numbers of the true ones."""
        shuffled = one.labels == "shuffled"
        if isinstance(one, Fit):
            return "fit", one.generator, one.scope == "all", shuffled
        return "cell", one.generator, family(one), shuffled

    def _lengthen(self, kin, *arrays) -> None:
        known = self._lengths.get(kin, (0, 0))
        self._lengths[kin] = tuple(map(max, known, map(len, arrays)))

    def lengths(self, one: Fit | Cell) -> tuple[int, int]:
        """Of the padded training set, and of what is drawn or tested."""
        return self._lengths[self._kin(one)]

    def place(self, how: str, num_devices: int) -> None:
        """how: one of `lanes.HOW`; "host" where the images do not fit on a device."""
        self.how, self.num_devices = how, num_devices

    def on_host(self, method: Method) -> bool:
        """Whether a method's functions are called with arrays of the host, not compiled."""
        return not method.mapped or (self.how == "host" and method.streamed is not None)

    def program(self, method: Method, part: str, cfg: Config, function: Callable) -> Lanes:
        """`function(method, cfg, shared, state, entry)` over lanes; made once."""
        name = (type(method), method.name, part, cfg)
        if name not in self._programs:
            how = "host" if self.on_host(method) else "auto" if self.how == "host" else self.how
            if how == "host" and method.mapped:
                method = dataclasses.replace(method, **method.streamed._asdict())
            spread = how in ("pmap", "sharded")
            if spread and part != "advance":
                how = "loop"

            def one(shared, state, entry, **axis):
                return function(method, cfg, shared, state, entry, **axis)

            donate = part == "advance"
            self._programs[name] = Lanes(one, how, self.num_devices, donate=donate)
        return self._programs[name]

    def config(self, cell: Cell) -> Config:
        """Of a cell: the probe has two classes, whatever the images have."""
        if cell.labels != "origin" or self.cfg.data.num_classes == 2:
            return self.cfg
        return dataclasses.replace(self.cfg, data=dataclasses.replace(self.cfg.data, num_classes=2))

    def refuse_small(self) -> None:
        """Raise a ConfigError for a batch larger than a training set, before hours pass."""
        for (kind, name, *_), (length, _) in self._lengths.items():
            if kind == "fit":
                trained = [self.generators[name]]
            else:
                trained = self.classifiers.values()
            for method in trained:
                if method.trains:
                    method.steps(self.cfg, length)

    def shown(self, classifier: Classifier, generator: Generator | None):
        """[N, ...] what a classifier sees of the real images beside a generator's."""
        if classifier.sees != "thumbnails":
            seen = getattr(self.views, classifier.sees)
        elif generator is None or generator.sees == "each":
            seen = self.views.thumbnails
        else:
            seen = self.views.prepared_thumbnails
        if classifier.features is None:
            return seen
        if classifier.name not in self._features:
            self._features[classifier.name] = classifier.features(self.cfg, seen)
        return self._features[classifier.name]

    def other_view(self) -> list[list[str]]:
        """[generator, classifier] where a classifier sees real images in another way beside
        the generator's than without."""
        return [
            [generator.name, classifier.name]
            for generator in self.generators.values()
            for classifier in self.classifiers.values()
            if classifier.sees == "thumbnails" and generator.sees != "each"
        ]
