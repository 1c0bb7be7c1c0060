"""DICOM of many kinds: values of frames, tables, spacing, files without a preamble."""

import io
import warnings

import numpy as np
import pytest

from jaxbrain.data import dicom as dicom_module
from jaxbrain.data import load_folder, medical
from jaxbrain.data.decode import LeftOutError
from jaxbrain.errors import DataError

pydicom = pytest.importorskip("pydicom", reason="needs jaxbrain[medical]")

from test_data_medical import RAMP, dicom, read  # noqa: E402

RNG = np.random.default_rng(0)


def item(**fields):
    one = pydicom.Dataset()
    for name, value in fields.items():
        setattr(one, name, value)
    return one


def group(slope=None, intercept=None, window=None, spacing=None, function=None):
    """A functional group of the macros that are given."""
    found = pydicom.Dataset()
    if slope is not None or intercept is not None:
        value = item(RescaleType="US")
        if slope is not None:
            value.RescaleSlope = slope
        if intercept is not None:
            value.RescaleIntercept = intercept
        found.PixelValueTransformationSequence = [value]
    if window is not None:
        value = item(WindowCenter=window[0], WindowWidth=window[1])
        if function:
            value.VOILUTFunction = function
        found.FrameVOILUTSequence = [value]
    if spacing is not None:
        found.PixelMeasuresSequence = [item(PixelSpacing=list(spacing))]
    return found


def enhanced(frames, own=(), shared=None, **tags):
    if own:
        tags["PerFrameFunctionalGroupsSequence"] = list(own)
    if shared is not None:
        tags["SharedFunctionalGroupsSequence"] = [shared]
    return read(dicom(np.stack(frames), **tags), "all").image


def scaled(values):
    low, high = np.percentile(values, (0.5, 99.5))
    return np.clip((values - low) / (high - low), 0, 1)


def test_each_frame_has_its_own_slope_and_intercept():
    """One picture three times, stored by three rules."""
    rules = [(0.5, 0.0), (2.0, -100.0), (1.0, 40.0)]
    picture = 100.0 + 2.0 * RNG.integers(0, 900, (40, 50))
    stored = [(picture - intercept) / slope for slope, intercept in rules]
    found = enhanced(stored, [group(*rule) for rule in rules])
    for one in found:
        np.testing.assert_allclose(one, scaled(picture), atol=1e-6)
    # What the file says of all frames at once is not theirs.
    again = enhanced(stored, [group(*rule) for rule in rules], RescaleSlope=7, RescaleIntercept=3)
    np.testing.assert_array_equal(again, found)


def test_one_of_the_two_alone_and_shared_groups():
    frames = [RAMP, RAMP + 1000]
    shared = enhanced(frames, shared=group(slope=2.0))
    np.testing.assert_allclose(shared, scaled(2.0 * np.stack(frames)), atol=1e-6)
    # A frame's own group comes before the shared one, macro by macro.
    own = [group(intercept=1000.0), group(window=(500, 100))]
    first, second = enhanced(frames, own, shared=group(window=(1500, 801), slope=3.0))
    want = np.clip((RAMP + 1000.0 - 1499.5) / 800 + 0.5, 0, 1)
    np.testing.assert_allclose(first, want, atol=1e-6)
    want = np.clip((3.0 * (RAMP + 1000.0) - 499.5) / 99 + 0.5, 0, 1)
    np.testing.assert_allclose(second, want, atol=1e-6)


def test_windows_of_frames_and_frames_without():
    frames = [RAMP, RAMP, RAMP[::-1]]
    own = [group(window=(900, 301)), group(window=(100, 51)), group()]
    found = enhanced(frames, own)
    for one, (centre, width) in zip(found, ((900, 301), (100, 51)), strict=False):
        want = np.clip((RAMP - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
        np.testing.assert_allclose(one, want, atol=1e-6)
    np.testing.assert_allclose(found[2], scaled(np.stack(frames))[2], atol=1e-6)
    assert all(
        np.array_equal(one, 1.0 - two)
        for one, two in zip(
            enhanced(frames, own, PhotometricInterpretation="MONOCHROME1"), found, strict=True
        )
    )


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_window_functions(function):
    """PS3.3 C.11.2.1.3 by hand."""
    one = dicom(RAMP, WindowCenter=900, WindowWidth=400, VOILUTFunction=function)
    t = (RAMP - 900.0) / 400.0
    want = np.clip(t + 0.5, 0, 1) if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * t))
    np.testing.assert_allclose(read(one).image[0], want, atol=1e-6)
    with pytest.raises(DataError, match="VOI LUT function without a rule"):
        read(dicom(RAMP, WindowCenter=900, WindowWidth=400, VOILUTFunction="CUBIC"))


def table(values, first: int):
    one = item(LUTDescriptor=[len(values), first, 16])
    one.add_new("LUTData", "US", list(map(int, values)))
    return [one]


def test_tables():
    """A modality table, and a VOI table where there is no window."""
    curve = np.round(60_000 * np.linspace(0, 1, RAMP.size) ** 2)
    one = read(dicom(RAMP, ModalityLUTSequence=table(curve, 0))).image[0]
    np.testing.assert_allclose(one, scaled(curve.reshape(RAMP.shape)), atol=1e-6)
    one = read(dicom(RAMP, VOILUTSequence=table(curve, 0))).image[0]
    np.testing.assert_allclose(one, curve.reshape(RAMP.shape) / 65535, atol=1e-6)
    one = read(dicom(RAMP, VOILUTSequence=table(curve, 0), WindowCenter=9, WindowWidth=5)).image[0]
    np.testing.assert_allclose(one, np.clip((RAMP - 8.5) / 4 + 0.5, 0, 1), atol=1e-6)


def test_groups_that_do_not_fit():
    with pytest.raises(DataError, match="frame 1 has no functional groups: found those of 1"):
        enhanced([RAMP, RAMP], [group(2.0, 0.0)])
    # One fewer sequences than frames is no reason where nobody has any.
    assert len(enhanced([RAMP, RAMP])) == 2


def test_spacing_of_pixels():
    square = read(dicom(RAMP, PixelSpacing=[0.9, 0.9])).image[0]
    assert square.shape == (40, 50)
    wide = read(dicom(RAMP, PixelSpacing=[0.5, 1.0]))
    assert wide.image[0].shape == (40, 100) and "square" in wide.remark
    assert read(dicom(RAMP, PixelAspectRatio=[2, 1])).image[0].shape == (80, 50)
    shared = enhanced([RAMP, RAMP], shared=group(spacing=(1.5, 1.0)))
    assert [one.shape for one in shared] == [(60, 50)] * 2
    with pytest.raises(DataError, match="longer than 4 to 1"):
        read(dicom(RAMP, PixelSpacing=[0.1, 1.0]))


def bare(content: bytes) -> bytes:
    """Without preamble and file meta."""
    return content[144 + int.from_bytes(content[140:144], "little") :]


def test_without_a_preamble(tmp_path):
    content = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-5)
    want = read(content).image[0]
    no_meta = content[:132] + bare(content)
    modality = bare(dicom(RAMP, RescaleSlope=2, RescaleIntercept=-5, Modality="MR"))
    modality = modality[modality.index(b"\x08\x00\x60\x00") :]
    for one in (bare(content), content[132:], no_meta, modality):
        assert medical.kind(one) == "DICOM"
        np.testing.assert_array_equal(read(one).image[0], want)
    # Implicit VR, as old archives have it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        memory = io.BytesIO()
        dataset.save_as(memory, implicit_vr=True, little_endian=True, enforce_file_format=True)
    np.testing.assert_array_equal(read(bare(memory.getvalue())).image[0], want)
    for k, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        pixels = RNG.integers(0, 900, (40, 40))
        (tmp_path / name / "IM1").write_bytes(bare(dicom(pixels, PatientID=str(k))))
        (tmp_path / name / "IM2.dcm").write_bytes(bare(dicom(pixels.T, PatientID=str(k))))
    data, records = load_folder(tmp_path, image_size=16)
    assert set(records.mode) == {"DICOM"} and data.group.tolist() == [0, 0, 1, 1]
    big = b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100" + bytes(40)
    with pytest.raises(DataError, match="DICOM without pixel data"):
        read(big)
    for text in (b"\x08\x00", b"\x08\x00\x05\x00" + b"\xff" * 40, b"words" * 9):
        assert medical.kind(text) is None


def test_what_is_no_picture(tmp_path):
    """A segmentation object, and the list of a medium, are left out with a note."""
    for uid in ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.3.10"):
        with pytest.raises(LeftOutError):
            read(dicom(RAMP, SOPClassUID=uid))
    for name in ("no", "yes"):
        dicom(RNG.integers(0, 900, (40, 40)), tmp_path / name / "1.dcm", PatientID=name)
        dicom(RAMP, tmp_path / name / "2.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    meta_only = dicom(RAMP, drop=["SOPClassUID", "PixelData"])
    old, new = b"1.2.840.10008.5.1.4.1.1.4\0", b"1.2.840.10008.1.3.10".ljust(26, b"\0")
    (tmp_path / "no" / "index.dcm").write_bytes(meta_only.replace(old, new, 1))
    (tmp_path / "DICOMDIR").write_bytes(dicom(RAMP))
    (tmp_path / "yes" / "DICOMDIR;1").write_bytes(dicom(RAMP))
    _, records = load_folder(tmp_path, image_size=16)
    assert records.path == ("no/1.dcm", "yes/1.dcm")
    text = "\n".join(records.notes)
    assert f"{tmp_path}: DICOMDIR 1, left out" in text
    assert "no/2.dcm: a DICOM segmentation: left out" in text
    assert "no/index.dcm: a DICOMDIR, the list of a medium: left out" in text
    for name in ("no", "yes"):
        (tmp_path / name / "1.dcm").unlink()
    with pytest.raises(DataError, match="no image is left: .*a DICOM segmentation: left out"):
        load_folder(tmp_path, image_size=16)


def test_a_package_that_decodes_is_named():
    from pydicom.encaps import encapsulate

    for syntax, package in (("JPEGLSLossless", "libjpeg"), ("HTJ2KLossless", "openjpeg")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
            one.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
            one.PixelData = encapsulate([b"\xff\xd8" + b"\0" * 100])
            one["PixelData"].VR = "OB"
            memory = io.BytesIO()
            one.save_as(memory, enforce_file_format=True)
        with pytest.raises(DataError, match=f"pip install pylibjpeg pylibjpeg-{package}"):
            read(memory.getvalue())


def test_one_id_over_everything(tmp_path):
    for name in ("no", "yes"):
        for i in range(3):
            pixels = RNG.integers(0, 900, (40, 40))
            uid = pydicom.uid.generate_uid()
            path = tmp_path / name / f"{i}.dcm"
            dicom(pixels, path, PatientID="ANONYMOUS", SeriesInstanceUID=uid)
    data, records = load_folder(tmp_path, image_size=16)
    assert len(set(data.group.tolist())) == 1
    assert records.warnings[0].startswith("one id (PatientID) covers all 6 files")
    assert "ANONYMOUS" not in repr(records)
    data, records = load_folder(tmp_path, image_size=16, patients="ignore")
    assert len(set(data.group.tolist())) == 6 and records.warnings == () and records.ids == ()
    # Slices of one series stay together.
    uid = pydicom.uid.generate_uid()
    for i in range(2):
        path = tmp_path / "no" / f"series{i}.dcm"
        dicom(RNG.integers(0, 900, (40, 40)), path, PatientID="A", SeriesInstanceUID=uid)
    data, records = load_folder(tmp_path, image_size=16, patients="ignore")
    assert len(set(data.group.tolist())) == 7


@pytest.mark.parametrize(("centre", "width"), [("nan", 5), (5, "inf")])
def test_windows_that_are_no_numbers(centre, width):
    one = item(PhotometricInterpretation="MONOCHROME2")
    one.WindowCenter, one.WindowWidth = float(centre), float(width)
    with pytest.raises(DataError, match="expected a number"):
        dicom_module.windowed(np.zeros((4, 4)), one, 0)
