"""What a generator and a classifier are, and the built-in ones by name.

A method is a value. One function is enough (`fit_sample`, `fit_predict`). A method that
trains for long gives four instead, so that its training is watched, saved and gone on with:

    steps(cfg, num_examples)            how many updates it makes; refuses what cannot work
    start(cfg, train, ..., key)         a state, a tree of arrays
    advance(cfg, train, ..., key, state, stop)  the state after `stop` updates in all, and
                                        {name: [steps] float32}, what every update reported
                                        as sums over its examples ("count": how many); NaN
                                        where this call did not run. Cutting changes no bit
    finish(cfg, state, ..., key)        the synthetic images, or the predictions

`...` is nothing for a generator (`finish` takes the labels to draw) and the weights of the
training images for a classifier (`finish` takes the test images, and no key).
"""

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from jaxbrain.baselines import floors, linear, mirror, pretrained
from jaxbrain.baselines import methods as table4
from jaxbrain.config import Config
from jaxbrain.errors import ConfigError
from jaxbrain.study import networks
from jaxbrain.study.names import NONE
from jaxbrain.study.views import enlarged, flat, thumbnails
from jaxbrain.training import streamed
from jaxbrain.types import Array, Dataset


class Streamed(NamedTuple):
    """The same three functions for images that stay on the host: called as they are."""

    start: Callable
    advance: Callable
    finish: Callable


@dataclasses.dataclass(frozen=True)
class Method:
    """What generators and classifiers have in common: see the module."""

    if TYPE_CHECKING:
        # Fields of both, which are not first here.
        name: str
        mapped: bool
        sees: str

    _: dataclasses.KW_ONLY
    steps: Callable[[Config, int], int] | None = None
    start: Callable | None = None
    advance: Callable | None = None
    finish: Callable | None = None
    batch_size: Callable[[Config], int] | None = None  # of an update, for images a second
    streamed: Streamed | None = None

    @property
    def trains(self) -> bool:
        """Whether the loop watches it."""
        return self.advance is not None

    def _check(self, kind: str, function: str, sees: tuple[str, ...]) -> None:
        name = self.name if isinstance(self.name, str) else ""
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,59}", name, re.ASCII):
            raise ConfigError(
                f"{kind} name is {self.name!r}: expected letters, digits, and . _ - inside, at "
                "most 60"
            )
        if self.name == NONE:
            raise ConfigError(f"{kind} name is 'none': that word stands for no synthesis")
        if self.sees not in sees:
            raise ConfigError(f"{kind} {self.name} sees {self.sees!r}: expected {' | '.join(sees)}")
        whole = getattr(self, function)
        parts = [self.steps, self.start, self.advance, self.finish]
        one = callable(whole) and not any(parts)
        if not one and (whole is not None or not all(map(callable, parts))):
            raise ConfigError(
                f"{kind} {self.name}: expected {function}, or steps, start, advance and finish"
            )


@dataclasses.dataclass(frozen=True)
class Generator(Method):
    """A way to draw synthetic images.

    Attributes:
        name: in results; letters, digits, `.`, `_`, `-`.
        fit_sample: (cfg, train: Dataset, label [M] int32, key) -> [M, S, S, 1] uint8, one image
            a label; fitted on `train`, of side S. Where a study has its name with a filter
            (`names`) it is called again with the same key and the labels twice over: it should
            draw other images for those behind, and may draw any for the first.
        mapped: a promise that its functions are pure JAX, so that many fits may be one program.
            Their training sets are filled to one length then: some images stand there twice.
        sees: the side S of `train`. "images": `cfg.data.image_size`. "gan":
            `cfg.gan.image_size` (what it draws is still of `cfg.data.image_size`). "each": any;
            it is fitted on images, and again on thumbnails for classifiers that see thumbnails.

    Example:
        >>> def fit_sample(cfg, train, label, key):
        ...     rows = [np.flatnonzero(train.label == k)[0] for k in label]
        ...     return train.image[rows]
        >>> Generator("first_again", fit_sample).mapped
        False
    """

    name: str
    fit_sample: Callable[[Config, Dataset, Array, Array], Array] | None = None
    mapped: bool = False
    sees: Literal["images", "gan", "each"] = "images"

    def __post_init__(self):
        self._check("generator", "fit_sample", ("images", "gan", "each"))
        if self.sees == "each" and self.trains:
            raise ConfigError(
                f"generator {self.name} trains and sees 'each': expected images or gan"
            )


@dataclasses.dataclass(frozen=True)
class Classifier(Method):
    """A way to tell classes apart.

    Attributes:
        fit_predict: (cfg, train: Dataset, weight [L] float32, test, key) -> [T, K] float32,
            probabilities whose rows sum to 1. K is `cfg.data.num_classes`; a training image of
            weight 0 counts for nothing (one function on the host never gets one). On the host
            `train.group` says which images stay together where it splits them once more.
        mapped: as of a generator.
        sees: what `train.image` and `test` hold. "images": [.., S, S, 1] uint8 of side
            `cfg.data.image_size`. "thumbnails": [.., 32, 32, 1] uint8 of the whole picture as
            the file has it (beside synthetic images of a generator that draws images:
            thumbnails of those, and of real ones prepared alike). "files": [.., F] float64,
            what files say without being looked at; synthetic images have none.
        features: (cfg, image) -> [N, ...] computed once for each image that `sees` shows; then
            `train.image` and `test` hold them.
        outside: what it knows of other images ("ImageNet"), which a report says beside it; empty
            for one that is fitted on `train` alone.
        ready: (weights) -> Classifier, called once before a study with its file of weights: the
            place to refuse what is missing.
    """

    name: str
    fit_predict: Callable[[Config, Dataset, Array, Any, Array], Array] | None = None
    mapped: bool = False
    sees: Literal["images", "thumbnails", "files"] = "images"
    features: Callable[[Config, np.ndarray], np.ndarray] | None = None
    outside: str = ""
    ready: Callable[[str], "Classifier"] | None = None

    def __post_init__(self):
        self._check("classifier", "fit_predict", ("images", "thumbnails", "files"))
        if self.features is not None and (self.mapped or self.trains):
            raise ConfigError(
                f"classifier {self.name} has features: expected fit_predict and mapped False"
            )


def draw_linear(cfg: Config, train: Dataset, label: np.ndarray, key: Array) -> np.ndarray:
    """The linear oracle (`baselines.linear`), drawn at 32 x 32 and enlarged."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    small = flat(thumbnails(train.image))
    drawn = linear.draw(small, np.asarray(train.label), np.asarray(label), rng)
    return enlarged(drawn, train.image.shape[1])


GENERATORS = {
    one.name: one
    for one in (
        Generator(
            "cgan",
            mapped=True,
            sees="gan",
            steps=networks.gan_steps,
            start=networks.gan_start,
            advance=networks.gan_advance,
            finish=networks.gan_finish,
            batch_size=lambda cfg: cfg.gan.batch_size,
            streamed=Streamed(**networks.gan_streamed_parts()),
        ),
        Generator("linear", draw_linear, sees="each"),
    )
}


def _network(name: str) -> Classifier:
    on_host = networks.parts(name, streamed)
    return Classifier(
        name,
        mapped=True,
        batch_size=lambda cfg: cfg.classifier.batch_size,
        streamed=Streamed(*(on_host[part] for part in Streamed._fields)),
        **networks.parts(name),
    )


def _floor(name: str, sees: str) -> Classifier:
    function = floors.FLOORS[name]

    def fit_predict(cfg, train, weight, test, key):
        seen = flat if sees == "thumbnails" else np.float64
        return function(seen(train.image), train.label, seen(test), cfg.data.num_classes)

    return Classifier(name, fit_predict, sees=sees)


def _mirror_kernel() -> Classifier:
    def features(cfg, image):
        return mirror.features(image)

    def fit_predict(cfg, train, weight, test, key):
        return mirror.fit_predict(train.image, train.label, test, cfg.data.num_classes)

    return Classifier("mirror_kernel", fit_predict, features=features)


def _quoted(name: str) -> Classifier:
    """A method of the paper's Table 4; made ready by its extras and its file of weights."""
    outside = "ImageNet" if name == "vgg16_transfer" else ""

    def ready(weights: str) -> Classifier:
        method = table4.method(name, weights)

        def features(cfg, image):
            return method.features(image)

        def fit_predict(cfg, train, weight, test, key):
            label = np.asarray(train.label)
            return method.fit_predict(train.image, label, test, cfg.data.num_classes, key)

        return Classifier(name, fit_predict, features=features, outside=outside)

    return Classifier(name, _too_early(name), outside=outside, ready=ready)


def _pretrained(name: str) -> Classifier:
    """A method that looks through ImageNet's EfficientNet-lite0; made ready by its extra."""

    def ready(weights: str) -> Classifier:
        method = pretrained.method(name)

        def features(cfg, image):
            return method.features(image)

        def fit_predict(cfg, train, weight, test, key):
            label, group = np.asarray(train.label), np.asarray(train.group)
            classes = cfg.data.num_classes
            return method.fit_predict(train.image, label, group, test, classes, key)

        return Classifier(name, fit_predict, features=features, outside="ImageNet")

    return Classifier(name, _too_early(name), outside="ImageNet", ready=ready)


def _too_early(name: str) -> Callable:
    def refuse(*_):
        raise ConfigError(f"{name}: expected to be made ready by its study")

    return refuse


CLASSIFIERS = {
    one.name: one
    for one in (
        *map(_network, (*networks.CNN_LSTM, "cnn")),
        _floor("majority", "thumbnails"),
        _floor("metadata", "files"),
        _floor("nn1", "thumbnails"),
        _floor("ridge", "thumbnails"),
        _mirror_kernel(),
        *map(_quoted, (*table4.METHODS, "vgg16_transfer")),
        *map(_pretrained, pretrained.METHODS),
    )
}
