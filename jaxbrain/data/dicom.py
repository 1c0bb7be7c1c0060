"""DICOM files to grey slices: values, windows and spacing of the file or of each frame.

Only the tags in `TAGS` are read. What says who the patient is becomes a number that slices
of one patient share, and is never stored or printed.
"""

import contextlib
import io

import numpy as np

from jaxbrain.data.decode import MAX_PIXELS, LeftOutError, Slices, percentiles
from jaxbrain.data.preprocess import isotropic
from jaxbrain.errors import DataError

TAGS = (
    "SOPClassUID Rows Columns NumberOfFrames SamplesPerPixel PlanarConfiguration "
    "PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation "
    "PixelSpacing PixelAspectRatio RescaleSlope RescaleIntercept ModalityLUTSequence "
    "WindowCenter WindowWidth VOILUTFunction VOILUTSequence SharedFunctionalGroupsSequence "
    "PerFrameFunctionalGroupsSequence SeriesInstanceUID PatientID BurnedInAnnotation "
    "PixelData"
).split()
_NOT_PICTURES = {
    "1.2.840.10008.1.3.10": "a DICOMDIR, the list of a medium",
    "1.2.840.10008.5.1.4.1.1.66.4": "a DICOM segmentation",
}
_BARE = "DICOM without preamble or file meta"


def read(content: bytes, frames: str, use_patient: bool) -> Slices:
    """The picture, or the frames, of a DICOM file: see `medical.read`.

    Raises:
        LeftOutError: for a DICOMDIR and a segmentation, which are no pictures.
    """
    dataset, syntax = _dataset(content)
    if what := _NOT_PICTURES.get(str(dataset.get("SOPClassUID", ""))):
        raise LeftOutError(what)
    if "PixelData" not in dataset:
        raise DataError("DICOM without pixel data")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    count = int(dataset.get("NumberOfFrames") or 1)
    if rows * columns * count > MAX_PIXELS:
        raise DataError(f"{columns}x{rows} of {count} frames, more than {MAX_PIXELS} pixels")
    if count > 1 and frames == "error":
        raise DataError(f"{count} frames: expected a single picture (data.frames takes more)")
    _refuse_compressed(syntax)
    try:
        pixels = np.asarray(dataset.pixel_array)
    except Exception as error:
        raise DataError(f"damaged DICOM pixel data ({type(error).__name__})") from None
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric.startswith(("RGB", "YBR")):
        grey = (pixels @ np.array([0.299, 0.587, 0.114])).reshape(count, rows, columns)
        bits = int(dataset.get("BitsStored") or 8)
        shown = np.clip(grey / (2.0**bits - 1.0), 0.0, 1.0).astype(np.float32)
    elif photometric in ("MONOCHROME1", "MONOCHROME2"):
        shown = _shown(pixels.reshape(count, rows, columns), dataset)
        shown = 1.0 - shown if photometric == "MONOCHROME1" else shown
    else:
        raise DataError("DICOM photometric interpretation without a rule: expected MONOCHROME")
    taken = range(1 if frames == "first" else count)
    chosen = [isotropic(shown[i], _spacing(dataset, i)) for i in taken]
    stretched = any(one.shape != (rows, columns) for one in chosen)
    remark = "pixels made square by their spacing" if stretched else ""
    names = [f"#{i}" for i in taken] if count > 1 else [""]
    patient = str(dataset.get("PatientID") or "") if use_patient else ""
    series = str(dataset.get("SeriesInstanceUID") or "")
    source = "PatientID" if patient else "series" if series else ""
    note = ""
    if str(dataset.get("BurnedInAnnotation", "")).upper() != "NO":
        note = "may have text burned into its pixels (BurnedInAnnotation is not NO)"
    return Slices(chosen, names, "DICOM", patient or series, source, note=note, remark=remark)


def _dataset(content: bytes):
    """The listed tags, and the transfer syntax (one that fits, where the file names none)."""
    import pydicom

    preamble = content[128:132] == b"DICM"
    elements = content[132:] if preamble else content
    # Group 2 is never compressed.
    meta = pydicom.filereader.read_dataset(
        io.BytesIO(elements), False, True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    if what := _NOT_PICTURES.get(str(meta.get("MediaStorageSOPClassUID", ""))):
        raise LeftOutError(what)
    syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "")))
    if syntax and syntax.is_deflated:
        # Inflated as a whole before a tag is read, however long it is.
        raise DataError("DICOM deflated as a whole: save it uncompressed")
    if syntax and preamble:
        return pydicom.dcmread(io.BytesIO(content), specific_tags=TAGS), syntax
    # That it begins as DICOM was looked at.
    try:
        dataset = pydicom.dcmread(io.BytesIO(elements), force=True, specific_tags=TAGS)
    except Exception as error:
        raise DataError(f"{_BARE}: it cannot be read so ({type(error).__name__})") from None
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else syntax
        if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
            raise DataError(f"{_BARE}, and compressed: save it with them")
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset, syntax


def _refuse_compressed(syntax) -> None:
    """Refuse a transfer syntax that no installed decoder reads, naming one that does."""
    import pydicom
    from pydicom.pixels import get_decoder

    if not syntax.is_compressed:
        return
    with contextlib.suppress(NotImplementedError, KeyError, ValueError):
        if get_decoder(syntax).is_available:
            return
    # Of a private syntax the file itself says the name: not printed.
    known = syntax in pydicom.uid.AllTransferSyntaxes
    name = syntax.name if known else "a private syntax"
    package = ""
    if "JPEG 2000" in name or "High-Throughput" in name:
        package = ": pip install pylibjpeg pylibjpeg-openjpeg"
    elif "JPEG" in name:
        package = ": pip install pylibjpeg pylibjpeg-libjpeg"
    raise DataError(f"DICOM compressed as {name}: no decoder is installed{package}")


def _macro(dataset, name: str, frame: int):
    """The functional group of a frame, of the frame's own or shared by all; else the file
    itself (PS3.3 C.7.6.16)."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    if own and frame >= len(own):
        raise DataError(f"frame {frame} has no functional groups: found those of {len(own)}")
    for one in (*own[frame : frame + 1], *shared):
        if one.get(name):
            return one.get(name)[0]
    return dataset


def _number(item, name: str, default: float | None = None) -> float | None:
    """The number of a tag, the first of the many that a window may have."""
    value = item.get(name)
    if value is None or value == "":
        return default
    if name.startswith("Window") and hasattr(value, "append"):
        value = value[0]
    number = float(value)
    if not np.isfinite(number):
        raise DataError(f"{name} is {number}: expected a number")
    return number


def _values(pixels: np.ndarray, dataset, frame: int) -> np.ndarray:
    """Stored pixels of one frame to the modality's values, float64."""
    from pydicom import Dataset
    from pydicom.pixels import apply_modality_lut

    item = _macro(dataset, "PixelValueTransformationSequence", frame)
    if item is dataset and dataset.get("ModalityLUTSequence"):
        return np.float64(apply_modality_lut(pixels, dataset))
    how = Dataset()
    # A file may name one of the two alone.
    how.RescaleSlope = _number(item, "RescaleSlope", 1.0)
    how.RescaleIntercept = _number(item, "RescaleIntercept", 0.0)
    return np.float64(apply_modality_lut(pixels, how))


def _shown(pixels: np.ndarray, dataset) -> np.ndarray:
    """[F, H, W] stored pixels to grey levels in [0, 1]: each frame by its own rescale and
    its own window, or table; frames without one by percentiles of all of them together."""
    values = np.stack([_values(frame, dataset, i) for i, frame in enumerate(pixels)])
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinite values")
    shown = [windowed(frame, dataset, i) for i, frame in enumerate(values)]
    if any(one is None for one in shown):
        scaled = percentiles(values)
        shown = [scaled[i] if one is None else one for i, one in enumerate(shown)]
    return np.stack(shown)


def windowed(values: np.ndarray, dataset, frame: int) -> np.ndarray | None:
    """The first window of a frame, or its table (PS3.3 C.11.2); None without either."""
    from pydicom import Dataset
    from pydicom.pixels import apply_voi, apply_windowing

    item = _macro(dataset, "FrameVOILUTSequence", frame)
    function = str(item.get("VOILUTFunction") or "LINEAR").upper()
    centre, width = _number(item, "WindowCenter"), _number(item, "WindowWidth")
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DataError("VOI LUT function without a rule: expected LINEAR or SIGMOID")
    if centre is not None and width is not None and width > (function == "LINEAR"):
        how = Dataset()
        how.PhotometricInterpretation, how.BitsStored = "MONOCHROME2", 16
        how.PixelRepresentation, how.VOILUTFunction = 0, function
        how.WindowCenter, how.WindowWidth = centre, width
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.array([-np.inf, np.inf]), how)
            shown = (apply_windowing(values, how) - low) / (high - low)
        return np.clip(shown, 0.0, 1.0).astype(np.float32)
    if item.get("VOILUTSequence"):
        if (values != np.round(values)).any():
            raise DataError("a VOI table for values that are no whole numbers")
        depth = int(item.VOILUTSequence[0].LUTDescriptor[2])
        shown = apply_voi(values.astype(np.int64), item) / (2.0**depth - 1.0)
        return np.clip(shown, 0.0, 1.0).astype(np.float32)
    return None


def _spacing(dataset, frame: int) -> tuple[float, float]:
    """Distance of rows and of columns, in any unit; equal where the file does not say."""
    item = _macro(dataset, "PixelMeasuresSequence", frame)
    found = item.get("PixelSpacing") or dataset.get("PixelAspectRatio")
    if not found or len(found) != 2:
        return 1.0, 1.0
    return float(found[0]), float(found[1])
