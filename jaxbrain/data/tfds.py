"""TensorFlow Datasets without TensorFlow (the extra `tfds`): a builder over a local folder,
and a reader of any prepared data set with an image and a label.

    from jaxbrain.data import tfds
    tfds.prepare("path/to/brain_tumor_dataset", data_dir="prepared")
    # TFDS_DATA_DIR=prepared python -m experiments.paper --data tfds:brain_mri

Only the format array_record, read through `as_data_source`, does without TensorFlow.
Nothing is ever downloaded. `tfds.BrainMri` is the builder.
"""

import functools
import hashlib
import io
import logging
import os
import re
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from jaxbrain.data import archive
from jaxbrain.data.classes import canonical, natural, order, text_of
from jaxbrain.data.collect import Collection, Options
from jaxbrain.data.decode import LeftOutError, Slices, grey, refuse_shape
from jaxbrain.data.folder import assemble, listed, load_folder, read_file, refuse_empty
from jaxbrain.data.layout import SPLITS, find
from jaxbrain.data.records import Records
from jaxbrain.errors import DataError
from jaxbrain.types import Dataset

PREFIX = "tfds:"
_LOG = logging.getLogger(__name__)


def _tfds():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"TensorFlow Datasets is needed and missing ({error}): pip install 'jaxbrain[tfds]'"
        ) from None
    return tensorflow_datasets


def _png(image: np.ndarray) -> io.BytesIO:
    """[H, W] float32 in [0, 1] as a file: of arrays TFDS makes one with TensorFlow."""
    memory = io.BytesIO()
    Image.fromarray(np.round(image * 255.0).astype(np.uint8)).save(memory, "PNG")
    memory.seek(0)
    return memory


@functools.cache
def _builder():
    tfds = _tfds()

    class BrainMri(tfds.core.GeneratorBasedBuilder):
        """A folder of labelled images, or an archive of one, as `load_folder` reads it:
        examples of image [H, W, 1] uint8 (whole files, grey), label, path and patient (-1 if
        unknown). `manual_dir` is the folder, or holds one archive."""

        VERSION = tfds.core.Version("1.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir: the folder of labelled images"

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(),
                "path": tfds.features.Text(),
                "patient": np.int32,
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description=self.__doc__,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            source = Path(dl_manager.manual_dir)
            inside = [path for path in source.iterdir() if not path.name.startswith(".")]
            if len(inside) == 1 and archive.is_archive(inside[0]):
                source = inside[0]
            # All that is wrong is said before the first example; sizes do not matter here.
            _, records = load_folder(source, image_size=8)
            self.info.features["label"].names = list(records.class_names)
            names = sorted({split or "train" for split in records.split})
            return {name: self._generate_examples(source, records, name) for name in names}

        def _generate_examples(self, source, records, split):
            patient = dict(zip(records.path, records.patient, strict=True))
            with archive.folder(source) as root:
                for label, own, path in find(root).files:
                    if (own or "train") != split:
                        continue
                    relative = text_of(path.relative_to(root).as_posix())
                    try:
                        found = read_file(path, root, Options())
                    except LeftOutError:
                        continue
                    for image, part in zip(found.image, found.name, strict=True):
                        key = relative + part
                        # What `load_folder` left out is left out.
                        if key in patient:
                            about = {"label": label or found.label, "patient": patient[key]}
                            yield key, about | {"image": _png(image), "path": key}

    return BrainMri


def __getattr__(name: str):
    if name == "BrainMri":
        return _builder()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def prepare(source: str | Path, data_dir: str | Path) -> Path:
    """Write a folder or archive of images as a TFDS data set, `brain_mri`: the images that
    `load_folder` reads (`experiments.inspect` names what it leaves out).

    Returns:
        The directory of the data set, under `data_dir`.

    Raises:
        DataError: as `load_folder`, without the extra, and where a data set of other images
            is there.
    """
    tfds, source = _tfds(), Path(source)
    _, records = load_folder(source, image_size=8)
    builder = _builder()(data_dir=str(data_dir), file_format="array_record")
    made_of = hashlib.sha256(repr([records.path, records.digest]).encode()).hexdigest()
    place = Path(builder.data_dir)
    mark = place / "made_of.sha256"
    if not place.exists():
        with archive.folder(source) as root:
            config = tfds.download.DownloadConfig(manual_dir=root)
            builder.download_and_prepare(download_config=config)
        mark.write_text(made_of)
    # TFDS keeps what is there, whatever it was made of.
    elif not mark.is_file() or mark.read_text() != made_of:
        raise DataError(f"{place}: was made of other images: remove it, or name another data_dir")
    return place


def load(name: str, *, threshold: float | None = None, **options) -> tuple[Dataset, Records]:
    """Read a data set that TFDS has prepared.

    Args:
        name: "tfds:NAME" or "tfds:NAME:SPLIT" (slices such as train[:50%] too); NAME may
            hold a config and a version. It is looked for in TFDS_DATA_DIR, or
            ~/tensorflow_datasets. Without SPLIT all splits are read.
        threshold: of near-duplicates, which get one group; None gives every image its own.
        options: fields of `Options`; there are neither frames nor volumes.

    Raises:
        DataError: without the extra, for a data set that is not there, is not in the format
            array_record, or has not exactly one image and one label.
    """
    found = re.fullmatch(r"([^:]+(?::[\d.*]+)?)(?::([A-Za-z].*))?", name.removeprefix(PREFIX))
    if not found:
        raise DataError(f"{name}: expected tfds:NAME or tfds:NAME:SPLIT")
    wanted, split = found.groups()
    builder = _prepared(name, wanted)
    features = dict(builder.info.features.items())
    image_name = _one(name, features, _tfds().features.Image, "image")
    label_name = _one(name, features, _tfds().features.ClassLabel, "label")
    given = features[label_name].names
    names = order({canonical(one) for one in given}, options.get("positive", ""))
    collected = Collection(Options(**options), names)
    all_splits = list(builder.info.splits)
    _LOG.info("data   reads %s", builder.info.full_name)
    for part in [split] if split else all_splits:
        official = "" if split or len(all_splits) == 1 else SPLITS.get(part.lower(), part)
        for path, example in _examples(name, builder, part):
            number = len(collected.files)
            # How many there will be is not known here.
            _LOG.info("data   has read %d images", number, extra={"of": (number, number + 1)})
            with collected.reading(path):
                number = int(example[label_name])
                if not 0 <= number < len(given):
                    raise DataError(f"label {number}: expected 0 to {len(given) - 1}")
                read = _slices(example, image_name, collected.options.use_patients)
                label = names.index(canonical(given[number]))
                collected.add(path, path, read, label, official, read.image[0].size)
    collected.files.sort(key=_place)
    result = collected.finish([], f"TFDS {builder.info.full_name}")
    if collected.bad or not result:
        count = len(collected.bad)
        raise DataError(f"{name}: {count} images cannot be used\n{listed(collected.bad)}")
    refuse_empty(name, result[0]["label"], names)
    return assemble(name, *result, threshold)


def _prepared(name: str, wanted: str):
    """The builder of a data set that is there."""
    read = _tfds().core.read_only_builder.builder_from_files
    try:
        # TFDS reads the variable once, when it is imported.
        return read(wanted, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except Exception as error:  # TFDS raises many types.
        raise DataError(
            f"{name}: not prepared: expected it in TFDS_DATA_DIR or ~/tensorflow_datasets; "
            f"jaxbrain.data.tfds.prepare makes one of a folder ({type(error).__name__})"
        ) from error


def _place(one) -> tuple:
    """TFDS shuffles by hash: back to the order of `load_folder`."""
    rank = {"train": 0, "val": 1, "test": 2}.get(one.split, 3)
    return one.label, rank, natural(PurePosixPath(one.relative)), one.relative


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _examples(name: str, builder, part: str):
    """(path, example) of every example of a split."""
    try:
        source = builder.as_data_source(split=part)
        count = len(source)
    except Exception as error:
        raise DataError(
            f"{name}: split {part!r} cannot be read: {_first_line(error)}: expected the "
            f"format array_record, and of the splits {', '.join(builder.info.splits)}"
        ) from error
    for i in range(count):
        try:
            example = source[i]
        except Exception as error:  # The reader raises many types on damaged files.
            found = f"example {i} of {part} is damaged: {_first_line(error)}"
            raise DataError(f"{name}: {found}") from error
        path = example.get("path", example.get("filename", f"{part}/{i:06d}"))
        path = path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path)
        yield path, example


def _slices(example: dict, image_name: str, use_patient: bool) -> Slices:
    """The picture of one example, [H, W, C] uint8 or uint16, and whose it is where the data
    set says so."""
    pixels = np.asarray(example[image_name])
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    try:
        image = Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        raise DataError(f"{pixels.dtype} pixels of shape {pixels.shape}: no rule") from error
    refuse_shape(*image.size)
    whose = _patient(example["patient"]) if use_patient and "patient" in example else ()
    return Slices([grey(image)], [""], image.mode, *whose)


def _patient(given) -> tuple:
    """(whose an image is, who says so) of a data set's feature: a number from 0, or text."""
    patient = given.decode(errors="replace") if isinstance(given, bytes) else str(given)
    missing = not patient or re.fullmatch(r"-\d+", patient)
    return () if missing else (patient, "data set")


def _one(name: str, features: dict, kind: type, what: str) -> str:
    found = [key for key, value in features.items() if isinstance(value, kind)]
    if what in found:
        return what
    if len(found) != 1:
        raise DataError(f"{name}: {len(found)} features of type {kind.__name__}: expected one")
    return found[0]
