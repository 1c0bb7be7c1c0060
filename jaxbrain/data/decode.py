"""One image file to grey levels, or a reason why not.

Pillow's bare `convert("L")` clips 16-bit images to white and float images to black, so
each pixel mode has its own row here.
"""

import getpass
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxbrain.errors import DataError

MIN_SIDE = 16
MAX_ASPECT = 4
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF")


class Slices(NamedTuple):
    """What a file holds.

    image: [H, W] float32 in [0, 1] each. name: of each within the file, "" for a single
    one. mode: Pillow's, or "DICOM", "NIfTI", "MAT". patient: whose they all are, or ""
    (never stored). label: of Cheng's files, or None. note: what a user should know, or "".
    """

    image: list[np.ndarray]
    name: list[str]
    mode: str
    patient: str = ""
    label: str | None = None
    note: str = ""


def percentiles(values: np.ndarray) -> np.ndarray:
    """Percentiles 0.5 and 99.5 to 0 and 1, clipped, as float32: images of more than 8 bits
    rarely use their whole range."""
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinite pixels")
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0).astype(np.float32)


def refuse_shape(width: int, height: int) -> None:
    """Refuse sides under `MIN_SIDE`, and strips longer than `MAX_ASPECT` times their width."""
    if min(width, height) < MIN_SIDE:
        raise DataError(f"{width}x{height} pixels, less than {MIN_SIDE} a side")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(f"{width}x{height} pixels, longer than {MAX_ASPECT} to 1")


def grey(image: Image.Image) -> np.ndarray:
    """A picture as [H, W] float32 in [0, 1], each pixel mode by its own rule.

    Raises:
        DataError: for a mode without a rule (such as CMYK), and NaN.
    """
    mode = image.mode
    if mode == "1" or mode == "L":
        return np.asarray(image.convert("L"), np.float32) / 255.0
    if mode == "P":
        return grey(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    if mode == "RGB":
        return np.asarray(image.convert("L"), np.float32) / 255.0
    if mode in ("LA", "RGBA", "PA"):
        # On black: what a transparent pixel hides is not part of the picture.
        pixels = np.asarray(image.convert("RGBA"), np.float32) / 255.0
        opaque = Image.fromarray(
            np.round(pixels[..., :3] * pixels[..., 3:] * 255.0).astype(np.uint8), "RGB"
        )
        return grey(opaque)
    if mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        return percentiles(np.asarray(image, np.float64))
    raise DataError(f"pixel mode {mode} is not supported: save it as grey or RGB")


def _reason_not_an_image(content: bytes) -> str:
    if not content:
        return "empty file (0 bytes)"
    if content.startswith(b"version https://git-lfs"):
        return "git-LFS pointer, not an image: run `git lfs pull`"
    if content.lstrip()[:15].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not an image"
    return "not an image that can be read (JPEG, PNG, BMP, TIFF, GIF)"


def pictures(content: bytes, frames: str = "error") -> Slices:
    """The pictures of an image file, by its content, whatever its name says.

    8-bit images map 0..255 to [0, 1]; deeper and float ones are rescaled by percentiles;
    palettes and colours become luminance; transparency is composed on black.

    Args:
        content: of the file.
        frames: of an animation or a file of several pages "error" takes none, "first" the
            first and "all" every one, as images that belong together.

    Raises:
        DataError: with the reason alone (the caller adds the path): not an image, damaged,
            several frames, a pixel mode without a rule, sides under `MIN_SIDE`, longer than
            `MAX_ASPECT` to 1, or more than `MAX_PIXELS` pixels (refused from the header).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow's own limit is larger than ours, which is checked from the header.
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            mode = image.mode
            if width * height > MAX_PIXELS:
                raise DataError(f"{width}x{height}, more than {MAX_PIXELS} pixels")
            refuse_shape(width, height)
            count = getattr(image, "n_frames", 1)
            if count == 1:
                image.load()
                return Slices([grey(image)], [""], mode)
            if frames == "error":
                raise DataError(
                    f"{count} frames: expected a single picture (data.frames takes more)"
                )
            if frames == "first":
                count = 1
            if width * height * count > MAX_PIXELS:
                raise DataError(f"{count} frames of {width}x{height}, more than {MAX_PIXELS}")
            images = []
            for i in range(count):
                image.seek(i)
                image.load()
                if image.size != (width, height):
                    raise DataError(f"frame {i} is {image.size}: expected {(width, height)}")
                images.append(grey(image))
            return Slices(images, [f"#{i}" for i in range(count)], mode)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {MAX_PIXELS} pixels: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(_reason_not_an_image(content)) from error
    except Exception as error:  # Pillow's decoders raise almost anything on bad bytes.
        raise DataError(f"damaged image: {error}") from error


def decode(path: Path) -> tuple[np.ndarray, str]:
    """Read one image file of a single picture: see `pictures`.

    Returns:
        The grey image [H, W] float32 in [0, 1], and Pillow's name of its pixel mode.

    Raises:
        DataError: as `pictures`, and for a file that cannot be read.
    """
    found = pictures(read_bytes(path))
    return found.image[0], found.mode


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: with the reason alone.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        who = f" (user {getpass.getuser()})" if isinstance(error, PermissionError) else ""
        raise DataError(f"cannot be read: {error.strerror}{who}") from error
