"""A run's classifier and generator as a folder that runs without jaxbrain: programs, arrays, a
loader, cards with what was measured."""

import contextlib
import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jaxbrain.baselines.texture import need
from jaxbrain.data import decode, phantom, preprocess
from jaxbrain.data.external import PREFIX
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.reports import cards
from jaxbrain.runs import compare, environment, files
from jaxbrain.runs.loaded import Run, load_run
from jaxbrain.runs.paper import classifier_name
from jaxbrain.runs.workdir import CONFIG, IMAGES, differences
from jaxbrain.scoring import compare as scoring
from jaxbrain.scoring import scores
from jaxbrain.study import exported
from jaxbrain.study.names import NONE
from jaxbrain.types import Dataset

SUMS = "SHA256SUMS"
_LOADER = Path(__file__).with_name("loader.py")
_PICTURES = """
try:
    from PIL import Image, ImageOps
    from scipy import ndimage
except ImportError:  # Arrays need neither.
    Image = None"""
# Images of each class that are drawn to compare what was exported with the run's own.
_CHECKED = 2
# Settings that change no number of a classifier on given images.
_FREE = {"data.placement", "intervals"}


def export(
    run: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    evaluated: str | Path | None = None,
    fresh: bool = False,
    say=print,
) -> Path:
    """Write what a run has trained into a folder of its own, whole or not at all.

    The same run gives the same bytes with the same versions of jax and of its libraries.

    Args:
        run: finished, of paper or train_gan.
        out: new or empty.
        seed: whose networks.
        evaluated: a finished ladder, table4, ablations or search on the same images, whose
            accuracies under P3 and P4 the card names too.
        fresh: keep what is in `out` under another name.
        say: called with lines of text.

    Returns:
        `out`.

    Raises:
        ConfigError: if `out` holds files, an extra is missing, or `evaluated` says nothing of
            this classifier.
        DataError, CheckpointError: see `load_run`, `compare.studies`; if `evaluated` is of other
            images.
    """
    out = Path(out).absolute()
    save = need("safetensors.numpy", "export").save
    need("flatbuffers", "export")
    if out.is_dir() and any(out.iterdir()) and not fresh:
        raise ConfigError(
            f"out {out}: there is something in it: name a new folder, or --fresh to keep it under "
            "another name"
        )
    found = load_run(run, seed, say=say)
    about = described(found, evaluated)
    content = {
        "generator.jaxexport": exported.generator_program(found.cfg, found.generator),
        "generator.safetensors": save(exported.generator_arrays(found.generator)),
    }
    if found.classifier is not None:
        program = exported.classifier_program(found.network, found.classifier)
        content["classifier.jaxexport"] = program
        content["classifier.safetensors"] = save(exported.classifier_arrays(found.classifier))
    about["check"] = _checked(found, content, say)
    content |= _texts(found, about, sorted(content))
    with _whole(out, fresh) as folder:
        for name, text in sorted(content.items()):
            (folder / name).write_bytes(text)
        sums = [f"{_sha256(text)}  {name}\n" for name, text in sorted(content.items())]
        (folder / SUMS).write_text("".join(sums), encoding="utf-8")
    say(f"wrote  {out}: {', '.join(sorted([*content, SUMS]))}")
    return out


def _checked(run: Run, content: dict[str, bytes], say) -> list[str]:
    """How far the programs are from the run's own networks, on a few images that they draw."""

    def program(name: str):
        return jax.jit(jax.export.deserialize(bytearray(content[f"{name}.jaxexport"])).call)

    label = np.repeat(np.arange(len(run.class_names), dtype=np.int32), _CHECKED)
    drawn = np.asarray(program("generator")(label, np.uint32([0, 0])))
    other = int((drawn != run.sample(label, 0)).sum())
    lines = [
        f"Of {drawn.size} pixels that the exported generator drew, {other} differ from the run's "
        "own."
    ]
    if run.classifier is not None:
        data = Dataset(drawn, label, label)
        image = preprocess.resized(data, exported.read_size(run.cfg)).image
        mine = np.asarray(program("classifier")(image))
        gap = np.abs(mine - run.probabilities(run.classifier, run.as_seen(image))).max()
        lines.append(
            f"On these {len(drawn)} images the exported classifier's probabilities differ from the "
            f"run's own by at most {gap:.0e}."
        )
    for line in lines:
        say(f"check  {line}")
    return lines


def described(run: Run, evaluated: str | Path | None = None) -> dict:
    """What the cards and `metadata.json` say of a run.

    classes, positive, kind, seed; parts: {name: parameters}; image_size: that images are read
    at; reading: how; data: counts of the training images; cells: what was measured, as
    `scores.cells` has it, each with `of`; differences: of settings of the evaluated run; gan:
    lines; platforms, versions.
    """
    size, data = exported.read_size(run.cfg), run.cfg.data
    crop = "none" if run.source == phantom.ROOT else data.crop
    arrays = {"generator": exported.generator_arrays(run.generator)}
    if run.classifier is not None:
        arrays = {"classifier": exported.classifier_arrays(run.classifier)} | arrays
    results = compare.read_object(run.path / "results.json")
    about = {
        "classes": list(run.class_names),
        "positive": run.positive,
        "kind": run.kind,
        "seed": run.seed,
        "parts": {name: sum(map(np.size, own.values())) for name, own in arrays.items()},
        "image_size": size,
        "reading": {"crop": crop, "square": data.square},
        "data": _data(run, results),
        "cells": [],
        "differences": [],
        "gan": _gan(run, results),
        "platforms": list(exported.PLATFORMS),
        "versions": {
            "jax": jax.__version__,
            "jaxbrain": environment.version(),
            "commit": environment.commit(),
        },
    }
    if run.classifier is not None:
        (own,) = compare.studies(run.path)
        cells, _ = scores.cells(own.own.answers)
        about["cells"] = [cell | {"of": "this run"} for cell in cells if cell["labels"] == "true"]
        if evaluated is not None:
            others, about["differences"] = _evaluated(run, own, Path(evaluated))
            about["cells"] += others
    elif evaluated is not None:
        raise ConfigError(f"evaluated {evaluated}: expected with a run of paper: {run.path} is not")
    return about


def _data(run: Run, results: dict) -> dict:
    rows = [row for row in files.read_csv(run.path / IMAGES) if not row["id"].startswith(PREFIX)]
    return {
        "phantoms": results["data"]["source"] == "phantoms",
        "images": dict(Counter(row["class"] for row in rows)),
        "distinct": len({row["sha256"] for row in rows}),
        "groups": len({row["group"] for row in rows}),
        "used": [_used(run, results["data"])],
    }


def _used(run: Run, data: dict) -> str:
    """Which of the images trained, as a sentence."""
    if run.kind == "paper":
        counts = ", ".join(f"{count} {name}" for name, count in data["used"].items())
        share = 100 * run.cfg.data.test_fraction
        return (
            f"Of these, {counts} were pooled with synthetic images in each seed, and {share:.0f} % "
            "of the pool was held back to test."
        )
    counts = ", ".join(f"{count} {name}" for name, count in data["training"]["images"].items())
    return f"Of these, {counts} trained, and the others were held out."


def _gan(run: Run, results: dict) -> list[str]:
    """What was measured of the generator while it was trained."""
    own = next(one["gan"] for one in results["seeds"] if one["seed"] == run.seed)
    if not own["last"]:
        return []
    last = own["last"]
    lines = [
        f"Generator, at step {last['step']}: Frechet distance of 8 x 8 thumbnails to the training "
        f"images {last['frechet_thumbnail']:.3f}; spread of samples {last['sample_spread']:.3f}, "
        f"of real images {own['real_spread']:.3f}."
    ]
    return lines + [f"Seen while it was trained: {text}." for text in own["warnings"]]


def _evaluated(run: Run, own: compare.Finished, path: Path) -> tuple[list[dict], list[str]]:
    """The cells of the run's classifier under P3 and P4 in another run of the same images, and
    in which settings that run differs, a line each."""
    name, cells, lines = classifier_name(run.cfg), [], []
    why = ""
    for study in compare.studies(path):
        if why := scoring.other_images(own.own, study.own, external=False):
            continue
        answers = {
            key: one
            for key, one in study.own.answers.items()
            if key[0] in ("P3", "P4") and key[2:] == (name, "true")
        }
        if not answers:
            continue
        found, _ = scores.cells(answers)
        cells += [cell | {"of": f"another run ({study.about['kind']})"} for cell in found]
        saved = compare.read_object(study.path / CONFIG)["config"]
        lines += [
            f"{where} {there!r} there, {here!r} here"
            for where, here, there in _settings(run, saved)
            # No generator had a part in it.
            if not where.startswith("gan.") or any(key[1] != NONE for key in answers)
        ]
    if not cells and why:
        raise DataError(f"evaluated {path}: {why}: expected a run on the images of {run.path}")
    if not cells:
        raise ConfigError(
            f"evaluated {path}: has no answers of {name} under P3 or P4: expected a run with "
            f"--classifiers {name}"
        )
    return cells, list(dict.fromkeys(lines))


def _settings(run: Run, saved: dict) -> Iterator[tuple[str, object, object]]:
    own = files.settings(run.cfg)
    for where, here, there in differences(own, saved, ""):
        name = where.strip(".")
        if name not in _FREE:
            yield name, here, there


def _texts(run: Run, about: dict, programs: list[str]) -> dict[str, bytes]:
    """Everything that is not a network."""
    about = about | {"files": [*programs, *_NAMES, SUMS]}
    kept = "classes positive kind seed parts image_size reading platforms versions".split()
    metadata = {name: about[name] for name in kept}
    metadata["generator_size"] = run.cfg.gan.image_size
    metadata["notice"] = "for research, not a medical device; synthetic images are not anonymous"
    texts = (
        json.dumps(files.settings(run.cfg), indent=2) + "\n",
        json.dumps(metadata, indent=2) + "\n",
        loader_text(),
        cards.model_card(about),
        cards.data_card(about),
    )
    encoded = [text.encode("utf-8", "backslashreplace") for text in texts]
    return dict(zip(_NAMES, encoded, strict=True))


_NAMES = "config.json", "metadata.json", "load.py", "README.md", "DATA_CARD.md"


def loader_text() -> str:
    """`loader.py` by itself: what it imports from this library stands in it. Without Pillow, or
    SciPy, it still takes arrays."""
    parts = [
        'class DataError(ValueError):\n    """A file or an array that cannot be used."""',
        f"MIN_SIDE, MAX_ASPECT = {decode.MIN_SIDE}, {decode.MAX_ASPECT}\n"
        f"FORMATS = {decode.FORMATS!r}".replace("'", '"'),
        *map(inspect.getsource, (decode.percentiles, decode.refuse_shape, decode.grey)),
        *map(inspect.getsource, (preprocess.head, preprocess.head_box, preprocess.prepare)),
    ]
    lines = _LOADER.read_text(encoding="utf-8").splitlines()
    own = [i for i, line in enumerate(lines) if line.startswith("from jaxbrain.")]
    # A blank line stands between other libraries and this one.
    before, after = lines[: own[0] - 1], lines[own[-1] + 1 :]
    pictures = before.index("from PIL import Image, ImageOps")
    before[pictures:] = _PICTURES.splitlines()
    start = before.index("import contextlib")
    before.insert(start, "from __future__ import annotations\n")
    copied = "\n\n\n".join(part.rstrip() for part in parts)
    return "\n".join([*before, "", "", copied, "", *after]) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _whole(out: Path, fresh: bool) -> Iterator[Path]:
    """A folder to write into, that takes its name when all is written."""
    around = ""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        around = tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent)
        # That folder is its maker's alone; one in it is as others are.
        temporary = Path(around) / out.name
        temporary.mkdir()
        yield temporary
        if out.is_dir() and any(out.iterdir()) and fresh:
            number = 1
            while (kept := out.with_name(f"{out.name}_old{number}")).exists():
                number += 1
            out.rename(kept)
        os.replace(temporary, out)
    except OSError as error:
        raise ConfigError(f"out {out}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(around, ignore_errors=True)
