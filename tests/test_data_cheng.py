"""Cheng's MATLAB files: labels and patients are their own, links are refused."""

from pathlib import Path

import numpy as np
import pytest

from jaxbrain.data import load_folder, medical
from jaxbrain.errors import DataError

h5py = pytest.importorskip("h5py", reason="needs jaxbrain[medical]")

NAME = "DOE"


def read(content: bytes):
    return medical.read(content, "error", 0.1)


def cheng(path: Path, label: int, patient: str, seed: int, **more) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        group["label"] = np.array([[float(label)]])
        group["PID"] = np.array([[ord(c)] for c in patient], np.uint16)
        group["image"] = rng.integers(0, 3000, (40, 48)).astype(np.int16)
        for name, value in more.items():
            del group[name]
            group[name] = value


def test_chengs_set(tmp_path):
    """Labels and patients from the files; arrays are turned, MATLAB stores by columns."""
    for i in range(6):
        cheng(tmp_path / "set" / "part" / f"{i}.mat", 1 + i % 3, f"{NAME}{i // 3}", i)
    (tmp_path / "set" / "part" / "cvind.mat").write_bytes(b"folds")
    data, records = load_folder(tmp_path / "set", image_size=16)
    assert records.class_names == ("glioma", "meningioma", "pituitary")
    assert records.layout == "Cheng's set"
    assert data.label.tolist() == [1, 0, 2, 1, 0, 2]
    assert data.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert records.size[0] == (40, 48)
    assert NAME not in repr(records)


def test_bad_cheng(tmp_path):
    cheng(tmp_path / "a.mat", 7, "1", 0)
    with pytest.raises(DataError, match="label is 7: expected 1, 2 or 3"):
        read((tmp_path / "a.mat").read_bytes())
    cheng(tmp_path / "b.mat", 1, "1", 0, image=h5py.ExternalLink("/etc/passwd", "/x"))
    with pytest.raises(DataError, match=r"cjdata\.image is missing or a link"):
        read((tmp_path / "b.mat").read_bytes())
    with h5py.File(tmp_path / "c.mat", "w", userblock_size=512) as file:
        file["other"] = np.zeros(3)
    with pytest.raises(DataError, match="without cjdata"):
        read((tmp_path / "c.mat").read_bytes())


@pytest.mark.parametrize("wrapper", ["", "wrapped"])
def test_chengs_set_in_a_wrapper(tmp_path, wrapper):
    for i in range(6):
        folder = tmp_path / "set" / wrapper / f"brainTumorDataPublic_{i % 2}"
        cheng(folder / f"{i}.mat", 1 + i % 3, f"{i}", i)
    _, records = load_folder(tmp_path / "set", image_size=16)
    assert records.class_names == ("glioma", "meningioma", "pituitary")


def test_chengs_files_that_contradict_their_folder(tmp_path):
    for i in range(4):
        name = ("meningioma", "pituitary")[i % 2]
        cheng(tmp_path / "set" / name / f"{i}.mat", (1, 3)[i % 2], f"{i}", i)
    load_folder(tmp_path / "set", image_size=16)
    cheng(tmp_path / "set" / "meningioma" / "9.mat", 2, "9", 9)
    with pytest.raises(DataError, match=r"9\.mat: in meningioma: it says itself glioma"):
        load_folder(tmp_path / "set", image_size=16)


def test_chengs_set_without_a_class(tmp_path):
    for i in range(4):
        cheng(tmp_path / "set" / f"{i}.mat", 1 + i % 2, f"{i}", i)
    with pytest.raises(DataError, match="glioma 2, meningioma 2, pituitary 0: expected images"):
        load_folder(tmp_path / "set", image_size=16)


def test_numbers_that_are_not_real_are_refused(tmp_path):
    cheng(tmp_path / "a.mat", 1, "1", 0, image=np.ones((40, 40), np.complex64))
    with pytest.raises(DataError, match=r"cjdata\.image holds no real numbers"):
        read((tmp_path / "a.mat").read_bytes())
    cheng(tmp_path / "b.mat", 1.5, "1", 0)
    with pytest.raises(DataError, match=r"cjdata\.label is 1\.5"):
        read((tmp_path / "b.mat").read_bytes())
    cheng(tmp_path / "c.mat", 1, "1", 0, PID=np.zeros((1, 100_000), np.uint16))
    with pytest.raises(DataError, match=r"cjdata\.PID has more than 64 elements"):
        read((tmp_path / "c.mat").read_bytes())
