"""Grey-level matrices of many images at once, on the host.

All take `levels` [N, H, W] int: 1 to G inside the region, 0 outside it, which belongs to no
pair, run, zone or neighbourhood. Run lengths and zones are sparse: their matrices would
have a column for every size up to the whole image.

References:
    Zwanenburg et al., "Image biomarker standardisation initiative", arXiv:1612.07003, and
    the papers that each function names.
"""

import importlib
from typing import NamedTuple

import numpy as np
import scipy.ndimage

from jaxbrain.data import preprocess
from jaxbrain.errors import ConfigError

# Of runs: to the right, up and right, up, up and left.
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)


def need(package: str, extra: str = "baselines"):
    """A package of an extra, imported when it is used.

    Raises:
        ConfigError: with the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ConfigError(
            f"{package.split('.')[0]} is needed and missing: pip install 'jaxbrain[{extra}]'"
        ) from None


def regions(image: np.ndarray) -> np.ndarray:
    """The head in each image (`preprocess.head`): [N, S, S, 1] uint8 -> [N, S, S] bool."""
    return np.stack([preprocess.head(one[..., 0] / np.float32(255.0)) for one in image])


def quantise(image: np.ndarray, region: np.ndarray, num_levels: int) -> np.ndarray:
    """Equal bins from the darkest to the brightest pixel of each region.

    Args:
        image: [N, H, W], any real dtype; region: [N, H, W] bool, at least a pixel in each.

    Returns:
        [N, H, W] int32 levels, 1 to `num_levels` inside the region and 0 outside.
    """
    values = np.asarray(image, np.float64)
    low = np.where(region, values, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(region, values, -np.inf).max(axis=(1, 2), keepdims=True)
    # Multiplied first: a share has been rounded.
    level = np.floor(num_levels * (values - low) / np.where(high > low, high - low, 1.0))
    level = np.minimum(level, num_levels - 1).astype(np.int32) + 1
    return np.where(region, level, 0)


def glcm(levels: np.ndarray, num_levels: int, distances=(1,)) -> np.ndarray:
    """Symmetric co-occurrence counts of pairs at each distance and angle.

    Returns:
        [N, D, 4, G, G] float64; scikit-image's `graycomatrix` at `ANGLES` (which turn
        clockwise there: 45 degrees is down and right), without the pairs that leave the
        region.

    References:
        Haralick, Shanmugam and Dinstein, "Textural features for image classification",
        1973.
    """
    graycomatrix = need("skimage.feature").graycomatrix
    dtype = np.uint8 if num_levels < 256 else np.uint16
    found = np.zeros((len(levels), len(distances), len(ANGLES), num_levels, num_levels))
    for i, one in enumerate(levels.astype(dtype)):
        counts = graycomatrix(one, distances, ANGLES, levels=num_levels + 1, symmetric=True)
        found[i] = counts[1:, 1:].transpose(2, 3, 0, 1)
    return found


class Cells(NamedTuple):
    """The cells above 0 of N matrices of grey levels (rows) by sizes (columns).

    owner: [E], which matrix; level: [E], 1 to G; size: [E], pixels; count: [E].
    pixels: [N], pixels of each region.
    """

    owner: np.ndarray
    level: np.ndarray
    size: np.ndarray
    count: np.ndarray
    pixels: np.ndarray


def _cells(owner, level, size, pixels) -> Cells:
    """Count equal (owner, level, size)."""
    most, tall = size.max(initial=0) + 1, level.max(initial=0) + 1
    keys, count = np.unique((owner * tall + level) * most + size, return_counts=True)
    return Cells(keys // most // tall, keys // most % tall, keys % most, count, pixels)


def dense(cells: Cells, num_levels: int, num_sizes: int) -> np.ndarray:
    """[N, num_levels, num_sizes] int64, as the matrices are printed."""
    matrix = np.zeros((len(cells.pixels), num_levels, num_sizes), np.int64)
    np.add.at(matrix, (cells.owner, cells.level - 1, cells.size - 1), cells.count)
    return matrix


def _lines(levels: np.ndarray, angle: float) -> np.ndarray:
    """The pixels of each image line by line in one direction, lines padded with 0:
    [N, H, W] -> [N, L, M]."""
    count, height, width = levels.shape
    if angle == ANGLES[0]:
        return levels
    if angle == ANGLES[2]:
        return levels.transpose(0, 2, 1)
    # Rows shifted one more each: a diagonal becomes a column.
    shifted = np.zeros((count, height, height + width - 1), levels.dtype)
    for row in range(height):
        start = row if angle == ANGLES[1] else height - 1 - row
        shifted[:, row, start : start + width] = levels[:, row]
    return shifted.transpose(0, 2, 1)


def glrlm(levels: np.ndarray, angle: float) -> Cells:
    """Runs of one level along the lines of one of `ANGLES`, by level and length.

    Raises:
        ValueError: for another angle.

    References:
        Galloway, "Texture analysis using gray level run lengths", 1975.
    """
    if angle not in ANGLES:
        raise ValueError(f"angle is {angle!r}: expected one of texture.ANGLES, in radians")
    # A 0 after each line ends its last run.
    lines = np.pad(_lines(levels, angle), ((0, 0), (0, 0), (0, 1)))
    flat = lines.reshape(-1)
    start = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    run = np.diff(np.r_[start, len(flat)])
    inside = flat[start] > 0
    start, run = start[inside], run[inside]
    owner = start // lines[0].size
    return _cells(owner, flat[start].astype(np.int64), run, (levels > 0).sum(axis=(1, 2)))


def glszm(levels: np.ndarray) -> Cells:
    """Zones of one level, connected by sides or corners, by level and size.

    References:
        Thibault et al., "Texture indexes and gray level size zone matrix", 2009.
    """
    label = need("skimage.measure").label
    # One below another, with a row of 0 between: one call for all.
    tall = np.pad(levels, ((0, 0), (0, 1), (0, 0)))
    zone = label(tall.reshape(-1, tall.shape[2]), background=0, connectivity=2).reshape(-1)
    number, first, size = np.unique(zone, return_index=True, return_counts=True)
    first, size = first[number > 0], size[number > 0]
    owner = first // tall[0].size
    level = tall.reshape(-1)[first].astype(np.int64)
    return _cells(owner, level, size, (levels > 0).sum(axis=(1, 2)))


def ngtdm(
    levels: np.ndarray, num_levels: int, borders: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of a pixel from the mean of its (up to 8) neighbours in the region.

    Args:
        borders: IBSI's definition; without them, as Amadasun and King have it, only pixels
            with all eight neighbours count.

    Returns:
        n: [N, G] int64, pixels of each level with a neighbour; s: [N, G] float64, the sum
        of their absolute differences.

    References:
        Amadasun and King, "Textural features corresponding to textural properties", 1989.
    """
    around = np.asarray([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]])
    total, neighbours = (
        scipy.ndimage.correlate(np.float64(values), around, mode="constant")
        for values in (levels, levels > 0)
    )
    used = (levels > 0) & (neighbours > (0 if borders else 7))
    difference = np.abs(levels[used] - total[used] / neighbours[used])
    place = np.nonzero(used)[0] * num_levels + levels[used] - 1
    shape, size = (len(levels), num_levels), len(levels) * num_levels
    n = np.bincount(place, minlength=size).reshape(shape)
    return n, np.bincount(place, difference, minlength=size).reshape(shape)


def cs_lbp(
    image: np.ndarray, region: np.ndarray, cells: int = 4, threshold: float = 0.01
) -> np.ndarray:
    """Centre-symmetric local binary patterns: histograms on a grid over the region's box.

    A pixel's pattern has a bit for each of the four pairs of opposite neighbours, set where
    the first is brighter by more than the threshold.

    Args:
        image: [N, H, W] uint8; region: [N, H, W] bool.
        cells: the grid has `cells` x `cells` of them.
        threshold: as a share of the 255 grey levels.

    Returns:
        [N, 16 * cells * cells] float64; the histogram of each cell sums to 1, or to 0
        where no pixel of the region is in it.

    References:
        Heikkila, Pietikainen and Schmid, "Description of interest regions with
        center-symmetric local binary patterns", 2006.
    """
    count, height, width = image.shape
    padded = np.pad(image.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")

    def at(down: int, right: int) -> np.ndarray:
        return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    pattern = np.zeros(image.shape, np.int64)
    for bit, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        brighter = at(down, right) - at(-down, -right) > threshold * 255.0
        pattern += brighter.astype(np.int64) << bit

    def cell_of(used: np.ndarray) -> np.ndarray:
        """[N, L] bool -> [N, L], which cell of the grid along this axis."""
        first = used.argmax(axis=1)[:, None]
        extent = used.shape[1] - used[:, ::-1].argmax(axis=1)[:, None] - first
        place = np.arange(used.shape[1])[None] - first
        return np.clip(place * cells // extent, 0, cells - 1)

    row, column = cell_of(region.any(axis=2)), cell_of(region.any(axis=1))
    cell = row[:, :, None] * cells + column[:, None, :]
    owner = np.broadcast_to(np.arange(count)[:, None, None], image.shape)
    place = ((owner * cells * cells + cell) * 16 + pattern)[region]
    found = np.bincount(place, minlength=count * cells * cells * 16)
    found = found.reshape(count, cells * cells, 16).astype(np.float64)
    return (found / np.maximum(found.sum(axis=2, keepdims=True), 1.0)).reshape(count, -1)
