"""The images that a run's classifier was trained on, read again and checked."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.data import load_data, options_of, phantom
from jaxbrain.data.external import PREFIX
from jaxbrain.data.records import Records
from jaxbrain.errors import DataError
from jaxbrain.runs import files
from jaxbrain.runs.loaded import Run, require_source
from jaxbrain.runs.material import unlike
from jaxbrain.runs.parts import Parts, file_of
from jaxbrain.runs.workdir import IMAGES
from jaxbrain.types import Dataset

SPLITS = "splits.jsonl"


class Taught(NamedTuple):
    """Training images of one seed's classifier, at its size: the real ones first.

    data: image [N, S, S, 1] uint8, label [N] int32, group [N] int32 (of near-duplicates and
    patients; each synthetic image has its own). real: how many are real. path, digest: of the
    real ones.
    """

    data: Dataset
    real: int
    path: tuple[str, ...]
    digest: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        """The real images."""
        return np.asarray(self.data.image)[: self.real]

    @property
    def group(self) -> np.ndarray:
        """Of the real images."""
        return np.asarray(self.data.group)[: self.real]


def taught(run: Run, source: str | None = None, cache_folder: Path | None = None) -> Taught:
    """What the classifier of a run of `paper` was trained on.

    Args:
        source: where the run's images are now; None looks where they were. Phantoms are drawn
            again.
        cache_folder: of decoded images, as `load_folder` takes it.

    Raises:
        DataError: if the images are not there, or are not those of the run's `images.csv`; if the
            run has lost its split or its synthetic images.
    """
    rows = files.read_csv(run.path / IMAGES)
    own = {row["id"]: row for row in rows if not row["id"].startswith(PREFIX)}
    data, records = _images(run, source, cache_folder)
    if other := unlike(own, records):
        raise DataError(f"{records.root}: these are not the images of the run: {other}")
    fit, draws, train = _split(run)
    real = train[train < len(own)]
    drawn, label = _drawn(run, fit, draws)
    synthetic = train[train >= len(rows)] - len(rows)
    if len(real) + len(synthetic) != len(train) or (synthetic >= len(drawn)).any():
        raise DataError(f"{run.path / SPLITS}: names images that the run does not have")
    image = run.as_seen(np.asarray(data.image)[real])
    group = np.int32([own[files.cell(records.path[i])]["group"] for i in real])
    others = np.arange(len(synthetic), dtype=np.int32) + int(group.max(initial=-1)) + 1
    whole = Dataset(
        np.concatenate([image, drawn[synthetic]]),
        np.concatenate([np.asarray(data.label)[real], label[synthetic]]).astype(np.int32),
        np.concatenate([group, others]).astype(np.int32),
    )
    kept = (tuple(of[i] for i in real.tolist()) for of in (records.path, records.digest))
    return Taught(whole, len(real), *kept)


def _images(run: Run, source: str | None, cache_folder: Path | None) -> tuple[Dataset, Records]:
    cfg = run.cfg.data
    size = max(cfg.image_size, run.cfg.gan.image_size)
    where = require_source(run, source)
    if where == phantom.ROOT:
        return phantom.folder(cfg, size)
    return load_data(where, image_size=size, cache_folder=cache_folder, **options_of(cfg))


def _split(run: Run) -> tuple[str, list[int], np.ndarray]:
    """The fit that drew for the seed's classifier, how many it drew of each class, and what the
    classifier was trained on: indices as `splits.jsonl` has them."""
    path, draws = run.path / SPLITS, {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            if "draws" in one:
                draws[one["fit"]] = one["draws"]
            elif (one["protocol"], one["seed"]) == ("P0", run.seed):
                return one["fit"], draws.get(one["fit"], []), np.asarray(one["train"], np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {error!r}") from error
    raise DataError(f"{path}: has no split of seed {run.seed}")


def _drawn(run: Run, fit: str, draws: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The synthetic images of a fit, and their labels."""
    path, side = run.path / "images" / f"{file_of(fit)}.npz", run.cfg.data.image_size
    if not sum(draws):
        return np.zeros((0, side, side, 1), np.uint8), np.zeros(0, np.int32)
    try:
        names, values, _ = Parts.read(path)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    image = values[names[0]]
    label = np.repeat(np.arange(len(draws), dtype=np.int32), draws)
    if isinstance(image, str) or len(image) < len(label):
        raise DataError(f"{path}: does not hold the {len(label)} images that were drawn")
    return image[: len(label)], label


def part(taught: Taught, index: np.ndarray) -> Dataset:
    """Some of the training images, real and synthetic: index [M] into `data`."""
    return Dataset(*(np.asarray(one)[index] for one in taught.data))
