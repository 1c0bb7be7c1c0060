"""A finished run as an object: its configuration, its networks, what they say and draw."""

import contextlib
import dataclasses
import functools
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxbrain import config
from jaxbrain.audit import explain
from jaxbrain.config import Config
from jaxbrain.data import options_of, phantom, unlabelled
from jaxbrain.data.collect import Options
from jaxbrain.data.preprocess import resized
from jaxbrain.data.unlabelled import Pictures
from jaxbrain.errors import CheckpointError, ConfigError, DataError
from jaxbrain.runs import checkpoint, sample
from jaxbrain.runs.paper import classifier_name
from jaxbrain.runs.workdir import CONFIG, STATUS, locked
from jaxbrain.study import networks
from jaxbrain.training import classifier, streamed
from jaxbrain.types import ClassifierState, Dataset, GANState, require_bytes

# What keeps its networks, and what of them.
_KINDS = {"paper": "a classifier and a generator", "train_gan": "a generator"}
# Images at a time; fewer are filled up to a power of two, so that few programs serve any number.
_BLOCK = 256


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run has trained, of one seed; `load_run` gives one.

    path: its directory. kind: "paper" or "train_gan". cfg: its configuration. class_names: index =
    label. positive: of two classes the second, None of more. seed: whose networks they are.
    classifier, generator: None where the run trained none. step: updates of the generator, 0
    without one. command: that started it, "" where Python did. source: where its images were,
    "phantoms", or "" where the run does not say.
    """

    path: Path
    kind: str
    cfg: Config
    class_names: tuple[str, ...]
    positive: str | None
    seed: int
    classifier: ClassifierState | None
    generator: GANState | None
    step: int = 0
    command: str = ""
    source: str = ""

    @property
    def network(self) -> Config:
        """The configuration that the classifier was trained with: that of a study's network."""
        return networks.network(self.cfg, classifier_name(self.cfg))

    def require_classifier(self) -> ClassifierState:
        """The classifier.

        Raises:
            ConfigError: if the run trained none.
        """
        if self.classifier is None:
            raise ConfigError(
                f"{self.path}: is a run of {self.kind}, which trains no classifier: expected one "
                "of paper (jaxbrain paper --data DIR)"
            )
        return self.classifier

    def read(self, sources, say: Callable[[str], None] | None = None) -> Pictures:
        """Image files, folders or archives as the classifier learned to read images: the same
        decoding, crop, square and sizes.

        Args:
            sources: one path, or a list of them.
            say: called with a line for each note on what was read.

        Returns:
            `unlabelled.Pictures` at the classifier's size; `bad` lists what cannot be used.
        """
        sources = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
        data = self.cfg.data
        how = options_of(data)
        known = {name: how[name] for name in how.keys() & Options.__dataclass_fields__.keys()}
        if self.source == phantom.ROOT:
            # Phantoms never were files, and nothing was cut off them.
            known["crop"] = "none"
        size = max(data.image_size, self.cfg.gan.image_size)
        found = unlabelled.read(sources, Options(image_size=size, **known))
        for note in found.notes if say else ():
            say(f"note   {note}")
        if not len(found.image):
            side = data.image_size
            return found._replace(image=np.zeros((0, side, side, 1), np.uint8))
        return found._replace(image=self.as_seen(found.image))

    def as_seen(self, image: np.ndarray) -> np.ndarray:
        """Images [N, S, S, 1] uint8 of the loader's size at the classifier's, by the same steps as
        those that it was trained on."""
        unused = np.zeros(len(image), np.int32)
        data = Dataset(image, unused, unused)
        if self.cfg.data.degrade_reals:
            data = resized(data, self.cfg.gan.image_size)
        return np.asarray(resized(data, self.cfg.data.image_size).image)

    def images(self, images) -> np.ndarray:
        """What `predict` takes, as [N, S, S, 1] uint8 at the classifier's size.

        Raises:
            DataError: naming every file that cannot be used; for arrays that are no images.
        """
        if isinstance(images, str | os.PathLike):
            images = [images]
        several = isinstance(images, list | tuple)
        if several and all(isinstance(one, str | os.PathLike) for one in images):
            found = self.read(images)
            found.refuse_bad()
            return found.image
        image = np.asarray(images)
        require_bytes(image)
        if image.ndim in (2, 3):
            image = image.reshape(-1, *image.shape[-2:], 1)
        if image.ndim != 4 or not len(image):
            raise DataError(f"images are {list(image.shape)}: expected [N, S, S], one or more")
        return self.as_seen(image)

    def predict(self, images) -> np.ndarray:
        """Probabilities of each class: [N, K] float32, K in the order of `class_names`.

        They are as the classifier gives them, and not calibrated (`jaxbrain predict` does that).
        For research, not a medical device.

        Args:
            images: a path or a list of paths (files, folders, archives: `read` says how; a row an
                image, in the order of the files), or an array [S, S], [N, S, S] or
                [N, S, S, 1] uint8 of squares cropped as the run's own images are, which are
                brought to its size.

        Raises:
            ConfigError: if the run trained no classifier.
            DataError: naming every file that cannot be used, and why; for other arrays.

        Example:
            run = jaxbrain.load_run("runs/first")
            run.predict(["scan.png"])  # [[0.03, 0.97]] for run.class_names ("no", "yes")
        """
        state = self.require_classifier()
        return self.probabilities(state, self.images(images))

    def probabilities(self, state: ClassifierState, image: np.ndarray) -> np.ndarray:
        """`predict` of images at the classifier's size, by any state of its configuration."""
        found = []
        for i in range(0, len(image), _BLOCK):
            some = image[i : i + _BLOCK]
            rows = min(_BLOCK, 1 << (len(some) - 1).bit_length())
            filled = np.concatenate([some, np.repeat(some[:1], rows - len(some), axis=0)])
            unused = np.zeros(rows, np.int32)
            p = streamed.predict(self.network, state, Dataset(filled, unused, unused))
            found.append(p[: len(some)])
        return np.concatenate(found)

    def explain(self, images, target=None) -> dict[str, np.ndarray]:
        """Maps of what the classifier's answers rest on: name -> [N, S, S] float32, S the
        classifier's size.

        "grad_cam" in [0, 1], "occlusion" in [-1, 1] and, of a network that folds an image with its
        mirror image, "difference" in [0, 1]: `audit.explain` says what they are. They are hints,
        and no segmentation.

        Args:
            images: as for `predict`.
            target: the class that each map speaks of, as a number or a name: one, or [N] of them;
                None for the class that an image is called.

        Raises:
            ConfigError, DataError: as `predict`.
        """
        state, cfg, image = self.require_classifier(), self.network, self.images(images)
        if target is None:
            target = self.probabilities(state, image).argmax(axis=1)
        else:
            target = self._numbers(target, "target")
        if len(target) not in (1, len(image)):
            raise ConfigError(f"target has {len(target)} classes: expected one, or {len(image)}")
        target = np.broadcast_to(np.int32(target), len(image))
        found = {
            "grad_cam": explain.grad_cam(cfg, state, image, target),
            "occlusion": explain.occlusion(
                functools.partial(self.probabilities, state), image, target
            ),
        }
        if explain.folds(cfg):
            found["difference"] = explain.difference(cfg, state, image)
        return found

    def _numbers(self, label, what: str) -> list[int]:
        """Classes by number, of numbers or names, one or many."""
        names = {name: k for k, name in enumerate(self.class_names)}
        label = np.asarray(label).tolist() if hasattr(label, "dtype") else label
        several = label if isinstance(label, list | tuple) else [label]
        numbers = [names.get(one, one) for one in several]
        if bad := [one for one in numbers if type(one) is not int or not 0 <= one < len(names)]:
            raise ConfigError(
                f"{what} has {bad[0]!r}: expected 0 to {len(names) - 1}, or one of "
                f"{', '.join(names)}"
            )
        return numbers

    def sample(self, label, key: jax.Array | int) -> np.ndarray:
        """Synthetic images of some labels: [N, S, S, 1] uint8, S the GAN's size.

        Args:
            label: [N] whole numbers in [0, K), or names of classes.
            key: a JAX key, which is consumed, or the number of one. The n-th image of a class is
                the same however many are drawn.

        Raises:
            ConfigError: if the run has no generator; for a label that is no class.
        """
        if self.generator is None:
            raise ConfigError(f"{self.path}: has no generator of seed {self.seed}")
        numbers = self._numbers(label, "label")
        if isinstance(key, int):
            sample.require_key(key)
            key = jax.random.key(key)
        data = dataclasses.replace(self.cfg.data, image_size=self.cfg.gan.image_size)
        native = dataclasses.replace(self.cfg, data=data)
        draws = jax.jit(networks.synthesise, static_argnums=0)
        return np.asarray(draws(native, self.generator, np.int32(numbers), key))


def load_run(
    path: str | Path,
    seed: int = 0,
    *,
    step: int | None = None,
    generator: bool = True,
    say: Callable[[str], None] = print,
) -> Run:
    """What a finished run has trained.

    Args:
        path: a directory of `paper` (a classifier and a generator of each seed) or `train_gan` (a
            generator). Other kinds keep no networks.
        seed: whose networks.
        step: of the generator, one of its checkpoints that is kept; None takes the one that
            `sample` draws from. The classifier is the last one.
        generator: False leaves it unread, which predicting does not need.
        say: called with a line for every checkpoint that is damaged and left out: the one before
            it then counts, where there is one.

    Raises:
        DataError: if the directory holds no run.
        ConfigError: for a run of a kind that keeps no networks, and one whose configuration this
            version cannot read.
        CheckpointError: if the run is not finished, has not that seed or step, or no checkpoint is
            as it was saved.

    Example:
        run = jaxbrain.load_run("runs/first", seed=0)
        run.cfg.data.image_size, run.class_names, run.predict("scan.png")
    """
    path = Path(path).absolute()
    about = sample.read_about(path)
    kind = _kept(path, about)
    cfg = config.from_dict(about.get("config"), f"{path / CONFIG}: config")
    _require_finished(path, kind, seed, about)
    drawn = sample.load(path, seed, say, step=step) if generator else None
    trained = _classifier(path, cfg, seed, say) if kind == "paper" else None
    names = sample.class_names(path, about, cfg)
    return Run(
        path,
        kind,
        cfg,
        names,
        names[1] if len(names) == 2 else None,
        seed,
        trained,
        drawn and drawn.state,
        drawn.step if drawn else 0,
        about.get("command", ""),
        about.get("source") or _named(path, about),
    )


def _kept(path: Path, about: dict) -> str:
    """The kind of a run; a ConfigError for one that keeps no networks."""
    kind = about.get("kind")
    if kind not in _KINDS:
        kept = "; ".join(f"{name} keeps {what}" for name, what in _KINDS.items())
        raise ConfigError(
            f"{path}: is a run of {kind}, which keeps no trained network: expected one of "
            f"{' or '.join(_KINDS)} ({kept}): run one on the same images"
        )
    return kind


def _require_finished(path: Path, kind: str, seed: int, about: dict) -> None:
    """Refuse a run whose networks of a seed are not there to the end."""
    seeds = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((path / "results.json").read_text(encoding="utf-8"))
        seeds = [one["seed"] for one in found["seeds"]]
    if seed in seeds:
        return
    status = ""
    with contextlib.suppress(OSError):
        status = (path / STATUS).read_text(encoding="utf-8", errors="replace").strip()
    if seeds and status in ("done", ""):
        known = ", ".join(map(str, seeds))
        raise CheckpointError(f"{path}: has no seed {seed}: expected one of {known}")
    again = f": {about['command']}" if about.get("command") else ""
    raise CheckpointError(
        f"{path}: seed {seed} of this run of {kind} is not finished (STATUS: {status or 'none'}): "
        f"the command that began it goes on with it{again}"
    )


def _classifier(path: Path, cfg: Config, seed: int, say) -> ClassifierState:
    folder = path / "checkpoints" / f"seed{seed}" / "classifier"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: is not there: the run has lost its classifier")
    own = networks.network(cfg, classifier_name(cfg))
    like = jax.eval_shape(lambda: classifier.init(own, jax.random.key(0), 1))
    # What sweeps up after a save that was cut off must not meet a save in work.
    alone = locked(path) if os.access(path, os.W_OK) else contextlib.nullcontext()
    with alone, checkpoint.Store(folder, best="loss", say=say) as store:
        found = store.newest(like)
    if found is None:
        raise CheckpointError(f"{folder}: no checkpoint there")
    return found.state


def _named(path: Path, about: dict) -> str:
    """Where the images of a run were, from what else it says: older runs say no more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads((path / "results.json").read_text(encoding="utf-8"))["data"]
        if data["source"] == "phantoms":
            return phantom.ROOT
        if "root" in data:
            return data["root"]
    with contextlib.suppress(ValueError):
        words = shlex.split(about.get("command", ""))
        for word, after in zip(words, [*words[1:], ""], strict=True):
            if word == "--data":
                return after
            if word.startswith("--data="):
                return word.removeprefix("--data=")
    return ""


def require_source(run: Run, source: str | None) -> str:
    """Where the images of a run are: `source`, or what the run says.

    Raises:
        DataError: if neither says it.
    """
    found = source or run.source
    if not found:
        raise DataError(f"{run.path}: does not say where its images are: name them with --data")
    return found
