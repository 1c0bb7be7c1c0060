"""Images whose classes are not asked for: files, folders, archives, and what is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import load_folder
from jaxbrain.data.collect import Options
from jaxbrain.data.unlabelled import read
from jaxbrain.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Class folders, one picture in both of them, which a training would refuse."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(("no/1.png", "no/2.png", "yes/10.png", "yes/9.png")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        grey = rng.integers(0, 255, (30 + i, 20), np.uint8)
        Image.fromarray(grey).save(tmp_path / "in" / name)
    return tmp_path / "in"


HOW = Options(image_size=16, crop="head", square="pad")


def test_they_are_read_as_a_training_reads_them(folder):
    data, records = load_folder(folder, image_size=16, crop="head", square="pad")
    found = read([folder], HOW)
    assert found.path == tuple(f"{folder}/{path}" for path in records.path)
    assert found.digest == records.digest and not found.bad
    assert (found.image == data.image).all()
    one = read([folder / "yes" / "10.png"], HOW)
    assert one.path == (f"{folder}/yes/10.png",)
    assert (one.image[0] == data.image[records.path.index("yes/10.png")]).all()


def test_classes_do_not_count(folder, tmp_path):
    shutil.copy(folder / "no" / "1.png", folder / "yes" / "same.png")
    with pytest.raises(DataError, match="the same picture"):
        load_folder(folder)
    assert len(read([folder], HOW).path) == 5
    # One class alone, images alone, and an archive of them.
    assert len(read([folder / "no"], HOW).path) == 2
    packed = shutil.make_archive(str(tmp_path / "packed"), "tar", folder / "no")
    assert read([packed], HOW).path == (f"{packed}/1.png", f"{packed}/2.png")
    several = read([folder / "yes" / "9.png", folder / "no"], HOW)
    assert several.path[0].endswith("yes/9.png") and len(several.image) == 3


def test_every_page_is_an_image(tmp_path):
    rng = np.random.default_rng(1)
    pages = [Image.fromarray(rng.integers(0, 255, (20, 20), np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "film.tif", save_all=True, append_images=pages[1:])
    found = read([tmp_path / "film.tif"], Options(image_size=16, frames="all"))
    assert found.path == tuple(f"{tmp_path}/film.tif#{i}" for i in range(3))
    ((path, reason),) = read([tmp_path / "film.tif"], HOW).bad
    assert path == f"{tmp_path}/film.tif" and reason.startswith("3 frames: expected a single")


def test_what_cannot_be_used_is_listed(folder, tmp_path):
    (folder / "no" / "text.png").write_text("text")
    (tmp_path / "empty").mkdir()
    shutil.copy(folder / "no" / "1.png", tmp_path / "loose.png")
    (tmp_path / "mixed").mkdir()
    shutil.copy(folder / "no" / "1.png", tmp_path / "mixed" / "1.png")
    shutil.copytree(folder / "no", tmp_path / "mixed" / "no")
    found = read([folder, tmp_path / "gone", tmp_path / "empty", tmp_path / "mixed"], HOW)
    assert len(found.path) == 4
    bad = dict(found.bad)
    assert bad[f"{folder}/no/text.png"].startswith("not an image that can be read")
    assert bad[f"{tmp_path}/gone"] == "does not exist"
    expected = "expected images directly in it, or in folders directly in it (not both)"
    assert bad[f"{tmp_path}/empty"] == f"no images and no class folders in it: {expected}"
    assert bad[f"{tmp_path}/mixed"] == f"1 images outside any class folder: {expected}"
    with pytest.raises(DataError, match=r"4 of the images cannot be used \(mend .*; more\)"):
        found.refuse_bad("more")
    with pytest.raises(DataError, match="no image is named"):
        read([], HOW)
