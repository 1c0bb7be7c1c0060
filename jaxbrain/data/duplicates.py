"""Near-duplicate images, which must stay on one side of a split."""

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components


def thumbnail(image: np.ndarray) -> np.ndarray:
    """[H, W] float32 -> [1024] float64: 32 x 32 bilinear, mean 0, norm 1.

    A constant image becomes zeros, so that it correlates with nothing.
    """
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32), "F")
    small = picture.resize((32, 32), Image.Resampling.BILINEAR)
    flat = np.asarray(small, np.float64).ravel()
    flat = flat - flat.mean()
    norm = np.linalg.norm(flat)
    return flat / norm if norm > 1e-6 else np.zeros_like(flat)


def groups(thumbnails: np.ndarray, threshold: float = 0.98) -> np.ndarray:
    """Group numbers [N] int32: images whose thumbnails correlate at `threshold` or more,
    directly or through others, share one. thumbnails: [N, 1024], each from `thumbnail`."""
    linked = csr_matrix(thumbnails @ thumbnails.T >= threshold)
    return connected_components(linked, directed=False)[1].astype(np.int32)
