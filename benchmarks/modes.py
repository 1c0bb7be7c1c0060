"""Does the GAN draw all that it was shown?

Trains the GAN of a preset on phantoms whose modes are known (contrast, size of the
ventricles, quarter of the lesion: 30 of them) and counts the modes that its samples have:
recall, precision. With --plain also the paper's GAN (labels joined to the maps,
cross-entropy, mirrored images, both nets at once) of the same widths, batch and updates.
For comparison fresh phantoms, which have all modes, and the training images themselves.
"""

import dataclasses
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from jaxbrain import config, gan, train_gan
from jaxbrain.audit import modes as audit
from jaxbrain.data import modes
from jaxbrain.data.preprocess import to_uint8
from jaxbrain.errors import ConfigError
from jaxbrain.reports import sheets
from jaxbrain.types import Dataset

_BLOCK, _COLUMNS = 100, 12


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "cpu"
    images: int = 140  # training phantoms in all
    steps: int = 0  # updates; 0: the preset's
    difficulty: float = 0.5  # of the phantoms
    seeds: int = 1  # of the training images and the GAN
    samples: int = 1000  # judged, of each class
    plain: bool = False  # the paper's GAN too
    sheet: Path | None = None  # picture of training images and samples
    oracle_images: int = 5000  # phantoms that the oracle learns from
    oracle_epochs: int = 10


def plain(cfg: config.Config) -> config.Config:
    """The paper's GAN at the widths, size, batch and updates of another."""
    same = ("image_size", "filters", "projection", "batch_size", "steps")
    fields = {name: getattr(cfg.gan, name) for name in same}
    return dataclasses.replace(cfg, gan=dataclasses.replace(config.paper().gan, **fields))


def methods(options: Options) -> dict[str, config.Config]:
    # As it is: `common.preset` is for speed beside other frameworks.
    cfg = getattr(config, options.preset)()
    if options.steps:
        cfg = common.change(cfg, "gan", steps=options.steps)
    return {options.preset: cfg} | ({"plain": plain(cfg)} if options.plain else {})


def trained(cfg: config.Config, data: Dataset, key):
    """The state of a GAN, and the seconds of compiling and of training."""
    start = time.perf_counter()
    program = jax.jit(train_gan, static_argnums=0).lower(cfg, data, key).compile()
    compiled = time.perf_counter()
    state, _ = jax.block_until_ready(program(data, key))
    return state, compiled - start, time.perf_counter() - compiled


def sampled(cfg: config.Config, state, label: np.ndarray, key) -> np.ndarray:
    """[M, S, S, 1] uint8, one for each label, some at a time."""
    draw = jax.jit(gan.sample, static_argnums=0)
    image = []
    for i, start in enumerate(range(0, len(label), _BLOCK)):
        # Always as many, so that one program serves.
        some = np.resize(label[start : start + _BLOCK], _BLOCK)
        image.append(np.asarray(to_uint8(draw(cfg, state, some, jax.random.fold_in(key, i)))))
    return np.concatenate(image)[: len(label)]


def judged(oracle: audit.Oracle, image, label, mode: np.ndarray) -> dict:
    """mode: of the training images."""
    found = audit.of_images(oracle, image)
    return audit.recall_of_modes(found, np.asarray(label), mode, np.random.default_rng(0))


def measure(options: Options, oracle: audit.Oracle, cfgs: dict, size: int, seed: int):
    """Figures of every method for one seed, and the images of the sheet."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(1), seed), 4)
    data, mode = modes.dataset(keys[0], options.images, size, options.difficulty)
    fresh, _ = modes.dataset(keys[1], 2 * options.samples, size, options.difficulty)
    label = fresh.label
    found = {
        "training images": judged(oracle, data.image, data.label, mode),
        "fresh phantoms": judged(oracle, fresh.image, label, mode),
    }
    rows = [("training", data.image, data.label)]
    for name, cfg in cfgs.items():
        state, compile_s, training_s = trained(cfg, data, keys[2])
        image = sampled(cfg, state, label, keys[3])
        seconds = {"compile_s": round(compile_s, 2), "training_s": round(training_s, 2)}
        found[name] = judged(oracle, image, label, mode) | seconds
        rows.append((name, image, label))
    return found, rows


def sheet(path: Path, rows: list) -> None:
    """Two rows of each class, of the training images and of every method."""
    shown = []
    for name, image, label in rows:
        for k, text in enumerate(("no", "yes")):
            own = image[label == k]
            own = own[np.linspace(0, len(own) - 1, 2 * _COLUMNS).astype(int)]
            shown += [(f"{name} {text}", own[:_COLUMNS]), ("", own[_COLUMNS:])]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheets.sheet(path, shown)
    except (OSError, ValueError) as error:
        raise ConfigError(f"sheet {path}: cannot be written: {error}") from error
    print(f"wrote {path}")


def table(found: list[dict]) -> list[list]:
    """A row of each method and seed."""
    rows = []
    for seed, one in enumerate(found):
        for name, figures in one.items():
            text = []
            for what in ("recall", "precision"):
                low, high = figures[what]["interval"]
                text.append(f"{figures[what]['value']:.3f} ({low:.3f}..{high:.3f})")
            text += [f"{c['recall']:.3f}" for c in figures["classes"].values()]
            text += [f"{figures['overlap']:.3f}", f"{figures['none']:.3f}"]
            rows.append([name, seed, *text, figures.get("training_s")])
    return rows


def main(options: Options) -> None:
    if options.seeds < 1 or options.samples < 50:
        raise ConfigError(
            f"seeds is {options.seeds}, samples is {options.samples}: expected at least 1 and 50"
        )
    cfgs = methods(options)
    size = cfgs[options.preset].gan.image_size
    start = time.perf_counter()
    oracle = audit.fitted(
        jax.random.key(0),
        size,
        options.difficulty,
        num=options.oracle_images,
        epochs=options.oracle_epochs,
    )
    oracle_s = round(time.perf_counter() - start, 2)
    runs = [measure(options, oracle, cfgs, size, seed) for seed in range(options.seeds)]
    found = [one for one, _ in runs]
    exact = ", ".join(f"{name} {value:.3f}" for name, value in oracle.accuracy.items())
    print(f"the oracle on fresh phantoms: {exact}")
    columns = ["", "seed", "recall", "precision", "recall no", "recall yes", "overlap", "none", "s"]
    steps = cfgs[options.preset].gan.steps
    title = f"Modes drawn: preset {options.preset}, {options.images} images, {steps} updates"
    common.table(title, columns, table(found))
    if options.sheet is not None:
        sheet(options.sheet, runs[0][1])
    result = {"preset": options.preset, "images": options.images, "steps": steps, "size": size}
    result |= {"difficulty": options.difficulty, "samples_per_class": options.samples}
    result |= {"oracle": oracle.accuracy | {"seconds": oracle_s}, "seeds": found}
    common.save(options, result, lambda axes: draw(axes, found))


def draw(axes, found: list[dict]) -> None:
    names = list(found[0])
    for what in ("recall", "precision"):
        values = [[one[name][what]["value"] for one in found] for name in names]
        axes.plot(names, [np.mean(value) for value in values], "o", label=what)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share, mean of the seeds")
    axes.tick_params(axis="x", labelsize=7)
    axes.legend()


if __name__ == "__main__":
    common.main(Options, main)
