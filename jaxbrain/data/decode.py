"""One image file to grey levels, or a reason why not.

Pillow's bare `convert("L")` clips 16-bit images to white and float images to black, so
each pixel mode has its own row here.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from jaxbrain.errors import DataError

MIN_SIDE = 16
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF")


def _rescale(values: np.ndarray) -> np.ndarray:
    """Percentiles 0.5 and 99.5 to 0 and 1: images of more than 8 bits rarely use their
    whole range."""
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinite pixels")
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)


def _grey(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode == "1" or mode == "L":
        return np.asarray(image.convert("L"), np.float32) / 255.0
    if mode == "P":
        return _grey(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    if mode == "RGB":
        return np.asarray(image.convert("L"), np.float32) / 255.0
    if mode in ("LA", "RGBA", "PA"):
        # On black: what a transparent pixel hides is not part of the picture.
        pixels = np.asarray(image.convert("RGBA"), np.float32) / 255.0
        opaque = Image.fromarray(
            np.round(pixels[..., :3] * pixels[..., 3:] * 255.0).astype(np.uint8), "RGB"
        )
        return _grey(opaque)
    if mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        return _rescale(np.asarray(image, np.float64)).astype(np.float32)
    raise DataError(f"pixel mode {mode} is not supported: save it as grey or RGB")


def _reason_not_an_image(content: bytes) -> str:
    if not content:
        return "empty file (0 bytes)"
    if content.startswith(b"version https://git-lfs"):
        return "git-LFS pointer, not an image: run `git lfs pull`"
    if content.lstrip()[:15].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not an image"
    return "not an image that can be read (JPEG, PNG, BMP, TIFF, GIF)"


def decode(path: Path) -> tuple[np.ndarray, str]:
    """Read one file by its content, whatever its name says.

    8-bit images map 0..255 to [0, 1]; deeper and float ones are rescaled by percentiles;
    palettes and colours become luminance; transparency is composed on black.

    Args:
        path: an image file.

    Returns:
        The grey image [H, W] float32 in [0, 1], and Pillow's name of the file's pixel
        mode.

    Raises:
        DataError: with the reason alone (the caller adds the path): unreadable, not an
            image, several frames, a pixel mode without a rule, sides under `MIN_SIDE`, or
            more than `MAX_PIXELS` pixels (refused from the header).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow's own limit is larger than ours, which is checked from the header.
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            mode = image.mode
            if width * height > MAX_PIXELS:
                raise DataError(f"{width}x{height}, more than {MAX_PIXELS} pixels")
            if min(width, height) < MIN_SIDE:
                raise DataError(f"{width}x{height} pixels, less than {MIN_SIDE} a side")
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(f"{frames} frames: expected a single picture")
            image.load()
            return _grey(image), mode
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {MAX_PIXELS} pixels: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(_reason_not_an_image(content)) from error
    except Exception as error:  # Pillow's decoders raise almost anything on bad bytes.
        raise DataError(f"damaged image: {error}") from error
