"""What a generator draws while it trains: growing sheets, and how it compares with real images."""

import threading
from pathlib import Path

import jax
import numpy as np

from jaxbrain.audit import features, generative, watching
from jaxbrain.data.preprocess import resized
from jaxbrain.reports import sheets
from jaxbrain.runs.files import file_name, whole
from jaxbrain.runs.log import Log
from jaxbrain.study.training import Training
from jaxbrain.types import Dataset

SHEET_COLUMNS = 10
# Kernel distance of samples and held-out images, of texture (`audit.generative`).
KID = "kid_held_out"
# Samples of each class that a report looks at, and the largest side of one on a sheet.
_JUDGED, _SIDE = 50, 96


class Samples:
    """The samples of a run's generators, by lane; `show` is called to look at them, `keep` at
    every save.

    names: of the classes; key: of the latents. folder: lane, kind -> where its checkpoints are;
    title: lane, kind -> what it is called. held_out: [N, S, S, 1] uint8, images that no
    generator sees, which samples are then compared with, or None.
    """

    def __init__(self, log: Log, names, key, folder, title, held_out=None):
        self.path, self.log, self.names, self.key = log.workdir, log, names, key
        self.folder, self.title = folder, title
        self.held_out = None if held_out is None else features.texture(held_out)
        self.rows: dict[str, dict[int, np.ndarray]] = {}
        # What the numbers of a lane are beside: those of its real images.
        self.real: dict[str, dict[str, float]] = {}
        self.drawing = threading.Lock()
        (self.path / "samples").mkdir(exist_ok=True)

    def show(self, training: Training, i: int, states, step: int, means: dict) -> dict:
        """Draw samples of fixed latents, add them to the sheets, and judge them.

        means: what else this report says."""
        if training.draw is None:
            return {}
        lane, (real, real_label, _) = training.lanes[i], training.seen(i)
        label = np.repeat(np.arange(len(self.names), dtype=np.int32), _JUDGED)
        key = jax.random.fold_in(self.key, np.uint32(lane.seed))
        image = training.draw(states, label, key)
        self._add(lane, step, image[np.arange(len(label)) % _JUDGED < SHEET_COLUMNS])
        if step == training.total:
            self._draw(lane)
        if lane.name not in self.real:
            self.real[lane.name] = self._references(real, real_label)
        found = {
            "sample_spread": watching.spread(image, label),
            "frechet_thumbnail": generative.frechet(*map(watching.features, (real, image))),
        } | self.real[lane.name]
        if self.held_out is not None:
            pair = generative.standardised(self.held_out, features.texture(image))
            found[KID] = generative.kernel_distance(*pair[::-1])
        if step == training.total:
            events = [*looks(self.log.of(lane.name)), {"step": step} | means | found]
            for text in watching.warnings(events, found["real_spread"]):
                self.log.line(f"warning {self.title(lane, '')}: {text}")
        return found

    def _references(self, real: np.ndarray, label: np.ndarray) -> dict[str, float]:
        """Of real images what is told of samples: their spread, the distance of two halves of
        them, and their distance to held-out images."""
        found = {"real_spread": watching.spread(real, label)}
        order = np.argsort(label, kind="stable")
        if (halves := watching.between_halves(real, label)) is not None:
            found["frechet_halves"] = halves
        if self.held_out is not None and len(real) >= generative.LEAST:
            # As many as are judged of samples: a kernel distance costs their square.
            chosen = np.linspace(0, len(real) - 1, min(len(real), _JUDGED * len(self.names)))
            some = features.texture(real[order[chosen.round().astype(int)]])
            pair = generative.standardised(self.held_out, some)
            found["real_kid"] = generative.kernel_distance(*pair[::-1])
        return found

    def _add(self, lane, step: int, image: np.ndarray) -> None:
        """A row for each class: image [K * columns, S, S, 1] uint8, class by class."""
        if image.shape[1] > _SIDE:
            unused = np.zeros(len(image), np.int32)
            image = np.asarray(resized(Dataset(image, unused, unused), _SIDE).image)
        rows = self.rows.setdefault(lane.name, {})
        if not rows:
            rows |= self._read(self._file(lane), step)
        rows[step] = image

    def _file(self, lane) -> Path:
        return self.path / "checkpoints" / self.folder(lane, "") / "sheet.npz"

    def keep(self, lane) -> None:
        """Write the rows so far, and draw the sheets; from the thread that saves."""
        if rows := dict(self.rows.get(lane.name, {})):
            path = self._file(lane)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path, "wb") as file:
                np.savez_compressed(file, **{str(n): rows[n] for n in rows})
            self._draw(lane)

    def _draw(self, lane) -> None:
        # The last report draws, and the thread that saves may be drawing the same sheets.
        with self.drawing:
            self._draw_alone(lane)

    def _draw_alone(self, lane) -> None:
        rows = dict(self.rows[lane.name])
        for k, name in enumerate(self.names):
            own = slice(k * SHEET_COLUMNS, (k + 1) * SHEET_COLUMNS)
            shown = [(f"step {n}", rows[n][own]) for n in sorted(rows)]
            path = self.path / "samples" / f"{self.folder(lane, '')}_{file_name(name, k)}.png"
            sheets.sheet(path, shown)
            if self.log.board is not None:
                event = {"lane": lane.name, "seed": lane.seed, "training": "gan"}
                self.log.board.sheet(path, event | {"step": max(rows)})

    def _read(self, path: Path, step: int) -> dict[int, np.ndarray]:
        """The rows of an earlier process, before a step."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return {int(name): file[name] for name in file.files if int(name) < step}
        except FileNotFoundError:
            return {}
        except Exception as error:  # A damaged zip raises almost anything.
            self.log.line(f"damaged {path}: {error}: its rows are left out")
            return {}


def looks(events: list[dict]) -> list[dict]:
    """The reports that looked at samples."""
    return [event for event in events if "frechet_thumbnail" in event]


def judgement(events: list[dict]) -> dict:
    """What a generator's reports say of it, for `results.json`; None where they are lost."""
    if not (events := looks(events)):
        lost = "its reports are lost: whether it collapsed is not known"
        return {"real_spread": None, "last": None, "best": None, "warnings": [lost]}
    score = KID if KID in events[-1] else "frechet_thumbnail"
    best = min(events, key=lambda event: event.get(score, np.inf))
    names = "step", KID, "frechet_thumbnail", "frechet_halves", "sample_spread"
    names = [name for name in names if name in events[-1]]
    real = events[-1]["real_spread"]
    return {
        "real_spread": real,
        "last": {name: events[-1][name] for name in names},
        "best": {name: best[name] for name in names},  # of its first name that is a score
        "warnings": watching.warnings(events, real),
    }
