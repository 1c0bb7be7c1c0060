"""What a finished run's classifier says of new images: probabilities, calibrated ones, how far each
image is from the training images, and pictures of what the answer rests on."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxbrain.config import require_name
from jaxbrain.data import nearest
from jaxbrain.data.layout import IMAGES, shown
from jaxbrain.data.unlabelled import Pictures
from jaxbrain.errors import ConfigError, DataError, DivergedError
from jaxbrain.reports import predict as report
from jaxbrain.runs import calibration, environment, files
from jaxbrain.runs.again import Taught, taught
from jaxbrain.runs.loaded import Run, load_run
from jaxbrain.runs.log import Log
from jaxbrain.runs.workdir import CONFIG, Workdir, opened
from jaxbrain.runs.workdir import IMAGES as RECORDS
from jaxbrain.scoring.calibration import tempered

KIND, PREDICTIONS, SKIPPED = "predict", "predictions.csv", "skipped.csv"
NOTICE = "for research, not a medical device"
NOT_KNOWN = "not known"
# A training image saved anew, in another format or size, is about as near (1 - correlation).
COPY = 0.02
# Of the training images' own distances: an image that is further is unlike them.
QUANTILE = 0.99
# Fewer training images have no such quantile.
_LEAST = 20
# Rows of the sheet of all explanations.
_ROWS = 24


class Distances(NamedTuple):
    """distance: [N] of each image to its nearest training image. quantile: [N], the share of the
    training images that are no further from the nearest of another group. nearest: its path.
    known: "yes" for an image that is a training image itself, "near copy" for one that differs
    from one by no more than `COPY`, else "". limit: further is unlike."""

    distance: np.ndarray
    quantile: np.ndarray
    nearest: list[str]
    known: list[str]
    limit: float

    @property
    def unlike(self) -> np.ndarray:
        """[N] bool."""
        return self.distance > self.limit


def distances(image: np.ndarray, digest: tuple[str, ...], learned: Taught) -> Distances:
    """How far images are from the training images, beside how far these are from each other.

    The distance is `data.nearest`'s: 1 minus the largest correlation of two smoothed images, one of
    them moved by a little or mirrored. Training images of one group (near-duplicates, a patient)
    are no neighbours of each other.

    Args:
        image: [N, S, S, 1] uint8. digest: of each, as the files were decoded.

    Raises:
        DataError: for fewer than 20 training images with a neighbour.
    """
    own, _ = nearest.apart(learned.image, learned.group)
    own = np.sort(own[np.isfinite(own)])
    if len(own) < _LEAST:
        raise DataError(
            f"{len(own)} training images with a neighbour: at least {_LEAST} say what is far"
        )
    distance, index = nearest.distances(image, learned.image)
    quantile = np.searchsorted(own, distance, side="right") / len(own)
    own_digest = np.isin(digest, learned.digest)
    copy = np.where(distance <= COPY, "near copy", "")
    known = np.where(own_digest, "yes", copy).tolist()
    names = [learned.path[i] for i in index]
    return Distances(distance, quantile, names, known, float(np.quantile(own, QUANTILE)))


def predict(
    run: str | Path,
    images,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    explained: bool = False,
    skip_bad: bool = False,
    data: str | None = None,
    calibrate: str = "once",
    cache_folder: Path | None = None,
    command: str = "",
    fresh: bool = False,
    console=None,
) -> dict:
    """Predict images with the classifier of a run, and write `predictions.csv`.

    Args:
        run: a finished run of `paper`.
        images: paths of files, folders or archives; what folders are called does not count.
        seed: whose classifier.
        out: new, empty, or of the same images predicted by the same run, which are then predicted
            again; without it `<run>/predictions`, or `predictions_2` and so on for other images.
        explained: write Grad-CAM, occlusion and, of networks that fold, difference maps.
        skip_bad: go on without images that cannot be used; `skipped.csv` lists them.
        data: where the run's own images are now; where they were without it.
        calibrate: "once", "all" or "off": see `calibration.calibrate`.
        fresh: keep predictions that are there under another name.
        console: a `rich.console.Console`; standard output by default.

    Returns:
        What `predictions.json` holds; its "rows" are those of `predictions.csv`.

    Raises:
        DataError: naming every image that cannot be used, and why; if there is none left.
        ConfigError, CheckpointError: see `load_run`; for an `out` of something else.
        StoppedError: after SIGTERM or Ctrl-C.
    """
    from rich.console import Console

    require_name("calibrate", calibrate, calibration.WAYS)
    console = console or Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    loaded, found = _asked(run, images, seed, skip_bad, say)
    rows = [[path, "", "", digest] for path, digest in zip(found.path, found.digest, strict=True)]
    # By what the run is, wherever it lies.
    settings = {"run": _digest(loaded.path), "seed": seed}
    out = _place(loaded.path, out, settings, rows, fresh)
    how = {"command": command, "fresh": fresh, "say": say}
    with opened(out, KIND, settings, rows, **how) as directory, Log(out, console) as log:
        results = _predicted(loaded, found, directory, log, data, calibrate, cache_folder)
        if explained:
            _explain(loaded, found, results, directory, log)
        report.show(console, results, found.path, out)
        return results


def _digest(run: Path) -> str:
    """Of what a run's settings and images are."""
    content = [(run / name).read_bytes() for name in (CONFIG, RECORDS)]
    return hashlib.sha256(b"".join(content)).hexdigest()


def _same(place: Path, settings: dict, rows: list[list]) -> bool:
    """Whether a folder holds predictions of the same images by the same classifier."""
    try:
        about = json.loads((place / CONFIG).read_text(encoding="utf-8"))
        kept = [[row["id"], row["sha256"]] for row in files.read_csv(place / RECORDS)]
    except (OSError, ValueError, KeyError, DataError):
        return False
    asked = [[files.cell(path), digest] for path, _, _, digest in rows]
    return kept == asked and all(about.get(name) == value for name, value in settings.items())


def _place(run: Path, out, settings: dict, rows: list[list], fresh: bool) -> Path:
    """Where predictions are written."""
    if out is not None:
        place = Path(out).absolute()
        if (place / CONFIG).is_file() and not (fresh or _same(place, settings, rows)):
            raise ConfigError(
                f"out {place}: holds predictions of other images, or of another run: name another "
                "folder, or --fresh keeps them under another name"
            )
        return place
    place, number = run / "predictions", 1
    while not fresh and (place / CONFIG).is_file() and not _same(place, settings, rows):
        number += 1
        place = run / f"predictions_{number}"
    return place


def _asked(run, images, seed: int, skip_bad: bool, say) -> tuple[Run, Pictures]:
    """The run, and the images as its classifier sees them."""
    loaded = load_run(run, seed, generator=False, say=say)
    loaded.require_classifier()
    say(f"run    {loaded.path}, seed {seed}: {', '.join(map(shown, loaded.class_names))}")
    found = loaded.read(images, say)
    if not skip_bad:
        found.refuse_bad("--skip-bad goes on without them")
    if not found.path:
        raise DataError(f"no image is left: none of {len(found.bad)} can be used")
    return loaded, found


def _predicted(
    run: Run, found: Pictures, directory: Workdir, log: Log, data, calibrate, cache_folder
) -> dict:
    """Every number, and the files that hold them."""
    out = directory.path
    log.line(f"images {len(found.path)}" + (f", {len(found.bad)} skipped" if found.bad else ""))
    p = run.predict(found.image)
    learned, why = None, ""
    try:
        learned = taught(run, data, cache_folder)
    except DataError as error:
        why = str(error).splitlines()[0]
    fitted = _temperature(run, learned, out, calibrate, log, directory, why)
    calibrated = tempered(p, fitted["temperature"]) if fitted else None
    far = None
    if learned is not None:
        try:
            far = distances(found.image, found.digest, learned)
        except DataError as error:
            why = str(error)
    if far is None:
        log.line(f"unlike the training images: {NOT_KNOWN}: {why}")
    names = run.class_names
    results: dict[str, Any] = {
        "notice": NOTICE,
        "run": str(run.path),
        "seed": run.seed,
        "classes": list(names),
        "positive": run.positive,
        "images": len(found.path),
        "skipped": len(found.bad),
        "calibration": fitted,
        "unlike": None if far is None else _limits(far),
        "versions": environment.environment(),
        "jaxbrain": environment.version(),
        "commit": environment.commit(),
    }
    rows = list(_rows(names, found.path, p, calibrated, far))
    header = [
        *("path", "class"),
        *(f"p_{name}" for name in names),
        *(f"calibrated_{name}" for name in names),
        *("distance", "quantile", "nearest", "unlike", "learned"),
    ]
    files.write_csv(out / PREDICTIONS, header, rows)
    files.write_json(out / "predictions.json", results)
    (out / SKIPPED).unlink(missing_ok=True)
    if found.bad:
        files.write_csv(out / SKIPPED, ["path", "reason"], map(list, found.bad))
    return results | {"rows": [dict(zip(header, row, strict=True)) for row in rows]}


def _limits(far: Distances) -> dict:
    return {
        "limit": far.limit,
        "quantile": QUANTILE,
        "images": int(far.unlike.sum()),
        "learned": sum(map(bool, far.known)),
    }


def _rows(names, path, p, calibrated, far: Distances | None):
    for i, one in enumerate(path):
        sure = [""] * len(names) if calibrated is None else map(float, calibrated[i])
        tail = ["", "", "", NOT_KNOWN, NOT_KNOWN]
        if far is not None:
            unlike = ""
            if far.unlike[i]:
                unlike = (
                    f"unlike the training images: further than {far.limit:.4f}, which "
                    f"{QUANTILE:.0%} of them keep to each other"
                )
            place = [round(float(far.distance[i]), 5), round(float(far.quantile[i]), 4)]
            tail = [*place, far.nearest[i], unlike, far.known[i]]
        yield [one, names[int(p[i].argmax())], *map(float, p[i]), *sure, *tail]


def _temperature(run: Run, learned: Taught | None, out: Path, how: str, log, directory, why: str):
    """What is known of the classifier's temperature, or None."""
    if how == "off":
        log.line("calibration: off; probabilities are as the classifier gives them")
        return None
    home = calibration.home_of(run, out)
    fitted = calibration.kept(home, run.seed, how)
    if fitted is None and learned is not None:
        try:
            fitted = calibration.calibrate(run, learned, home, how, log, directory.stop)
        except (DataError, DivergedError) as error:
            why = str(error)
    if fitted is None:
        log.line(f"calibration: none, probabilities are as the classifier gives them: {why}")
        return None
    for text in calibration.lines(fitted):
        log.line(text)
    return fitted


def _explain(run: Run, found: Pictures, results: dict, directory: Workdir, log: Log) -> None:
    """A picture of every image's maps, and a sheet of the first of them."""
    folder = directory.path / "explain"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    guess = [run.class_names.index(row["class"]) for row in results["rows"]]
    count, shown_rows = len(guess), []
    log.line(f"explain {count} images, each covered in about 200 places: a second or so an image")
    for i, k in enumerate(guess):
        maps = run.explain(found.image[i : i + 1], [k])
        row = results["rows"][i]
        own = Path(found.path[i])
        name = own.stem if own.suffix.lower() in IMAGES else own.name
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:60]
        called = row["class"]
        text = f"{called}, p {row[f'p_{called}']:.3f}"
        one = report.Explained(found.path[i], text, found.image[i, ..., 0], maps)
        report.explained_figure(folder / f"{i + 1:04d}_{name}.png", one)
        if i < _ROWS:
            shown_rows.append(one)
        log.progress(f"explain {i + 1}/{count}", report=False, last=i + 1 == count)
        directory.stop.check(f"explain: {i + 1} of {count} images")
    report.explained_sheet(folder / "sheet.png", shown_rows)
    results["explained"] = str(folder / "sheet.png")
