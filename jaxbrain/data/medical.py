"""DICOM, NIfTI and MATLAB 7.3 files (Cheng's set) to grey slices; needs the extra `medical`."""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator

import numpy as np

from jaxbrain.data import dicom, nifti, sniff
from jaxbrain.data.decode import MAX_PIXELS, Slices, percentiles, refuse_shape
from jaxbrain.data.dicom import TAGS as TAGS
from jaxbrain.errors import DataError


def kind(content: bytes) -> str | None:
    """ "DICOM", "NIfTI" or "MAT" by a file's first bytes, or None."""
    found = sniff.kind(content[: sniff.HEAD])
    return found if found != "picture" else None


def read(content: bytes, frames: str, brain_fraction: float, use_patient: bool = True) -> Slices:
    """The slices of a file of `kind` "DICOM", "NIfTI" or "MAT".

    Pixels that are not square are made so by the spacing that the file gives.

    Args:
        frames: of a DICOM file, see `collect.Options`.
        brain_fraction: the least share of an axial slice of a volume that is brain
            (`nifti.brain`).
        use_patient: whether slices of one PatientID (or PID) belong together; those of one
            series do in any case.

    Raises:
        DataError: with the reason alone, free of anything the file says of a person.
        LeftOutError: for a file that was never meant as a picture.
    """
    try:
        with warnings.catch_warnings(), _silent("pydicom", "nibabel.global"):
            # They quote values of tags.
            warnings.simplefilter("ignore")
            match kind(content):
                case "DICOM":
                    found = dicom.read(content, frames, use_patient)
                case "NIfTI":
                    found = nifti.read(content, brain_fraction)
                case _:
                    found = _mat(content, use_patient)
        for picture in found.image[:1]:
            refuse_shape(picture.shape[1], picture.shape[0])
        return found
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"needs {error.name}: pip install 'jaxbrain[medical]'") from None
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


_CHENG = {1: "meningioma", 2: "glioma", 3: "pituitary"}


def _mat(content: bytes, use_patient: bool) -> Slices:
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        if not isinstance(file.get("cjdata", getlink=True), h5py.HardLink):
            raise DataError("a MATLAB file without cjdata: expected one of Cheng's set")
        group = file["cjdata"]

        def own(name: str, most: int = MAX_PIXELS):
            # A link could name any other file of this machine.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"cjdata.{name} is missing or a link")
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
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
    patient = patient if use_patient else ""
    source = "PID" if patient else ""
    return Slices([percentiles(image)], [""], "MAT", patient, source, _CHENG[label])
