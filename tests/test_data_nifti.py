"""Volumes: what they are padded with, how much brain a slice holds, voxels of any shape."""

import gzip

import numpy as np
import pytest

from jaxbrain.data import load_folder, nifti
from jaxbrain.errors import DataError

nibabel = pytest.importorskip("nibabel", reason="needs jaxbrain[medical]")

from test_data_medical import read  # noqa: E402

Y, X = np.mgrid[:48, :48] - 24


def inside(radius=(18, 20), empty=3, depth=10) -> np.ndarray:
    """[48, 48, depth] bool: an ellipse in all slices but the first and last `empty`."""
    one = (Y / radius[0]) ** 2 + (X / radius[1]) ** 2 < 1
    volume = np.repeat(one[..., None], depth, axis=2)
    volume[..., :empty] = volume[..., depth - empty :] = False
    return volume


def brain(mean: float, spread: float) -> np.ndarray:
    return np.random.default_rng(1).normal(mean, spread, (48, 48, 10))


def packed(volume, spacing=(1, 1, 1)) -> bytes:
    image = nibabel.Nifti1Image(np.asarray(volume, np.float32), np.diag([*spacing, 1.0]))
    return gzip.compress(image.to_bytes())


@pytest.mark.parametrize("outside", [0.0, -1.0, -5.0, 9.0, -1024.0, 255.0, np.nan])
def test_padding_says_nothing(outside):
    """Standardised values on any background: the same slices, the same pictures."""
    values = brain(0, 1)
    found = read(packed(np.where(inside(), values, outside)))
    assert found.name == [f"#z{z:03d}" for z in range(3, 7)]
    low, high = np.percentile(np.float32(values[inside()]), (0.5, 99.5))
    want = np.where(inside(), np.clip((values - low) / (high - low), 0, 1), 0)
    for z, picture in zip(range(3, 7), found.image, strict=True):
        np.testing.assert_allclose(picture, want[::-1, ::-1, z].T, atol=1e-4)


def shares(volume) -> list[float]:
    return nifti.brain(np.asarray(volume, np.float32))[1].round(2).tolist()


def test_how_much_brain():
    area = inside().mean(axis=(0, 1)).round(2).tolist()
    noise = np.abs(np.random.default_rng(2).normal(0, 5, (48, 48, 10)))
    # Whole numbers, so that parts of the brain have the background's value: at its border
    # they cannot be told from it.
    found = shares(np.where(inside(), np.round(brain(0, 2)), 0))
    np.testing.assert_allclose(found, area, atol=0.02)
    assert shares(np.where(inside(), 100, 0)) == area
    assert shares(np.where(inside(), brain(300, 30), 0)) == area
    # As it was measured, with air around: a tenth of the range, as ever.
    assert shares(noise + inside() * brain(300, 30)) == area
    # Air, cut to a circle, and filled up from there with 0 or with less.
    circle = np.repeat((X**2 + Y**2 < 23**2)[..., None], 10, axis=2)
    assert shares(np.where(circle, noise + inside() * brain(300, 30), 0)) == area
    assert shares(np.where(circle, np.where(inside(), brain(40, 9), noise - 1000), -2000)) == area
    # A background in the middle of the range, not quite of one value.
    found = shares(np.where(inside(), brain(0, 1), 0) + 1e-3 * noise)
    np.testing.assert_allclose(found, area, atol=0.02)
    assert shares(np.zeros((20, 20, 4))) == [0.0] * 4


def test_black_stays_black():
    """A volume of 0 and more keeps 0 as black; two values are black and white."""
    scaled, _ = nifti.brain(np.where(inside(), brain(100, 2), 0).astype(np.float32))
    assert 0.8 < scaled[inside()].min() and scaled[~inside()].max() == 0
    scaled, _ = nifti.brain(inside().astype(np.float32))
    np.testing.assert_array_equal(scaled, inside())


def test_standardised_volumes_in_a_folder(tmp_path):
    for k, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        for i in range(2):
            values = np.random.default_rng(2 * k + i).normal(0, 1, (48, 48, 10))
            content = packed(np.where(inside(), values, 0))
            (tmp_path / name / f"{i}.nii.gz").write_bytes(content)
    data, records = load_folder(tmp_path, image_size=24)
    assert len(data.label) == 16 and records.warnings == ()


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        ((2, 2, 9), (48, 48)),
        ((4, 2, 1), (48, 96)),
        ((1, 1.5, 1), (72, 48)),
        ((1, 1.005, 1), (48, 48)),
    ],
)
def test_voxels_are_made_square(spacing, shape):
    """Rows go along y, columns along x."""
    volume = np.where(inside(empty=0), brain(100, 5), 0)
    found = read(packed(volume, spacing))
    assert {picture.shape for picture in found.image} == {shape}
    assert bool(found.remark) == (shape != (48, 48))


def test_thick_and_thin_voxels_show_one_head():
    volume = np.where(inside(empty=0), brain(100, 5), 0)
    fine, thick = (
        read(packed(one, spacing)).image[4] > 0.5
        for one, spacing in ((volume, (2, 2, 2)), (volume[::2], (4, 2, 2)))
    )
    for axis in (0, 1):
        one, two = (head.any(axis=axis).sum() for head in (fine, thick))
        assert abs(int(one) - int(two)) <= 2


def test_turned_axes_take_their_spacing_along():
    volume = np.where(inside(empty=0), brain(100, 5), 0).astype(np.float32)
    image = nibabel.Nifti1Image(volume, np.diag([4.0, 2.0, 1.0, 1.0]))
    wanted = nibabel.orientations.axcodes2ornt("SPL")
    start = nibabel.orientations.io_orientation(image.affine)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(start, wanted))
    one, two = (read(i.to_bytes()) for i in (image, turned))
    assert one.image[0].shape == (48, 96)
    np.testing.assert_allclose(one.image, two.image, atol=1e-6)


def test_spacing_that_makes_no_picture():
    volume = np.where(inside(empty=0), brain(100, 5), 0)
    with pytest.raises(DataError, match="longer than 4 to 1"):
        read(packed(volume, (9, 1, 1)))


def test_scaled_whole_numbers_are_what_they_stand_for():
    """0, stored as a number that slope and intercept make 0 but for rounding, is black."""
    values = np.where(inside(empty=0), brain(300, 40), 0)
    image = nibabel.Nifti1Image(np.round((values - 100) / 0.01 / 4).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.04, 100)
    one, two = read(image.to_bytes()), read(packed(values))
    np.testing.assert_allclose(one.image, two.image, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_headers_without_a_spacing(value):
    """Read as they are stored, and said so."""
    image = nibabel.Nifti1Image(np.where(inside(empty=0), brain(100, 5), 0).astype("f4"), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    content = bytearray(image.to_bytes())
    content[80:84], content[84:88] = np.float32(value).tobytes(), np.float32(2).tobytes()
    found = read(bytes(content))
    assert found.image[0].shape == (48, 48) and "taken as it is stored" in found.remark
