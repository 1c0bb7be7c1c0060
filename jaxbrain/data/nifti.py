"""NIfTI volumes to axial slices: orientation, spacing, padding, how much brain."""

import gzip
import io
import math

import numpy as np
from scipy import ndimage

from jaxbrain.data import masks
from jaxbrain.data.decode import Slices, percentiles
from jaxbrain.data.preprocess import isotropic
from jaxbrain.errors import DataError

MAX_VOXELS = 256_000_000
# A header with its extensions.
_HEADER = 2**24
# A tenth of the range of a volume's values: what is darker is no brain.
_DARK = 0.1
# A voxel and its four neighbours in an axial slice.
_IN_SLICE = ndimage.generate_binary_structure(2, 1)[..., None]


def read(content: bytes, brain_fraction: float) -> Slices:
    """The axial slices of a volume that hold brain: see `medical.read`."""
    import nibabel

    content, spacing = _uncompressed(content)
    image = nibabel.Nifti1Image.from_bytes(content)
    remark = ""
    if not _placed(image, spacing):
        image = nibabel.Nifti1Image(image.dataobj, np.eye(4))
        remark = "says nothing of its axes and spacing that can be used: taken as it is stored"
    image = nibabel.as_closest_canonical(image)
    volume = np.asarray(image.dataobj, np.float32)
    volume = volume.reshape(volume.shape[:3])
    if 2 * np.isnan(_edges(volume)).sum() > _edges(volume).size and not np.isnan(volume).all():
        # Padded with NaN, as some tools mark what is no brain.
        volume = np.nan_to_num(volume, nan=np.nanmin(volume) - 1.0)
    if not np.isfinite(volume).all():
        raise DataError("it holds NaN or infinite pixels")
    labels = masks.is_label_volume(volume)
    scaled, share = brain(volume)
    chosen = np.flatnonzero(share >= brain_fraction)
    if not len(chosen) and not labels:
        raise DataError(f"no slice of it is {100 * brain_fraction:g} % brain")
    # Canonical axes go right, forward, up; a picture goes down its rows, patient's right first.
    right, forward, _ = nibabel.affines.voxel_sizes(image.affine)
    pictures = [isotropic(scaled[::-1, ::-1, z].T, (forward, right)) for z in chosen]
    turned = bool(pictures) and pictures[0].shape != scaled.shape[1::-1]
    remark = "voxels made square by their spacing" if turned else remark
    names = [f"#z{z:03d}" for z in chosen]
    return Slices(pictures, names, "NIfTI", remark=remark, labels=labels)


def _placed(image, spacing: np.ndarray) -> bool:
    """Whether a volume's header gives its axes and a spacing that is one."""
    matrix = image.affine[:3, :3]
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return False
    # Without a matrix of its own the spacing is all there is, and 0 stands for unknown.
    return int(image.header["sform_code"]) != 0 or bool((spacing != 0).all())


def _uncompressed(content: bytes) -> tuple[bytes, np.ndarray]:
    """The bytes that a volume's header asks for, checked before they are inflated, and the
    spacing as it stands there: nibabel puts 1 where there is 0."""
    import nibabel

    packed = content[:2] == b"\x1f\x8b"
    start = gzip.open(io.BytesIO(content)).read(352) if packed else content
    header = nibabel.Nifti1Header(start[:348], check=False)
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
    return content, header["pixdim"][1:4]


def _edges(volume: np.ndarray) -> np.ndarray:
    """The voxels along the twelve edges of a volume."""
    ends = [0, -1]
    lines = [np.moveaxis(volume, axis, 0)[:, ends][:, :, ends].reshape(-1) for axis in range(3)]
    return np.concatenate(lines)


def padding(volume: np.ndarray) -> tuple[float, float] | None:
    """The least and the largest value of what a volume is filled up with, or None where
    nothing tells it, as in a scan as it was measured.

    One value, if more than half of the voxels along the volume's edges share it; or a
    narrow range, if half of them lie in one that has darker voxels below.
    """
    edges = _edges(volume)
    values, counts = np.unique(edges, return_counts=True)
    if 2 * counts.max() > counts.sum():
        return (float(values[counts.argmax()]),) * 2
    low, high = np.percentile(volume, (0.5, 99.5))
    level = float(np.median(edges))
    # Four standard deviations of normal noise.
    reach = 4 * 1.4826 * float(np.median(np.abs(edges - level)))
    if reach < 0.05 * (high - low) and low < level - reach:
        return level - reach, level + reach
    return None


def brain(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels of a volume, and how much brain each axial slice holds.

    What a volume is filled up with says nothing of the brain, wherever that value lies: one
    brain of mean 0 on 0, on -5 and on 9 gives one result.

    Args:
        volume: [X, Y, Z] float32, any scale.

    Returns:
        [X, Y, Z] float32 in [0, 1]: percentiles 0.5 and 99.5 of what is not padding to 0
        and 1; padding is 0, and so is the value 0 of a volume that holds none below.
        [Z] float64: of each slice, the share that is not padding. Where there is air, so
        without padding or where dark values lie beside it, the share that is brighter than
        a tenth of the range.
    """
    outside = padding(volume)
    if outside is None:
        scaled = percentiles(volume)
        return scaled, (scaled > _DARK).mean(axis=(0, 1))
    inside = (volume < np.float32(outside[0])) | (volume > np.float32(outside[1]))
    # Where the brain itself has that value.
    inside = ndimage.binary_fill_holes(inside, _IN_SLICE)
    scaled = np.zeros_like(volume)
    if inside.any():
        values = volume[inside]
        low, high = np.percentile(values, (0.5, 99.5))
        # Scaled whole numbers are not quite what they stand for.
        least = 1e-5 * float(high - low)
        if max(map(abs, outside)) <= least and values.min() >= -least:
            low = 0.0
        if high <= low:
            low, high = min(float(values.min()), outside[0]), float(values.max())
        scaled[inside] = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    counted = scaled > _DARK if _air(scaled, inside) else inside
    return scaled, counted.mean(axis=(0, 1))


def _air(scaled: np.ndarray, inside: np.ndarray) -> bool:
    """Whether nearly all voxels beside the padding are dark."""
    beside = inside & ~ndimage.binary_erosion(inside, _IN_SLICE, border_value=1)
    return bool(beside.any() and np.percentile(scaled[beside], 90) < _DARK)
