"""One image file to grey levels, or a reason why not.

Pillow's bare `convert("L")` clips 16-bit images to white and float images to black, so
each pixel mode has its own row here.
"""

import io
import stat
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from jaxbrain.data import masks
from jaxbrain.errors import DataError, user

MIN_SIDE = 16
MAX_ASPECT = 4
MAX_PIXELS = 64_000_000
MAX_BYTES = 4 * 10**9
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")


class Slices(NamedTuple):
    """What a file holds.

    image: [H, W] float32 in [0, 1] each. name: of each within the file, "" for a single
    one. mode: Pillow's, or "DICOM", "NIfTI", "MAT". patient: whose they all are, or ""
    (never stored); source: what says so. label: of Cheng's files, or None. note: what may
    be wrong with them, remark: what was done to them, or "". labels: they look like a mask
    or a label map.
    """

    image: list[np.ndarray]
    name: list[str]
    mode: str
    patient: str = ""
    source: str = ""
    label: str | None = None
    note: str = ""
    remark: str = ""
    labels: bool = False


class LeftOutError(DataError):
    """A file that is no picture and was never meant as one, such as a DICOMDIR."""


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
    veiled = mode in ("L", "RGB", "P") and "transparency" in image.info
    if veiled or mode in ("LA", "RGBA", "PA"):
        # On black: what a transparent pixel hides is not part of the picture.
        pixels = np.asarray(image.convert("RGBA"), np.float32) / 255.0
        opaque = np.round(pixels[..., :3] * pixels[..., 3:] * 255.0).astype(np.uint8)
        return grey(Image.fromarray(opaque))
    if mode == "P":
        return grey(image.convert("RGB"))
    if mode in ("1", "L", "RGB"):
        return np.asarray(image.convert("L"), np.float32) / 255.0
    if mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        return percentiles(np.asarray(image, np.float64))
    raise DataError(f"pixel mode {mode} is not supported: save it as grey or RGB")


# The axes that EXIF's numbers 1 to 4 flip, and 5 to 8 of the transpose (EXIF 2.32, 4.6.5).
_FLIPS = (), (1,), (0, 1), (0,)


def _upright(image: Image.Image, grey_levels: np.ndarray) -> tuple[np.ndarray, str]:
    """The picture as its EXIF orientation wants it seen, and a remark on that. Pillow turns
    TIFF itself, and forgets the tag."""
    try:
        number = image.getexif().get(Tag.Orientation, 1)
    except Exception:  # Pillow raises almost anything on bad bytes.
        return grey_levels, "its EXIF cannot be read: taken as it is stored"
    if number not in range(2, 9):
        return grey_levels, ""
    turned = np.flip(grey_levels.T if number > 4 else grey_levels, _FLIPS[(int(number) - 1) % 4])
    return np.ascontiguousarray(turned), "turned as its EXIF orientation says"


def _as_stored(image: Image.Image, content: bytes) -> np.ndarray:
    """`grey` by what the file says besides Pillow's mode."""
    if image.format != "TIFF":
        found = grey(image)
        # Pillow keeps 8 of a colour picture's 16 bits.
        deep = image.format == "PNG" and content[24:25] == b"\x10" and image.mode != "I;16"
        if deep and found.max() < 0.25:
            raise DataError("16-bit colour that uses few of its levels: save it as 16-bit grey")
        return found
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, kind = (np.atleast_1d(tags.get(t, 1))[0] for t in (Tag.BitsPerSample, Tag.SampleFormat))
    if kind == 2 and bits == 8:
        raise DataError("signed 8-bit pixels are not supported: save them unsigned")
    if image.mode == "I" and kind == 1 and bits == 32:
        found = percentiles(np.asarray(image, np.int32).view(np.uint32).astype(np.float64))
    else:
        found = grey(image)
    white_is_zero = tags.get(Tag.PhotometricInterpretation) == 0
    # Pillow turns 8-bit pictures itself.
    return np.float32(1.0) - found if white_is_zero and image.mode[0] in "IF" else found


def _reason_not_an_image(content: bytes) -> str:
    if not content:
        return "empty file (0 bytes)"
    if content.startswith(b"version https://git-lfs"):
        return "git-LFS pointer, not an image: run `git lfs pull`"
    if content.lstrip()[:15].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not an image"
    return "not an image that can be read (JPEG, PNG, BMP, TIFF, GIF, WebP)"


def _without_text(content: bytes) -> bytes:
    """A PNG file without its texts and colour profile."""
    kept, at = [content[:8]], 8
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in (b"iCCP", b"tEXt", b"zTXt", b"iTXt"):
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def pictures(content: bytes, frames: str = "error") -> Slices:
    """The pictures of an image file, by its content, whatever its name says.

    8-bit images map 0..255 to [0, 1]; deeper and float ones are rescaled by percentiles;
    palettes and colours become luminance; transparency is composed on black. They are
    turned as EXIF (or TIFF) orientation says. Of a stereo or burst photograph (MPO) the
    first picture is taken.

    frames: of an animation or a file of several pages "error" takes none, "first" the first
    and "all" every one, as images that belong together.

    Raises:
        DataError: with the reason alone (the caller adds the path): not an image, damaged,
            several frames, a pixel mode without a rule, sides under `MIN_SIDE`, longer than
            `MAX_ASPECT` to 1, or more than `MAX_PIXELS` pixels (refused from the header).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _pictures(content, frames)
            except ValueError as error:
                # Pillow's limits on what stands beside the pixels, which is not looked at.
                if "MAX_TEXT" not in str(error):
                    raise
                return _pictures(_without_text(content), frames)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {MAX_PIXELS} pixels: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(_reason_not_an_image(content)) from error
    except Exception as error:  # Pillow's decoders raise almost anything on bad bytes.
        raise DataError(f"damaged image: {error}") from error


def _pictures(content: bytes, frames: str) -> Slices:
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    size, mode = image.size, image.mode
    width, height = size
    # Pillow's own limit is larger than ours, which is checked from the header.
    if width * height > MAX_PIXELS:
        raise DataError(f"{width}x{height}, more than {MAX_PIXELS} pixels")
    refuse_shape(width, height)
    count = getattr(image, "n_frames", 1)
    several = count > 1 and image.format != "MPO"
    if several and frames == "error":
        raise DataError(f"{count} frames: expected a single picture (data.frames takes more)")
    if not several or frames == "first":
        count = 1
    if width * height * count > MAX_PIXELS:
        raise DataError(f"{count} frames of {width}x{height}, more than {MAX_PIXELS}")
    images, remark = [], ""
    for i in range(count):
        if several:
            image.seek(i)
        image.load()
        if several and image.size != size:
            raise DataError(f"frame {i} is {image.size}: expected {size}")
        found, remark = _upright(image, _as_stored(image, content))
        images.append(found)
    names = [f"#{i}" for i in range(count)] if several else [""]
    constant = all(one.min() == one.max() for one in images)
    labels = not constant and all(map(masks.looks_like_labels, images))
    return Slices(images, names, mode, remark=remark, labels=labels)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: with the reason alone.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DataError("not a plain file")
        if found.st_size > MAX_BYTES:
            raise DataError(f"{found.st_size} bytes, more than {MAX_BYTES}")
        return path.read_bytes()
    except MemoryError:
        raise DataError(f"{found.st_size} bytes, more than the memory holds") from None
    except OSError as error:
        who = f" (user {user()})" if isinstance(error, PermissionError) else ""
        raise DataError(f"cannot be read: {error.strerror}{who}") from error
