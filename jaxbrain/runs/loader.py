"""Runs an exported classifier and generator, with nothing but jax, flatbuffers and numpy.

Pictures are read with Pillow. In the folder of the export:

    python load.py IMAGE...          a line an image: the probability of each class

or from Python, that folder on the path:

    import load
    load.classify(["scan.png"])      # or [N, S, S, 1] uint8; -> [N, K] float32
    load.draw("yes", seed=3)         # or numbers of classes, one or many; -> [N, S, S, 1] uint8

For research, not a medical device. What is drawn may copy training images: it is not anonymous.
"""

import contextlib
import csv
import functools
import hashlib
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
from jax import export
from PIL import Image, ImageOps

from jaxbrain.data.decode import FORMATS, grey, refuse_shape
from jaxbrain.data.preprocess import prepare
from jaxbrain.errors import DataError

HERE = Path(__file__).resolve().parent
# Images at a time, so that memory does not grow with them.
_BLOCK = 64


@functools.cache
def about() -> dict:
    """What metadata.json holds: the classes in the order of their numbers, sizes, how images
    are read."""
    return json.loads((HERE / "metadata.json").read_text(encoding="utf-8"))


@functools.cache
def program(name: str):
    """A function of an artefact, "classifier" or "generator".

    Raises:
        ImportError: without flatbuffers.
        DataError: if the export has no such artefact, or it is not as it was written.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError("flatbuffers is needed to read the artefacts: pip install flatbuffers")
    path = HERE / f"{name}.jaxexport"
    if not path.is_file():
        raise DataError(f"{path}: this export has no {name}")
    content = path.read_bytes()
    listed = (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in listed:
        raise DataError(f"{path}: not what SHA256SUMS says: copy the export again")
    return jax.jit(export.deserialize(bytearray(content)).call)


def classify(images) -> np.ndarray:
    """Probabilities of each class, [N, K] float32, in the order of `about()["classes"]`.

    images: a path or a list of paths, or an array [N, S, S] or [N, S, S, 1] uint8, S as
        `about()["image_size"]` says.

    Raises:
        DataError: for files and arrays that cannot be used.
    """
    images = [images] if isinstance(images, str | Path) else images
    if isinstance(images, list | tuple) and all(isinstance(one, str | Path) for one in images):
        images = np.stack([read(one) for one in images]) if images else []
    image, side = np.asarray(images), about()["image_size"]
    image = image[..., None] if image.ndim == 3 else image
    if image.dtype != np.uint8 or image.shape[1:] != (side, side, 1) or not len(image):
        raise DataError(
            f"images are {image.dtype} {list(image.shape)}: expected uint8 [N, {side}, {side}, 1]"
        )
    blocks = [image[i : i + _BLOCK] for i in range(0, len(image), _BLOCK)]
    return np.concatenate([np.asarray(program("classifier")(block)) for block in blocks])


def draw(label, seed: int = 0) -> np.ndarray:
    """Synthetic images, [N, S, S, 1] uint8. The n-th of a class is the same however many are
    drawn at once.

    label: a class by its name or number, or a list of them. seed: of what is drawn, from 0.
    """
    names = about()["classes"]
    some = [label] if isinstance(label, str) or np.ndim(label) == 0 else label
    wanted = [one.item() if hasattr(one, "item") else one for one in some]
    numbers = [names.index(one) if one in names else one for one in wanted]
    if bad := [n for n in numbers if type(n) is not int or not 0 <= n < len(names)]:
        raise DataError(f"label has {bad[0]!r}: expected 0 to {len(names) - 1}, or one of {names}")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed}: expected a whole number from 0, below 2 ** 32")
    key = np.asarray([0, seed], np.uint32)
    return np.asarray(program("generator")(np.asarray(numbers, np.int32), key))


def read(path) -> np.ndarray:
    """A picture as [S, S, 1] uint8, as the training images were read: grey levels, upright,
    cropped where the run cropped, resized. Files of one picture that Pillow opens.

    Raises:
        ImportError: without Pillow.
        DataError: naming the file, for what cannot be read.
    """
    how = about()
    if Image is None:
        raise ImportError("Pillow is needed to read pictures: pip install pillow scipy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                refuse_shape(*image.size)
                if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                    raise DataError("holds several pictures: expected one")
                if image.format == "TIFF" and image.mode[0] in "IF":
                    raise DataError("is a TIFF of more than 8 bits: save it as PNG")
                # A broken orientation is none.
                with contextlib.suppress(Exception):
                    image = ImageOps.exif_transpose(image)
                levels = grey(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise almost anything on bad bytes.
        raise DataError(f"{path}: cannot be read: {error}") from error
    return prepare(levels, how["image_size"], **how["reading"])


def main() -> None:
    """The probabilities of the images that the command line names, as CSV."""
    paths = sys.argv[1:]
    if not paths or paths[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if paths else 2)
    try:
        found = classify(paths)
    except (DataError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    writer = csv.writer(sys.stdout)
    writer.writerow(["path", "class", *(f"p_{name}" for name in about()["classes"])])
    for path, p in zip(paths, found, strict=True):
        writer.writerow([path, about()["classes"][p.argmax()], *(f"{value:.6f}" for value in p)])
    print("for research, not a medical device", file=sys.stderr)


if __name__ == "__main__":
    main()
