"""Masks and label maps among images: seen by what they hold, left out or warned of."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxbrain.data import load_folder, masks
from jaxbrain.data.decode import pictures

RNG = np.random.default_rng(0)


def blobs(levels: int, side: int = 64) -> np.ndarray:
    """Regions of `levels` values, 0 among them: each pixel has that of the nearest seed."""
    return regions(levels, (side, side)).astype(np.float32)


def regions(levels: int, shape: tuple[int, ...]) -> np.ndarray:
    seeds = np.ones(shape, bool)
    place = [RNG.integers(0, size, levels) for size in shape]
    seeds[tuple(place)] = False
    nearest = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    value = np.zeros(shape)
    value[tuple(place)] = np.arange(levels)
    return value[tuple(nearest)]


def scan(side: int = 64) -> np.ndarray:
    """An image: regions, shading and noise, 8 bits."""
    shaded = 60 + 40 * blobs(3, side) + RNG.normal(0, 4, (side, side))
    return np.clip(shaded, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("levels", [2, 3, 5, 12])
def test_label_maps_are_seen(levels):
    assert masks.looks_like_labels(blobs(levels))
    assert masks.looks_like_labels(blobs(levels) * 17 - 3)


def test_images_are_not():
    assert not masks.looks_like_labels(scan())
    # Few levels alone make no label map: a scan in 16 greys is noisy.
    noisy = np.round((blobs(3) * 4 + RNG.normal(0, 1.5, (64, 64))).clip(0, 15))
    assert not masks.looks_like_labels(noisy)
    assert not masks.looks_like_labels(RNG.normal(size=(20, 20, 8)))


def test_masks_that_were_stored_with_losses():
    memory = io.BytesIO()
    Image.fromarray((blobs(2) * 255).astype(np.uint8)).save(memory, "JPEG", quality=80)
    found = pictures(memory.getvalue())
    assert len(np.unique(found.image[0])) > 10 and found.labels
    memory = io.BytesIO()
    Image.fromarray(scan()).save(memory, "JPEG", quality=80)
    assert not pictures(memory.getvalue()).labels


def test_names():
    for name in ("Y1_mask.png", "sub-1_dseg.nii.gz", "TumorSegmentation.png", "x-GT.png"):
        assert masks.named_like_one(name), name
    for name in ("unmasked1.png", "Y1.png", "labelled.png"):
        assert not masks.named_like_one(name), name
    assert masks.ends_like_one("sub-1_label-GM_probseg")
    assert not masks.ends_like_one("sub-1_mask_applied_T1w")


def save(root, files: dict[str, np.ndarray]):
    for name, pixels in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)


def test_masks_beside_pictures(tmp_path):
    """Named as one and made as one: left out. Made as one alone: kept, and warned of."""
    files = {f"{name}/{i}.png": scan() for name in ("no", "yes") for i in range(2)}
    files |= {f"yes/{i}_mask.png": 255 * blobs(2) for i in range(2)}
    files |= {"yes/drawing.png": 255 * blobs(2), "no/shot_mask.png": scan()}
    save(tmp_path, files)
    _, records = load_folder(tmp_path, image_size=16)
    assert set(files) - set(records.path) == {"yes/0_mask.png", "yes/1_mask.png"}
    text = "\n".join(records.warnings)
    assert "2 files: look like masks or label maps" in text and "left out" in text
    assert "1 files: look like masks or label maps (few values, in patches): kept" in text
    assert "1 files: are named like masks and do not look like one: kept, the first is no/" in text


def test_volumes_of_labels_are_left_out(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="needs jaxbrain[medical]")
    inside = ndimage.gaussian_filter(RNG.normal(size=(32, 32, 6)), (4, 4, 1))
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        values = {
            "scan": 100 + 20 * inside + RNG.normal(0, 5, inside.shape),
            # Another name than any of masks: FreeSurfer's numbers of regions.
            "regions": 67 * regions(30, inside.shape),
            # A lesion too small for any slice to hold much of it, and none at all.
            "lesion": np.pad(np.ones((3, 3, 2)), ((0, 29), (0, 29), (0, 4))),
            "nothing": np.zeros(inside.shape),
        }
        for kind, one in values.items():
            image = nibabel.Nifti1Image(one.astype(np.float32), np.eye(4))
            image.to_filename(tmp_path / name / f"{name}_{kind}.nii.gz")
    _, records = load_folder(tmp_path, image_size=16)
    kept = {path.partition("#")[0] for path in records.path}
    assert kept == {"no/no_scan.nii.gz", "yes/yes_scan.nii.gz"}
    (text,) = records.warnings
    assert text.startswith("6 files: look like masks or label maps")


def test_where_all_volumes_look_like_labels_they_are_kept(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="needs jaxbrain[medical]")
    for k, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        one = np.zeros((32, 32, 4), np.float32)
        one[8 : 20 + k, 8:20] = 1
        nibabel.Nifti1Image(one, np.eye(4)).to_filename(tmp_path / name / f"{k}.nii")
    data, records = load_folder(tmp_path, image_size=32)
    assert len(data.label) == 8
    assert data.image[0].max() == 255 and data.image[0].min() == 0
    assert "2 files: look like masks" in records.warnings[0] and "kept" in records.warnings[0]
