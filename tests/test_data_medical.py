"""DICOM, NIfTI and Cheng's files: grey levels by hand, groups, and nothing personal."""

import contextlib
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from jaxbrain.data import load_folder, medical
from jaxbrain.errors import DataError

pydicom = pytest.importorskip("pydicom", reason="needs jaxbrain[medical]")
nibabel = pytest.importorskip("nibabel", reason="needs jaxbrain[medical]")
h5py = pytest.importorskip("h5py", reason="needs jaxbrain[medical]")

NAME = "DOE"


def dicom(pixels: np.ndarray, path: Path | None = None, drop=(), **tags) -> bytes:
    """A DICOM file of 16-bit pixels, with a name and a birthday in it."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    one.PatientName, one.PatientBirthDate = f"{NAME}^JANE", "19700101"
    one.PatientID, one.InstitutionName = f"{NAME}-17", f"{NAME} clinic"
    one.Rows, one.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        one.NumberOfFrames = len(pixels)
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.BurnedInAnnotation = "NO"
    one.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(one, name, value)
    for name in drop:
        delattr(one, name)
    memory = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.save_as(memory, enforce_file_format=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(memory.getvalue())
    return memory.getvalue()


RAMP = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def read(content: bytes, frames: str = "error", brain: float = 0.1):
    return medical.read(content, frames, brain)


def test_window_and_rescale():
    """PS3.3 C.11.2.1.2 by hand: rescaled values 2 v - 100, window 900 around 700."""
    content = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=700, WindowWidth=900)
    assert medical.kind(content) == "DICOM"
    found = read(content)
    values = 2.0 * RAMP - 100.0
    want = np.clip((values - 699.5) / 899 + 0.5, 0, 1)
    np.testing.assert_allclose(found.image[0], want, atol=1e-6)
    assert found.image[0].dtype == np.float32
    assert (found.name, found.mode, found.note) == ([""], "DICOM", "")
    # Of several windows the first.
    many = dicom(
        RAMP, WindowCenter=[700, 10], WindowWidth=[900, 5], RescaleSlope=2, RescaleIntercept=-100
    )
    np.testing.assert_allclose(read(many).image[0], want, atol=1e-6)
    # Without one, percentiles.
    low, high = np.percentile(RAMP, (0.5, 99.5))
    want = np.clip((RAMP - low) / (high - low), 0, 1)
    np.testing.assert_allclose(read(dicom(RAMP)).image[0], want, atol=1e-6)


def test_monochrome1_is_inverted():
    one, two = (read(dicom(RAMP, PhotometricInterpretation=f"MONOCHROME{k}")) for k in (1, 2))
    np.testing.assert_allclose(one.image[0], 1.0 - two.image[0], atol=1e-6)
    assert one.image[0][0, 0] == 1.0


def test_frames():
    content = dicom(np.stack([RAMP, RAMP[::-1], RAMP]))
    with pytest.raises(DataError, match="3 frames"):
        read(content)
    assert len(read(content, "first").image) == 1
    found = read(content, "all")
    assert found.name == ["#0", "#1", "#2"]
    np.testing.assert_array_equal(found.image[0], found.image[2])
    np.testing.assert_array_equal(found.image[1], found.image[0][::-1])


def test_frames_of_one_file_stay_together(tmp_path):
    """Even where the file does not say whose they are."""
    for k, name in enumerate(("no", "yes")):
        for i in range(2):
            pixels = np.random.default_rng(2 * k + i).integers(0, 4000, (3, 40, 50))
            dicom(pixels, path=tmp_path / name / f"{i}.dcm", drop=["PatientID"])
    data, _ = load_folder(tmp_path, image_size=16, frames="all")
    assert data.group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_bad_dicom():
    with pytest.raises(DataError, match="without pixel data"):
        read(dicom(RAMP, drop=["PixelData"]))
    with pytest.raises(DataError, match="damaged DICOM pixel data"):
        read(dicom(RAMP, Rows=60_000, Columns=1_000))
    with pytest.raises(DataError, match="more than 64000000 pixels"):
        read(dicom(RAMP, Rows=60_000, Columns=60_000))
    with pytest.raises(DataError, match="less than 16 a side"):
        read(dicom(RAMP[:8, :40]))
    content = dicom(RAMP)
    for size in (150, 400, len(content) - 500):
        with pytest.raises(DataError):
            read(content[:size])


def test_compressed_without_a_decoder():
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
        one.file_meta.TransferSyntaxUID = JPEGLSLossless
        one.PixelData = encapsulate([b"\xff\xd8" + b"\0" * 100])
        one["PixelData"].VR = "OB"
        memory = io.BytesIO()
        one.save_as(memory, enforce_file_format=True)
    with pytest.raises(DataError, match="compressed as JPEG-LS Lossless.*no decoder"):
        read(memory.getvalue())


def test_only_listed_tags_are_read():
    from unittest import mock

    with mock.patch.object(pydicom, "dcmread", wraps=pydicom.dcmread) as reader:
        read(dicom(RAMP))
    assert reader.call_args.kwargs["specific_tags"] == list(medical.TAGS)
    assert "force" not in reader.call_args.kwargs
    assert not {"PatientName", "PatientBirthDate", "InstitutionName"} & set(medical.TAGS)


def fill_dicom(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for k, name in enumerate(("no", "yes")):
        for patient in range(3):
            for i in range(2):
                pixels = rng.integers(0, 4000, (40, 40))
                who = f"{NAME}-{k}{patient}"
                dicom(pixels, root / name / f"{patient}_{i}.dcm", PatientID=who)
    return root


def test_patients_are_groups_and_nothing_personal_is_left(tmp_path):
    """The whole of `inspect`, and a cache: no name in any file or line."""
    root = fill_dicom(tmp_path / "set")
    dicom(RAMP, root / "no" / "burned.dcm", PatientID=f"{NAME}-00", drop=["BurnedInAnnotation"])
    (root / "yes" / "bad.dcm").write_bytes(dicom(RAMP)[:-900])
    with pytest.raises(DataError) as caught:
        load_folder(root, image_size=16, cache_folder=tmp_path / "cache")
    assert "bad.dcm: damaged" in str(caught.value) and NAME not in str(caught.value)
    (root / "yes" / "bad.dcm").unlink()
    data, records = load_folder(root, image_size=16, cache_folder=tmp_path / "cache")
    assert set(records.mode) == {"DICOM"}
    group = dict(zip(records.path, data.group.tolist(), strict=True))
    assert group["no/0_0.dcm"] == group["no/0_1.dcm"] == group["no/burned.dcm"]
    assert len(set(group.values())) == 6
    assert any("1 files: may have text burned" in note for note in records.notes)
    command = [sys.executable, "-m", "jaxbrain", "inspect", str(root)]
    command += ["--sheet", str(tmp_path / "out" / "sheet.png")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["counts"] == {"no": 7, "yes": 6}
    written = [done.stdout.encode(), done.stderr.encode(), repr(records).encode()]
    for folder in (tmp_path / "cache", tmp_path / "out"):
        written += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(written) == 5
    assert all(NAME.encode() not in content for content in written)
    # The caught error had no chain that a log could print.
    assert caught.value.__cause__ is None


def test_dicom_without_a_name_that_says_so(tmp_path):
    root = fill_dicom(tmp_path / "set")
    (root / "no" / "0_0.dcm").rename(root / "no" / "IM0001")
    (root / "yes" / "0_0.dcm").rename(root / "yes" / "1.2.840.113")
    (root / "yes" / "LICENSE").write_text("words")
    data, records = load_folder(root, image_size=16)
    assert len(data.label) == 12
    assert {"no/IM0001", "yes/1.2.840.113"} <= set(records.path)


def volume() -> np.ndarray:
    """A ball off the centre, brighter in front, in axes right, front, up."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in (40, 48, 20)), indexing="ij")
    ball = (x - 15) ** 2 + (y - 24) ** 2 + (2 * (z - 10)) ** 2 < 144
    return np.where(ball, 100.0 + 4 * y, 0.0).astype(np.float32)


def nifti(array: np.ndarray, affine=None) -> bytes:
    return nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine).to_bytes()


def test_axial_slices():
    import gzip

    array = volume()
    content = nifti(array)
    assert medical.kind(content) == medical.kind(gzip.compress(content)) == "NIfTI"
    found = read(content)
    share = (array > 0.1 * np.percentile(array, 99.5)).mean(axis=(0, 1))
    chosen = np.flatnonzero(share >= 0.1)
    assert found.name == [f"#z{z:03d}" for z in chosen] and len(chosen) < 20
    assert found.image[0].shape == (48, 40)
    # Rows go from front to back; the front is brighter. The ball, right of the middle in
    # none of its slices, is seen on the picture's right (its left is the patient's right).
    middle = found.image[len(chosen) // 2]
    rows = middle.max(axis=1)
    assert rows[:24].max() > rows[24:].max()
    assert middle[:, 20:].sum() > middle[:, :20].sum()
    np.testing.assert_array_equal(read(gzip.compress(content)).image[0], found.image[0])


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SAL"])
def test_orientations_are_one(codes):
    image = nibabel.Nifti1Image(volume(), np.eye(4))
    wanted = nibabel.orientations.axcodes2ornt(codes)
    start = nibabel.orientations.io_orientation(image.affine)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(start, wanted))
    assert turned.shape != image.shape or codes == "LPS"
    one, two = read(image.to_bytes()), read(turned.to_bytes())
    assert one.name == two.name
    for a, b in zip(one.image, two.image, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_bad_nifti():
    import gzip

    array = volume()
    array[3, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        read(nifti(array))
    with pytest.raises(DataError, match="40x48x20x2: expected three axes"):
        read(nifti(np.stack([volume()] * 2, axis=-1)))
    huge = nibabel.Nifti1Image(volume(), np.eye(4))
    content = bytearray(huge.to_bytes())
    content[42:48] = np.array([30_000] * 3, "<i2").tobytes()
    with pytest.raises(DataError, match="27000000000000 voxels, more than"):
        read(bytes(content))
    content[42:48] = np.array([500] * 3, "<i2").tobytes()
    with pytest.raises(DataError, match="truncated"):
        read(bytes(content))
    packed = gzip.compress(nifti(volume()))
    with pytest.raises(DataError):
        read(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="voxels of type complex64"):
        read(nifti(volume().astype(np.complex64)))
    far = bytearray(nifti(volume()))
    far[108:112] = np.float32(1e12).tobytes()
    with pytest.raises(DataError, match="voxels from byte .* expected within"):
        read(gzip.compress(bytes(far)))
    with pytest.raises(DataError, match="no slice of it is 100 % brain"):
        read(nifti(volume()), brain=1.0)


def test_volumes_are_groups(tmp_path):
    for k, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        for i in range(2):
            array = volume() * np.random.default_rng(2 * k + i).uniform(0.5, 1, (40, 48, 20))
            (tmp_path / name / f"case{i}.nii").write_bytes(nifti(array.astype(np.float32)))
    data, records = load_folder(tmp_path, image_size=16)
    assert len(np.unique(data.group)) == 4
    assert records.path[0].startswith("no/case0.nii#z")
    assert len(data.label) == len(set(records.path)) > 20


def test_without_the_extra(tmp_path, monkeypatch):
    fill_dicom(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"needs pydicom: pip install 'jaxbrain\[medical\]'"):
        load_folder(tmp_path)


def test_a_packed_volume_is_inflated_to_its_header_only():
    """What stands behind it is never in memory."""
    import gzip
    import tracemalloc

    packed = gzip.compress(nifti(volume()) + bytes(300_000_000), compresslevel=1)
    tracemalloc.start()
    found = read(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000
    np.testing.assert_array_equal(found.image[0], read(nifti(volume())).image[0])


def test_loggers_do_not_quote_what_a_file_says(caplog, capfd):
    """pydicom warns of a malformed number with the text that stands there."""
    content = dicom(RAMP)
    at = content.index(b"US", content.index(b"\x28\x00\x10\x00"))
    broken = content[:at] + b"IS" + b"\x04\x00" + b"DOE^" + content[at + 6 :]
    with caplog.at_level("DEBUG"):
        with contextlib.suppress(DataError):
            read(broken)
        with pytest.raises(DataError) as caught:
            read(dicom(RAMP).replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.DOE.8.1.2.1\x00"))
    assert NAME not in str(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_deflated_files_are_refused():
    """Before anything of them is inflated."""
    content = dicom(RAMP).replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99")
    content = content.replace(
        b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99"
    )
    with pytest.raises(DataError, match="deflated as a whole"):
        read(content)


def test_deep_colour():
    pixels = np.repeat(RAMP[..., None], 3, axis=2)
    content = dicom(
        pixels[..., 0],
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsStored=12,
        HighBit=11,
        PixelData=pixels.astype("<u2").tobytes(),
    )
    found = read(content).image[0]
    np.testing.assert_allclose(found, RAMP / 4095.0, atol=1e-6)
