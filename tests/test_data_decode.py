"""Every pixel mode keeps the picture; everything else is refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from scipy.stats import spearmanr

from jaxbrain.data.decode import pictures, read_bytes
from jaxbrain.errors import DataError

RAMP = np.linspace(0, 1, 40 * 50).reshape(40, 50)


def decode(path):
    """Grey levels and pixel mode of a file of one picture."""
    found = pictures(read_bytes(path))
    return found.image[0], found.mode


def palette_image():
    image = Image.fromarray(np.uint8(RAMP * 255)).convert("P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    return image


def with_alpha(mode):
    grey = np.uint8(RAMP * 255)
    opaque = np.full_like(grey, 255)
    planes = [grey] * (3 if mode == "RGBA" else 1) + [opaque]
    return Image.fromarray(np.stack(planes, -1), mode)


IMAGES = {
    "L.png": lambda: Image.fromarray(np.uint8(RAMP * 255)),
    "RGB.png": lambda: Image.fromarray(np.uint8(RAMP * 255)).convert("RGB"),
    "RGBA.png": lambda: with_alpha("RGBA"),
    "LA.png": lambda: with_alpha("LA"),
    "P.png": palette_image,
    "I16.png": lambda: Image.fromarray(np.uint16(RAMP * 65535)),
    "12in16.tif": lambda: Image.fromarray(np.uint16(RAMP * 4095)),
    "F.tif": lambda: Image.fromarray(np.float32(RAMP)),
    "L.jpg": lambda: Image.fromarray(np.uint8(RAMP * 255)),
    "L.bmp": lambda: Image.fromarray(np.uint8(RAMP * 255)),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("name", IMAGES)
def test_modes_keep_the_ramp(tmp_path, name):
    IMAGES[name]().save(tmp_path / name)
    grey, mode = decode(tmp_path / name)
    assert grey.dtype == np.float32
    assert grey.shape == RAMP.shape
    assert mode in ("L", "RGB", "RGBA", "LA", "P", "I;16", "F")
    assert spearmanr(grey.ravel(), RAMP.ravel()).statistic > 0.99
    assert grey.min() < 0.02
    assert grey.max() > 0.98
    if name not in ("I16.png", "12in16.tif", "F.tif"):
        np.testing.assert_allclose(grey, RAMP, atol=0.03)


def test_one_bit(tmp_path):
    bits = RAMP > 0.5
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_array_equal(decode(tmp_path / "1.png")[0], bits.astype(np.float32))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_what_is_transparent_is_black(tmp_path):
    pixels = np.full((20, 20, 4), 200, np.uint8)
    pixels[:, 10:, 3] = 0
    pixels[:, :10, 3] = 255
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    grey, _ = decode(tmp_path / "a.png")
    np.testing.assert_allclose(grey[:, :10], 200 / 255, atol=1e-3)
    assert not grey[:, 10:].any()


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "really_png.jpg"
    Image.fromarray(np.uint8(RAMP * 255)).save(path, format="PNG")
    np.testing.assert_allclose(decode(path)[0], RAMP, atol=1 / 255)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(RAMP * 255)).save(buffer, "JPEG")
    return buffer.getvalue()


def huge_png() -> bytes:
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git-LFS pointer"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"just some words", "not an image"),
        (jpeg()[:300], "damaged image"),
        (huge_png(), "more than 64000000 pixels"),
    ],
)
def test_refuses_bytes(tmp_path, content, reason):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        decode(tmp_path / "x.jpg")


def test_refuses_pictures(tmp_path):
    Image.new("L", (15, 400)).save(tmp_path / "thin.png")
    with pytest.raises(DataError, match="15x400 pixels, less than 16"):
        decode(tmp_path / "thin.png")
    Image.new("CMYK", (40, 40)).save(tmp_path / "print.jpg")
    with pytest.raises(DataError, match="CMYK"):
        decode(tmp_path / "print.jpg")
    frames = [Image.new("L", (40, 40), level) for level in (0, 99)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="2 frames"):
        decode(tmp_path / "film.gif")
    nan = RAMP.astype(np.float32).copy()
    nan[0, 0] = np.nan
    Image.fromarray(nan).save(tmp_path / "nan.tif")
    with pytest.raises(DataError, match="NaN"):
        decode(tmp_path / "nan.tif")


def test_refuses_what_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        decode(tmp_path / "missing.png")


def tiff(pixels: np.ndarray, photometric: int, sample_format: int) -> bytes:
    """A TIFF of one strip, written by hand: Pillow writes neither these types nor tags."""
    height, width = pixels.shape
    tags = {
        256: width,
        257: height,
        258: pixels.dtype.itemsize * 8,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: height,
        279: pixels.nbytes,
        339: sample_format,
    }
    start = 8 + pixels.nbytes
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", start)
    return head + pixels.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    "dtype, photometric", [("<u2", 0), ("<u2", 1), ("<u4", 1), ("<f4", 0), ("<f4", 1)]
)
def test_tiff_by_its_own_tags(tmp_path, dtype, photometric):
    """Unsigned 32-bit levels above 2^31, and 0 as white."""
    largest = 1.0 if dtype == "<f4" else 2.0 ** (8 * np.dtype(dtype).itemsize) - 1
    pixels = (RAMP * largest).astype(dtype)
    kind = 3 if dtype == "<f4" else 1
    (tmp_path / "x.tif").write_bytes(tiff(pixels, photometric, kind))
    image, _ = decode(tmp_path / "x.tif")
    want = RAMP if photometric == 1 else -RAMP
    assert spearmanr(image.ravel(), want.ravel()).statistic > 0.99
    assert image.min() == 0.0 and image.max() == 1.0


def test_signed_bytes_are_refused(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff((RAMP * 255 - 128).astype(np.int8), 1, 2))
    with pytest.raises(DataError, match="signed 8-bit"):
        decode(tmp_path / "x.tif")


def test_colour_of_16_bits(tmp_path):
    """Of its whole range it is read; 12 bits in it would be nearly black."""

    def png(most: int) -> bytes:
        levels = np.repeat((RAMP * most).astype(">u2")[..., None], 3, axis=2)
        height, width = levels.shape[:2]

        def chunk(kind: bytes, body: bytes) -> bytes:
            check = struct.pack(">I", zlib.crc32(kind + body))
            return struct.pack(">I", len(body)) + kind + body + check

        lines = b"".join(b"\0" + row.tobytes() for row in levels)
        header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body

    (tmp_path / "whole.png").write_bytes(png(65535))
    image, _ = decode(tmp_path / "whole.png")
    np.testing.assert_allclose(image, RAMP, atol=0.01)
    (tmp_path / "twelve.png").write_bytes(png(4095))
    with pytest.raises(DataError, match="16-bit colour that uses few"):
        decode(tmp_path / "twelve.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_is_black(tmp_path, mode):
    grey = np.full((40, 40), 200, np.uint8)
    grey[:20] = 90
    picture = Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "x.png", transparency=200 if mode == "L" else (200, 200, 200))
    image, _ = decode(tmp_path / "x.png")
    assert (image[20:] == 0).all()
    np.testing.assert_allclose(image[:20], 90 / 255, atol=0.01)


def stored(image: Image.Image, form: str, **options) -> bytes:
    memory = io.BytesIO()
    image.save(memory, form, **options)
    return memory.getvalue()


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation(number, form):
    """Turned as Pillow's own `exif_transpose` turns it, whatever the kind of file."""
    upright = np.add.outer(3 * np.arange(40), 2 * np.arange(24)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = number
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    content = stored(Image.fromarray(upright), form, exif=exif, **options)
    with Image.open(io.BytesIO(content)) as image:
        want = np.asarray(ImageOps.exif_transpose(image).convert("L"), np.float32) / 255
    found = pictures(content)
    assert found.image[0].shape == ((24, 40) if number > 4 else (40, 24))
    np.testing.assert_array_equal(found.image[0], want)
    if number > 1 and form != "TIFF":
        assert "EXIF orientation" in found.remark


@pytest.mark.parametrize("mode", ["I;16", "F", "RGBA", "P"])
def test_orientation_of_every_mode(mode):
    levels = np.add.outer(3 * np.arange(40), 2 * np.arange(24)).astype(np.uint8)
    image = Image.fromarray(levels.astype(np.uint16) * 200 if mode == "I;16" else levels)
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    form = "TIFF" if mode == "F" else "PNG"
    plain, turned = (pictures(stored(image, form, exif=e)) for e in (Image.Exif(), exif))
    np.testing.assert_array_equal(turned.image[0], np.rot90(plain.image[0], -1))


def test_orientation_that_cannot_be_read(monkeypatch):
    picture = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20))
    for number in (0, 9, 77):
        exif = Image.Exif()
        exif[0x0112] = number
        assert pictures(stored(picture, "JPEG", exif=exif)).remark == ""
    content = stored(picture, "JPEG", exif=b"Exif\0\0words, no tags")
    assert pictures(content).image[0].shape == (20, 20)

    def refuse(self):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", refuse)
    found = pictures(content)
    assert found.image[0].shape == (20, 20) and "cannot be read" in found.remark


def test_a_photograph_of_several_pictures():
    """MPO, as phones and stereo cameras write it: the first picture is the photograph."""
    one, two = (Image.fromarray(np.full((20, 30), 90 * k, np.uint8)) for k in (1, 2))
    content = stored(one, "MPO", save_all=True, append_images=[two])
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    for frames in ("error", "first", "all"):
        found = pictures(content, frames)
        assert found.name == [""] and len(found.image) == 1
        np.testing.assert_allclose(found.image[0], 90 / 255, atol=0.01)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("what", ["profile", "text", "many texts"])
def test_large_texts_of_png(what, behind):
    """What stands beside the pixels may be of any size."""
    picture = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20))
    about = PngInfo()
    if what != "profile":
        for i in range(1 if what == "text" else 80):
            about.add_text(f"a{i}", "x" * (1_100_000 if what == "text" else 1_000_000), zip=True)
    profile = bytes(1_100_000) if what == "profile" else None
    content = stored(picture, "PNG", pnginfo=about, icc_profile=profile)
    if behind:
        # Texts may stand after the pixels, too.
        plain = stored(picture, "PNG")
        start, data = content.index(b"IDAT") - 4, plain.index(b"IDAT") - 4
        content = plain[:-12] + content[33:start] + plain[-12:]
        assert start > 60 and data == 33
    np.testing.assert_array_equal(pictures(content).image[0] * 255, np.asarray(picture))
