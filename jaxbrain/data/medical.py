"""DICOM, NIfTI and MATLAB 7.3 files (Cheng's set) to grey slices; needs the extra `medical`.

Of a DICOM file only the tags in `TAGS` are read. What says who the patient is becomes a
number that slices of one patient share, and is never stored or printed.
"""

import contextlib
import gzip
import io
import logging
import math
import warnings
import zlib
from collections.abc import Iterator

import numpy as np

from jaxbrain.data.decode import MAX_PIXELS, Slices, percentiles, refuse_shape
from jaxbrain.errors import DataError

MAX_VOXELS = 256_000_000
# A header with its extensions.
_HEADER = 2**24
TAGS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "SeriesInstanceUID",
    "PatientID",
    "BurnedInAnnotation",
    "PixelData",
)


def kind(content: bytes) -> str | None:
    """ "DICOM", "NIfTI" or "MAT" by a file's first bytes, or None."""
    if content[128:132] == b"DICM":
        return "DICOM"
    if content[512:520] == b"\x89HDF\r\n\x1a\n" or content[:8] == b"\x89HDF\r\n\x1a\n":
        return "MAT"
    head = content[:352]
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(content)) as file:
                head = file.read(352)
        except (OSError, EOFError, zlib.error):
            return None
    sizes = (348).to_bytes(4, "little"), (348).to_bytes(4, "big")
    if head[:4] in sizes and head[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI"
    return None


def _need(package: str):
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise DataError(f"needs {package}: pip install 'jaxbrain[medical]'") from None


def read(content: bytes, frames: str, brain_fraction: float) -> Slices:
    """The slices of a file of `kind` "DICOM", "NIfTI" or "MAT".

    Args:
        content: of the file.
        frames: "error" refuses a DICOM file of several frames, "first" and "all" take them.
        brain_fraction: an axial slice of a volume is taken if at least this share of it is
            brighter than a tenth of the volume's 99.5th percentile.

    Raises:
        DataError: with the reason alone, free of anything the file says of a person.
    """
    reader = {"DICOM": _dicom, "NIfTI": _nifti, "MAT": _mat}[kind(content)]
    try:
        with warnings.catch_warnings(), _silent("pydicom", "nibabel.global"):
            # They quote values of tags.
            warnings.simplefilter("ignore")
            found = reader(content, frames, brain_fraction)
        height, width = found.image[0].shape
        refuse_shape(width, height)
        return found
    except DataError:
        raise
    except MemoryError:
        raise DataError("larger than the memory holds") from None
    except Exception as error:  # Messages of the readers may quote what a file holds.
        raise DataError(f"damaged file ({type(error).__name__})") from None


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Loggers off: they quote values of tags too."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, state in zip(loggers, before, strict=True):
            logger.disabled = state


def _dicom(content: bytes, frames: str, brain_fraction: float) -> Slices:
    pydicom = _need("pydicom")
    # Group 2, after the preamble, is never compressed.
    meta = pydicom.filereader.read_dataset(
        io.BytesIO(content[132:]), False, True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "")))
    if syntax.is_deflated:
        # Inflated as a whole before a tag is read, however long it is.
        raise DataError("DICOM deflated as a whole: save it uncompressed")
    dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=list(TAGS))
    if "PixelData" not in dataset:
        raise DataError("DICOM without pixel data")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    count = int(dataset.get("NumberOfFrames") or 1)
    if rows * columns * count > MAX_PIXELS:
        raise DataError(f"{columns}x{rows} of {count} frames, more than {MAX_PIXELS} pixels")
    if count > 1 and frames == "error":
        raise DataError(f"{count} frames: expected a single picture (data.frames takes more)")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if syntax.is_compressed and not _decodes(syntax):
        # Of a private syntax the file itself says the name: not printed.
        name = syntax.name if syntax in pydicom.uid.AllTransferSyntaxes else "a private syntax"
        raise DataError(f"DICOM compressed as {name}: no decoder is installed")
    try:
        pixels = np.asarray(dataset.pixel_array, np.float64)
    except Exception as error:
        raise DataError(f"damaged DICOM pixel data ({type(error).__name__})") from None
    if photometric.startswith(("RGB", "YBR")):
        pixels = pixels @ np.array([0.299, 0.587, 0.114])
    pixels = pixels.reshape(count, rows, columns)
    if photometric.startswith(("RGB", "YBR")):
        bits = int(dataset.get("BitsStored") or 8)
        scaled = np.clip(pixels / (2.0**bits - 1.0), 0.0, 1.0).astype(np.float32)
    else:
        slope, intercept = (dataset.get(n) for n in ("RescaleSlope", "RescaleIntercept"))
        values = pixels * float(1 if slope is None else slope) + float(intercept or 0)
        scaled = _windowed(values, dataset)
        if photometric == "MONOCHROME1":
            scaled = 1.0 - scaled
        elif photometric != "MONOCHROME2":
            raise DataError("DICOM photometric interpretation without a rule: expected MONOCHROME")
    patient = str(dataset.get("PatientID") or "") or str(dataset.get("SeriesInstanceUID") or "")
    note = ""
    if str(dataset.get("BurnedInAnnotation", "")).upper() != "NO":
        note = "may have text burned into its pixels (BurnedInAnnotation is not NO)"
    chosen = list(scaled[: 1 if frames == "first" else count])
    names = [f"#{i}" for i in range(len(chosen))] if count > 1 else [""]
    return Slices(chosen, names, "DICOM", patient, note=note)


def _decodes(syntax) -> bool:
    """Whether a decoder of a compressed transfer syntax is installed."""
    from pydicom.pixels import get_decoder

    try:
        return get_decoder(syntax).is_available
    except (NotImplementedError, KeyError, ValueError):
        return False


def _windowed(values: np.ndarray, dataset) -> np.ndarray:
    """The first window of the file (DICOM PS3.3 C.11.2.1.2), else percentiles."""

    def first(name: str) -> float | None:
        value = dataset.get(name)
        if value is None or value == "":
            return None
        many = isinstance(value, list | tuple) or hasattr(value, "append")
        return float(value[0] if many else value)

    centre, width = first("WindowCenter"), first("WindowWidth")
    if centre is None or width is None or width <= 1:
        return percentiles(values)
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinite values")
    share = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.clip(share, 0.0, 1.0).astype(np.float32)


def _nifti(content: bytes, frames: str, brain_fraction: float) -> Slices:
    nibabel = _need("nibabel")
    packed = content[:2] == b"\x1f\x8b"
    header = gzip.open(io.BytesIO(content)).read(352) if packed else content
    header = nibabel.Nifti1Header(header[:348], check=False)
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if len(shape) != 3 and not (len(shape) == 4 and shape[3] == 1):
        raise DataError(f"a volume of shape {'x'.join(map(str, shape))}: expected three axes")
    if math.prod(shape) > MAX_VOXELS:
        raise DataError(f"a volume of {math.prod(shape)} voxels, more than {MAX_VOXELS}")
    if dtype.kind not in "iuf":
        raise DataError(f"voxels of type {dtype.name}: expected whole numbers or floats")
    if packed:
        # As much as the header says, and no more.
        offset = int(header["vox_offset"])
        if not 0 <= offset <= _HEADER:
            raise DataError(f"voxels from byte {offset} on: expected within {_HEADER}")
        size = offset + math.prod(shape) * dtype.itemsize
        with gzip.open(io.BytesIO(content)) as file:
            content = file.read(max(size, 352))
    if math.prod(shape) * dtype.itemsize > len(content):
        raise DataError("truncated: shorter than its header says")
    image = nibabel.Nifti1Image.from_bytes(content)
    volume = np.asarray(nibabel.as_closest_canonical(image).dataobj, np.float32)
    volume = percentiles(volume.reshape(volume.shape[:3]))
    share = (volume > 0.1).mean(axis=(0, 1))
    chosen = np.flatnonzero(share >= brain_fraction)
    if not len(chosen):
        raise DataError(f"no slice of it is {100 * brain_fraction:g} % brain")
    # Canonical axes go right, forward, up; a picture goes down its rows, patient's right first.
    pictures = [np.ascontiguousarray(volume[::-1, ::-1, z].T) for z in chosen]
    return Slices(pictures, [f"#z{z:03d}" for z in chosen], "NIfTI")


_CHENG = {1: "meningioma", 2: "glioma", 3: "pituitary"}


def _mat(content: bytes, frames: str, brain_fraction: float) -> Slices:
    h5py = _need("h5py")
    with h5py.File(io.BytesIO(content), "r") as file:
        if not isinstance(file.get("cjdata", getlink=True), h5py.HardLink):
            raise DataError("a MATLAB file without cjdata: expected one of Cheng's set")
        group = file["cjdata"]

        def own(name: str, most: int = MAX_PIXELS):
            # A link could name any other file of this machine.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"cjdata.{name} is missing or a link")
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset) or dataset.external:
                raise DataError(f"cjdata.{name} is no data of this file")
            if dataset.is_virtual:
                raise DataError(f"cjdata.{name} is no data of this file")
            if math.prod(dataset.shape) > most:
                raise DataError(f"cjdata.{name} has more than {most} elements")
            if dataset.dtype.kind not in "iuf":
                raise DataError(f"cjdata.{name} holds no real numbers")
            return np.asarray(dataset)

        label = float(own("label", 64).reshape(-1)[0])
        if label not in _CHENG:
            raise DataError(f"cjdata.label is {label:g}: expected 1, 2 or 3")
        patient = "".join(map(chr, own("PID", 64).reshape(-1).tolist()))
        # MATLAB's arrays are stored by columns.
        image = own("image").T.astype(np.float64)
    if image.ndim != 2:
        raise DataError(f"cjdata.image has {image.ndim} axes: expected two")
    return Slices([percentiles(image)], [""], "MAT", patient, _CHENG[label])
