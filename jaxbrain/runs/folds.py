"""The fits of a study as folders: what a generator of any kind is given, and what is wanted of
it. `ladder` judges what somebody's generator draws as it judges its own: "folder:DIR"."""

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxbrain.config import Config
from jaxbrain.data import filled
from jaxbrain.data.external import External
from jaxbrain.data.layout import shown
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.runs import files
from jaxbrain.runs.study import planned
from jaxbrain.study import folders
from jaxbrain.study.cells import Fit
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.types import Dataset

# Which images a fit sees is the same for every generator, so one of ours stands in; a
# classifier has no part in it.
_GENERATOR, _CLASSIFIER = "linear", "majority"
_README = """\
One training set of a study of jaxbrain, and what is wanted of a generator.

training/<class>/   the images to train on: nothing else may be used, neither images of other
                    folders nor images of the same set from elsewhere.
wanted.json         the classes, how many synthetic images of each are wanted, their side.
synthetic/<class>/  put the synthetic images here, one file each (PNG or any other image, of
                    any size: they are resized). More than wanted is allowed: the first by name
                    are taken.

Train anew in every folder. Folders that stay empty are left out. When done:
    jaxbrain ladder [the flags that these folders were written with] --generators folder:DIR none
where DIR is the folder around this one.
"""


class _Folder(NamedTuple):
    """Fits that see the same images with the same labels; wanted: [K], images of each class."""

    fits: list[Fit]
    digest: str
    wanted: np.ndarray


def folds(
    cfg: Config,
    data: Dataset,
    records: Records,
    out: str | Path,
    *,
    options: StudyConfig,
    doses: tuple[int, ...] = (),
    filtered: bool = False,
    external: External | None = None,
    say=print,
) -> list[Path]:
    """Write a folder for each fit of a study; fits that see the same are one.

    Args:
        cfg, data, records, options, external: as `ladder` takes them. Of the options `split`,
            `seeds`, `folds`, `protocols` and `shuffled` count.
        out: a new or empty folder.
        doses: synthetic images of each class that are wanted beside the protocols' own number.
        filtered: as many again are wanted, for folder:DIR@filtered.
        say: called with lines of text.

    Returns:
        The folders, each with `training/<class>/*.png`, an empty `synthetic/<class>/`,
        `wanted.json` and `README.txt`.

    Raises:
        ConfigError: if there is something in `out`, or it cannot be written.
        DataError: if the images cannot be split.
    """
    out = Path(out)
    names = _GENERATOR, *(f"{_GENERATOR}@{dose}" for dose in doses)
    names += (f"{_GENERATOR}@filtered",) * filtered
    which = {"generators": names, "classifiers": (_CLASSIFIER,), "external": external}
    study, _ = planned(cfg, data, records, options=options, **which)
    image, labels = study.shared.views.images, records.class_names
    found = _merged(study.fits, image, len(labels))
    about = {
        "side": int(image.shape[1]),
        "settings": folders.settings(cfg, options),
    }
    encoded = [_png(one) for one in image]
    try:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"out {shown(out)}: there is something in it: expected a new folder")
        written = [_write(out, one, about, encoded, image, records) for one in found]
    except OSError as error:
        raise ConfigError(f"out {shown(out)}: cannot be written: {error.strerror}") from error
    total = sum(int(one.wanted.sum()) for one in found)
    say(f"wrote  {len(written)} folders for {len(study.fits)} fits to {shown(out)}")
    say(f"wanted {total} synthetic images in all; README.txt in each folder says what to do")
    return written


def _merged(fits: list[Fit], image: np.ndarray, num_classes: int) -> list[_Folder]:
    found: dict[str, _Folder] = {}
    for fit in fits:
        digest = filled.digest(image[fit.index], fit.label[fit.index])
        wanted = np.bincount(fit.drawn, minlength=num_classes) * (1 + fit.spare)
        known = found.setdefault(digest, _Folder([], digest, wanted))
        known.fits.append(fit)
        found[digest] = known._replace(wanted=np.maximum(known.wanted, wanted))
    return list(found.values())


def _png(image: np.ndarray) -> bytes:
    """[S, S, 1] uint8 as a grey PNG, which loses nothing."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0]).save(stream, "PNG")
    return stream.getvalue()


def folder_names(names: tuple[str, ...]) -> list[str]:
    """Of the classes: their names where all of them can be names of different folders on
    every system, else class0, class1, ...

    Example:
        >>> folder_names(("no", "yes")), folder_names(("a/b", "yes"))
        (['no', 'yes'], ['class0', 'yes'])
    """
    found = [files.file_name(name, k) for k, name in enumerate(names)]
    plain = [name == name.strip() for name in found]
    if all(plain) and len({name.casefold() for name in found}) == len(found):
        return found
    return [f"class{k}" for k in range(len(names))]


def image_name(index: int, path: str) -> str:
    """Of the training image of a row of `images.csv`, of its path in the data.

    Example:
        >>> image_name(7, "yes/Y 1.JPG"), image_name(12, "no/volume.nii.gz#z042")
        ('0007_Y 1.png', '0012_volume.nii.gz_z042.png')
    """
    name = re.sub(r"\.(jpe?g|png|bmp|tiff?|gif|webp|dcm|mat)$", "", path.split("/")[-1], flags=re.I)
    readable = re.sub(r"[^\w. ()-]", "_", name, flags=re.ASCII)[:60].strip()
    return f"{index:04d}_{readable}.png"


def _write(out: Path, one: _Folder, about: dict, encoded, image, records: Records) -> Path:
    first, names = one.fits[0], records.class_names
    path = out / f"{first.scope}_{first.labels}_seed{first.seed}_fold{first.fold}"
    own = folder_names(names)
    for part in (filled.TRAINING, filled.SYNTHETIC):
        for name in own:
            (path / part / name).mkdir(parents=True)
    sha256, rows = filled.pixels(image[first.index]), []
    for index, digest in zip(first.index.tolist(), sha256, strict=True):
        file = f"{own[first.label[index]]}/{image_name(index, records.path[index])}"
        (path / filled.TRAINING / file).write_bytes(encoded[index])
        rows.append({"file": file, "id": files.cell(records.path[index]), "sha256": digest})
    (path / "README.txt").write_text(_README, encoding="utf-8")
    trained = np.bincount(first.label[first.index], minlength=len(names))
    columns = zip(names, own, one.wanted.tolist(), trained.tolist(), strict=True)
    classes = [
        {"name": name, "folder": folder, "wanted": wanted, "training": count}
        for name, folder, wanted, count in columns
    ]
    wanted = {
        "fits": [folders.fit_name(fit) for fit in one.fits],
        "classes": classes,
        "training_sha256": one.digest,
    }
    # Last: a folder without it is none.
    files.write_json(path / filled.WANTED, wanted | about | {"training": rows})
    return path
