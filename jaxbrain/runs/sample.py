"""Synthetic images from a GAN that a run has saved, as PNG files that say where they are from."""

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from jaxbrain import config
from jaxbrain.config import Config
from jaxbrain.data.classes import order
from jaxbrain.errors import CheckpointError, ConfigError, DataError
from jaxbrain.runs import checkpoint, environment, files
from jaxbrain.runs.samples import KID
from jaxbrain.runs.workdir import CONFIG, IMAGES, differences, locked
from jaxbrain.study import networks
from jaxbrain.training import gan
from jaxbrain.types import GANState

PREDICTIONS = "predictions.csv"
PROVENANCE = "provenance.json"
_NOTICE = "synthetic, for research, not anonymous: images like these may copy training images"
# What makes the images of a folder one draw, to which more may be added.
_DRAW = "run", "seed", "checkpoint", "key"


class SavedGAN(NamedTuple):
    """A GAN of a run, at its last checkpoint that is as it was saved, or the chosen one.

    run: the run's directory. cfg: its configuration; images are drawn at the GAN's size.
    class_names: index = label. about: what its `config.json` holds. digest: SHA-256 of the
    checkpoint's manifest. chosen: whether held-out images chose the checkpoint.
    """

    run: Path
    cfg: Config
    class_names: tuple[str, ...]
    about: dict
    seed: int
    step: int
    digest: str
    state: GANState
    chosen: bool

    def provenance(self) -> dict:
        """Where an image drawn from it is from."""
        of_config = json.dumps(self.about["config"], sort_keys=True).encode()
        return {
            "notice": _NOTICE,
            "run": str(self.run),
            "kind": self.about.get("kind"),
            "command": self.about.get("command"),
            "run_commit": self.about.get("commit"),
            "config_sha256": hashlib.sha256(of_config).hexdigest(),
            "seed": self.seed,
            "checkpoint": {"step": self.step, "sha256": self.digest},
            "jaxbrain": environment.version(),
            "commit": environment.commit(),
        }


def load(run: str | Path, seed: int = 0, say=print, *, step: int | None = None) -> SavedGAN:
    """The GAN of a seed of a run (`train_gan`, `paper`): of its last checkpoint, or where
    held-out images judged them, of the one nearest to these.

    Args:
        step: of another checkpoint that is kept; None for that one.
        say: called with a line for every checkpoint that is damaged and left out.

    Raises:
        DataError: if the directory holds no run.
        ConfigError: if its configuration cannot be read back, or another process is at it.
        CheckpointError: if it has no GAN of that seed, or none that is as it was saved.
    """
    run = Path(run).absolute()
    about = read_about(run)
    cfg = config.from_dict(about.get("config"), f"{run / CONFIG}: config")
    cfg = _native(cfg)
    folder = run / "checkpoints" / f"seed{seed}" / "gan"
    if not folder.is_dir():
        seeds = sorted(path.parent.name for path in (run / "checkpoints").glob("seed*/gan"))
        known = f"of {', '.join(seeds)}" if seeds else "of train_gan or paper, with a GAN"
        raise CheckpointError(f"{run}: has no GAN of seed {seed}: expected a run {known}")
    like = jax.eval_shape(lambda: gan.init(cfg, jax.random.key(0)))
    # What sweeps up after a save that was cut off must not meet a save in work.
    alone = locked(run) if os.access(run, os.W_OK) else contextlib.nullcontext()
    with alone, checkpoint.Store(folder, best=KID, say=say) as store:
        found = store.least(like) if step is None else store.at(step, like)
        if found is None:
            raise CheckpointError(f"{folder}: no checkpoint there: it was not saved yet")
        manifest = (folder / str(found.step) / checkpoint.MANIFEST).read_bytes()
    names = class_names(run, about, cfg)
    digest = hashlib.sha256(manifest).hexdigest()
    chosen = found.meta.get(KID, checkpoint.NO_SCORE) < checkpoint.NO_SCORE
    return SavedGAN(run, cfg, names, about, seed, found.step, digest, found.state, chosen)


def _native(cfg: Config) -> Config:
    """So that images keep the GAN's own size: the classifier's may be another."""
    data = dataclasses.replace(cfg.data, image_size=cfg.gan.image_size)
    return dataclasses.replace(cfg, data=data)


def read_about(run: Path) -> dict:
    """What the `config.json` of a run holds."""
    try:
        if not run.is_dir():
            raise FileNotFoundError(run)
        found = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        found = "is a file" if run.exists() else "does not exist"
        found = f"holds no {CONFIG}" if run.is_dir() else found
        raise DataError(
            f"{run}: {found}: expected the directory of a run, the --workdir of jaxbrain train_gan "
            "or paper"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{run / CONFIG}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{run / CONFIG}: holds a {type(found).__name__}: expected an object")
    return found


def class_names(run: Path, about: dict, cfg: Config) -> tuple[str, ...]:
    """The classes by number, as the run knew them: their order is not that of their names where
    somebody named the positive one, or gave arrays."""
    if "classes" in about:
        return tuple(about["classes"])
    # Of runs before they were saved: the answers' columns, which stand in the same order.
    if (run / PREDICTIONS).is_file():
        with (run / PREDICTIONS).open(newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), [])
        return tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    names = order({row["class"] for row in files.read_csv(run / IMAGES)}, cfg.data.positive)
    if len(names) != cfg.data.num_classes:
        raise DataError(
            f"{run / IMAGES}: holds classes {', '.join(names)}: expected {cfg.data.num_classes}"
        )
    return names


def draw(saved: SavedGAN, label: np.ndarray, key: jax.Array) -> np.ndarray:
    """Synthetic images of some labels [M] int32: [M, S, S, 1] uint8, S the GAN's size. The n-th
    image of a class is the same however many are drawn. The key is consumed."""
    draws = jax.jit(networks.synthesise, static_argnums=0)
    return np.asarray(draws(saved.cfg, saved.state, np.asarray(label, np.int32), key))


def require_key(key: int) -> None:
    """Raise a ConfigError for what is no key of latents."""
    if not 0 <= key < 2**32:
        raise ConfigError(f"key is {key}: expected a whole number from 0, below 2 ** 32")


def sample(
    run: str | Path,
    *,
    n: int = 16,
    only: str = "",
    seed: int = 0,
    key: int = 0,
    out: str | Path | None = None,
    say=print,
) -> Path:
    """Draw images into class folders, `<class>/<number>.png`, and say in `provenance.json`
    where they are from.

    Args:
        run: a directory with a GAN, of `train_gan` or `paper`.
        n: images of each class, at least 1. only: one class, all without it.
        seed: of the GAN; key: of the latents. The n-th image of a class follows from both.
        out: new, empty, or of an earlier draw from the same GAN and key, to which it adds;
            `<run>/drawn` without it.

    Returns:
        The folder.

    Raises:
        ConfigError: for n below 1, an unknown class, a folder with something else in it.
        CheckpointError, DataError: see `load`.
    """
    if n < 1:
        raise ConfigError(f"n is {n}: expected at least 1 image of each class")
    require_key(key)
    saved = load(run, seed, say)
    names = saved.class_names
    if only and only not in names:
        raise ConfigError(f"class is {only!r}: expected one of {', '.join(names)}")
    out = Path(out or saved.run / "drawn").absolute()
    about = saved.provenance() | {"key": key, "size": saved.cfg.gan.image_size}
    known = _earlier(out, about)
    label = np.repeat(np.arange(len(names), dtype=np.int32), n)
    if only:
        label = label[label == names.index(only)]
    image = draw(saved, label, jax.random.key(key))
    _write(out, names, label, image, about, known)
    return out


def _earlier(out: Path, about: dict) -> dict:
    """The files that an earlier draw from the same GAN and key has listed there."""
    if not out.is_dir() or not any(out.iterdir()):
        return {}
    try:
        found = json.loads((out / PROVENANCE).read_text(encoding="utf-8"))
        listed = {one["file"]: one for one in found["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"out {out}: holds files that are no draw of ours: name a new one"
        ) from error
    now = json.loads(json.dumps({name: about[name] for name in _DRAW}))
    if other := list(differences({name: found.get(name) for name in _DRAW}, now, "")):
        where, old, new = other[0]
        raise ConfigError(
            f"out {out}: holds another draw ({where.strip('.')}: {old!r} there, {new!r} now): name "
            "a new one"
        )
    return listed


def _write(out: Path, names, label, image, about: dict, known: dict) -> None:
    numbers = dict.fromkeys(range(len(names)), 0)
    try:
        for k, one in zip(label.tolist(), image, strict=True):
            name = f"{files.file_name(names[k], k)}/{numbers[k]:04d}.png"
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            with files.whole(out / name, "wb") as file:
                Image.fromarray(one[..., 0]).save(file, format="PNG")
            content = hashlib.sha256((out / name).read_bytes()).hexdigest()
            entry = {"file": name, "class": names[k], "index": numbers[k], "sha256": content}
            known[name] = entry
            numbers[k] += 1
        listed = [known[name] for name in sorted(known)]
        files.write_json(out / PROVENANCE, about | {"files": listed})
    except OSError as error:
        raise ConfigError(f"out {out}: cannot be written: {error.strerror}") from error
