"""Masks and label maps among images: seen by what they hold, left out or warned of."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxbrain.data import load_folder, masks
from jaxbrain.data.decode import pictures
from jaxbrain.errors import DataError

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
    assert masks.is_label_volume(np.repeat(blobs(levels)[..., None], 3, axis=2))


def test_images_are_not():
    assert not masks.looks_like_labels(scan())
    # Few levels alone make no label map: a scan in 16 greys is noisy.
    noisy = np.round((blobs(3) * 4 + RNG.normal(0, 1.5, (64, 64))).clip(0, 15))
    assert not masks.looks_like_labels(noisy)
    # Nearly black, nearly empty, and a scan whose window is narrow.
    dark = np.zeros((64, 64))
    dark[20:30, 20:30] = RNG.uniform(0, 255, (10, 10))
    assert not masks.looks_like_labels(dark)
    assert not masks.looks_like_labels(RNG.normal(8, 3, (64, 64)).clip(0, 255))
    assert not masks.looks_like_labels((scan() * 3.0 - 200).clip(0, 255))


@pytest.mark.parametrize("outside", [0, -100, -1024, 1000])
def test_volumes_that_are_no_label_maps(outside):
    """However far from the brain its background lies."""
    inside = np.repeat(ndimage.binary_erosion(np.ones((48, 48)), iterations=10)[..., None], 6, 2)
    for mean, spread in ((0, 1), (30, 8), (1054, 8)):
        values = np.where(inside, RNG.normal(mean, spread, inside.shape), outside)
        assert not masks.is_label_volume(values.astype(np.float32))
        if spread > 1:
            assert not masks.is_label_volume(np.where(inside, values + 500, 0).round())


def test_thin_regions_of_a_volume():
    """Tissue of a few whole numbers in bits of few voxels."""
    coarse = np.kron(RNG.integers(0, 5, (16, 16, 3)), np.ones((3, 3, 1)))
    assert masks.is_label_volume(coarse) and masks.is_label_volume(coarse[::2])
    assert not masks.is_label_volume(coarse + 0.5 * RNG.uniform(size=coarse.shape).round(1))


def test_masks_that_were_stored_with_losses():
    y, x = np.mgrid[:256, :256] - 128
    discs = [(y**2 + x**2 < radius**2) * 255.0 for radius in (12, 30, 90)]
    for quality in (60, 75, 95):
        for mask in [255 * blobs(2), *discs]:
            for form in ("JPEG", "WEBP"):
                memory = io.BytesIO()
                Image.fromarray(mask.astype(np.uint8)).save(memory, form, quality=quality)
                found = pictures(memory.getvalue())
                assert len(np.unique(found.image[0])) > 5 and found.labels
        memory = io.BytesIO()
        Image.fromarray(scan()).save(memory, "JPEG", quality=quality)
        assert not pictures(memory.getvalue()).labels


def test_names():
    for name in ("Y1_mask.png", "sub-1_dseg.nii.gz", "TumorSegmentation.png", "x-GT.png"):
        assert masks.named_like_one(name), name
    for name in ("unmasked1.png", "Y1.png", "labelled.png"):
        assert not masks.named_like_one(name), name


def save(root, files: dict[str, np.ndarray]):
    for name, pixels in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)


def test_masks_beside_pictures(tmp_path):
    """Named as one and made as one: left out. Made as one alone: kept, and warned of."""
    files = {f"{name}/{i}.png": scan() for name in ("no", "yes") for i in range(2)}
    files |= {f"yes/{i}_mask.png": 255 * blobs(2) for i in range(2)}
    # Of a slice without a lesion the mask is black, in both classes.
    files |= {f"{name}/mask_{i}.png": np.zeros((64, 64)) for name in ("no", "yes") for i in (7, 8)}
    files |= {"yes/drawing.png": 255 * blobs(2), "no/mask_001.png": scan()}
    save(tmp_path, files)
    _, records = load_folder(tmp_path, image_size=16)
    black = {f"{name}/mask_{i}.png" for name in ("no", "yes") for i in (7, 8)}
    assert set(files) - set(records.path) == {"yes/0_mask.png", "yes/1_mask.png"} | black
    text = "\n".join(records.warnings)
    assert "6 files: look like masks or label maps" in text and "left out" in text
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


def test_a_class_of_masks_alone(tmp_path):
    """What became of the files is said where none is left."""
    files = {f"no/{i}.png": scan() for i in range(3)}
    save(tmp_path, files | {f"yes/{i}_mask.png": 255 * blobs(2) for i in range(3)})
    with pytest.raises(DataError, match=r"no 3, yes 0: .*3 files: look like masks.*left out"):
        load_folder(tmp_path, image_size=16)
    save(tmp_path / "all", {f"{k}/{i}_mask.png": 255 * blobs(2) for k in "ab" for i in range(2)})
    with pytest.raises(DataError, match="all: no image is left: 4 files: look like masks"):
        load_folder(tmp_path / "all", image_size=16)


def test_label_volumes_without_a_slice_are_listed(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="needs jaxbrain[medical]")
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        for i, side in enumerate((3, 20)):
            one = np.zeros((32, 32, 4), np.float32)
            one[:side, : side + (name == "yes")] = 1
            nibabel.Nifti1Image(one, np.eye(4)).to_filename(tmp_path / name / f"{i}.nii")
    with pytest.raises(DataError, match="2 of 4 files cannot be used") as caught:
        load_folder(tmp_path, image_size=32)
    assert str(caught.value).count("0.nii: no slice of it holds enough brain") == 2
