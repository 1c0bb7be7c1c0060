"""What the blocks of a study share: images, methods, padded lengths, compiled programs."""

import dataclasses
import zlib
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.methods import Classifier, Generator, Method
from jaxbrain.study.protocols import EXTERNAL, INNER
from jaxbrain.study.views import Views
from jaxbrain.training.lanes import Lanes
from jaxbrain.types import Array


def named_key(key: Array, name: str) -> Array:
    """The key of a fit or a cell of a study, by its name."""
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def family(cell: Cell) -> str:
    """Cells of one family are padded to one length, and so share a compiled program."""
    if cell.protocol in (EXTERNAL, INNER):
        return cell.protocol
    return "pool" if cell.protocol == "P0" and cell.fit else "real"


class Shared:
    """See the module. how: one of `lanes.HOW`; "host" where the images do not fit on a
    device."""

    def __init__(
        self,
        cfg: Config,
        key: Array,
        views: Views,
        *,
        group: np.ndarray,
        generators: dict[str, Generator],
        classifiers: dict[str, Classifier],
        planned: list[Fit | Cell],
        how: str,
        num_devices: int,
    ):
        self.cfg, self.key, self.views, self._group = cfg, key, views, group
        self.generators, self.classifiers = generators, classifiers
        self.how, self.num_devices = how, num_devices
        self._programs: dict[tuple, Lanes] = {}
        self._features: dict[str, object] = {}
        self._lengths: dict[tuple, tuple[int, int]] = {}
        for one in planned:
            own = (one.index, one.drawn) if isinstance(one, Fit) else (one.train, one.test)
            kin = self._kin(one)
            known = self._lengths.get(kin, (0, 0))
            self._lengths[kin] = tuple(map(max, known, map(len, own)))

    @staticmethod
    def _kin(one: Fit | Cell) -> tuple:
        """What is padded to one length together. Shuffled classes may have other sizes, and
        their study must not change the numbers of the true ones."""
        shuffled = one.labels == "shuffled"
        if isinstance(one, Fit):
            return "fit", one.generator, one.kind, shuffled
        return "cell", one.generator, family(one), shuffled

    def lengths(self, one: Fit | Cell) -> tuple[int, int]:
        """Of the padded training set, and of what is drawn or tested."""
        return self._lengths[self._kin(one)]

    def groups(self, index: np.ndarray) -> np.ndarray:
        """Of images of a pool: [L] int32. A synthetic one is a group of its own."""
        count = len(self._group)
        alone = self._group.max() + 1 + np.asarray(index) - count
        return np.where(index < count, self._group[np.minimum(index, count - 1)], alone)

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
            advances = part == "advance"
            if how in ("pmap", "sharded") and not advances:
                how = "loop"
            one = partial(function, method, cfg)
            self._programs[name] = Lanes(one, how, self.num_devices, donate=advances)
        return self._programs[name]

    def config(self, one: Fit | Cell) -> Config:
        """Of a fit or a cell: the probe has two classes, whatever the images have."""
        if one.labels != "origin" or self.cfg.data.num_classes == 2:
            return self.cfg
        return dataclasses.replace(self.cfg, data=dataclasses.replace(self.cfg.data, num_classes=2))

    def refuse_small(self) -> None:
        """Raise a ConfigError for a batch larger than a training set, before hours pass."""
        for (kind, name, *_), (length, _) in self._lengths.items():
            fitted = [self.generators[name]] if kind == "fit" else self.classifiers.values()
            for method in fitted:
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
