"""Whose an image is: file names, `group_by`, and ids that would spoil a split."""

import re

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import load_folder, patients
from jaxbrain.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("yes/patient_07_slice3.png", "7"),
        ("yes/Patient 7.jpg", "7"),
        ("no/pat12-3.png", "12"),
        ("no/subject004_t1.png", "4"),
        ("no/sub-A01_ses-1_T1w.nii.gz", "a01"),
        ("yes/TCGA_CS_4941_19960909_12.tif", "tcga_cs_4941"),
        ("yes/BraTS20_Training_001_flair.nii.gz", "brats20_training_001"),
        ("yes/BraTS-GLI-00000-000-t1n.nii.gz", "brats-gli-00000-000"),
        ("yes/case3_t1ce.nii", "case3"),
        ("yes/Y12.jpg", ""),
        ("no/12 no.jpg", ""),
        ("no/impatient.png", ""),
        ("no/submarine-3.png", ""),
        ("patient_7/3.png", ""),
    ],
)
def test_names(name, who):
    assert patients.of_name(name, None) == who


def test_one_number_in_two_spellings_is_two_patients(tmp_path):
    assert patients.spelled("yes/sub-7.png") == ("BIDS", "7")
    assert patients.spelled("yes/Subject 07.png") == ("patient", "7")
    assert patients.spelled("yes/7.png") is None
    names = ("no/sub-7_a.png", "no/sub-7_b.png", "yes/patient_7.png", "yes/subject_07.png")
    found, records = groups(folder(tmp_path, names))
    assert [found[name] for name in names] == [0, 0, 1, 1]
    assert records.ids == ("file names",)
    assert not any("of several classes" in one for one in records.warnings)


def test_group_by_is_searched_in_the_whole_path():
    pattern = patients.pattern(r"(\w)_s(\d+)")
    assert patients.of_name("yes/a_s12.png", pattern) == "a/12"
    assert patients.of_name("yes/patient_7.png", pattern) == ""
    assert patients.of_name("yes/3/4.png", patients.pattern(r"yes/\d")) == "yes/3"
    with pytest.raises(ConfigError, match=r"group_by '\(': no regular expression"):
        patients.pattern("(")


def folder(root, names):
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 20), np.uint8)).save(path)
    return root


def groups(root, **options):
    data, records = load_folder(root, image_size=16, **options)
    numbers = dict(zip(records.path, data.group.tolist(), strict=True))
    return numbers, records


def test_images_of_one_patient_are_one_group(tmp_path):
    names = (
        "no/patient_1_a.png",
        "no/patient_01_b.png",
        "no/x.png",
        "yes/patient_2.png",
        "yes/y.png",
    )
    found, records = groups(folder(tmp_path, names))
    assert found["no/patient_1_a.png"] == found["no/patient_01_b.png"]
    assert len(set(found.values())) == 4
    assert records.ids == ("file names",)
    found, records = groups(tmp_path, patients="ignore")
    assert len(set(found.values())) == 5 and records.ids == ()
    found, records = groups(tmp_path, group_by=r"/([xyp])")
    # x, y, and everything of patients.
    assert len(set(found.values())) == 3 and records.ids == ("--group-by",)
    assert any("of several classes" in one for one in records.warnings)


@pytest.mark.parametrize("option", [{"patients": "some"}, {"group_by": "["}])
def test_refused_options(tmp_path, option):
    with pytest.raises(ConfigError, match=re.escape(next(iter(option)))):
        load_folder(folder(tmp_path, ("no/a.png", "yes/b.png")), image_size=16, **option)


def test_warnings():
    rows = [(f"yes/{i}", 1, 0, "PatientID") for i in range(3)]
    (one,) = patients.warnings(rows + [("no/0", 0, 0, "PatientID")], ("no", "yes"))
    assert one.startswith("one id (PatientID) covers all 4 files: --patients ignore")
    (one,) = patients.warnings(rows + [("no/0", 0, 1, "PatientID")], ("no", "yes"))
    assert one.startswith("one id (PatientID) covers all 3 files of class yes")
    more = [("yes/9", 1, 2, "PID"), ("no/0", 0, 2, "PID"), ("no/1", 0, 3, "PID")]
    (one,) = patients.warnings(rows + more, ("no", "yes"))
    assert one.startswith("1 ids (PID) have files of several classes, the first is that of no/0")
    # The remedy is one that helps.
    series = [(f"{k}/{i}", k, 0, "series") for k in (0, 1) for i in range(3)]
    (one,) = patients.warnings(series, ("no", "yes"))
    assert (
        one == "one id (series) covers all 6 files: --group-by REGEX groups by file names instead"
    )
    asked = [row[:3] + ("--group-by",) for row in series]
    (one,) = patients.warnings(asked, ("no", "yes"))
    assert one.endswith("covers all 6 files: another expression tells them apart")
    # Slices of one volume are no patient that anything names.
    assert patients.warnings([("no/0", 0, 0, "file")] * 5, ("no", "yes")) == []
    apart = [(f"yes/{i}", 1, i, "PatientID") for i in range(3)]
    assert patients.warnings(apart + [("no/0", 0, 7, "PatientID")], ("no", "yes")) == []


def test_a_group_by_that_matches_little_is_said(tmp_path):
    names = [
        f"{name}/patient_{i}_{part}.png" for name in ("no", "yes") for i in "12" for part in "ab"
    ]
    root = folder(tmp_path, names)
    for regex, count in (("zzz", 0), ("no/patient_(.)", 4)):
        _, records = groups(root, group_by=regex)
        (text,) = [one for one in records.warnings if one.startswith("--group-by")]
        assert text.startswith(f"--group-by matches {count} of 8 files")
    _, records = groups(root, group_by=r"(\w+/patient_.)")
    assert not any(one.startswith("--group-by") for one in records.warnings)
