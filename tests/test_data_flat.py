"""Folders of images without classes, which an audit takes."""

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import load_data
from jaxbrain.errors import DataError


def write(folder, count, start=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(start)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (20, 24), np.uint8)).save(folder / f"{number}.png")


def test_one_class_is_enough(tmp_path):
    write(tmp_path / "flat", 3)
    (tmp_path / "flat" / "provenance.json").write_text("{}")
    data, records = load_data(tmp_path / "flat", image_size=16, flat=True)
    assert data.image.shape == (3, 16, 16, 1) and data.label.tolist() == [0, 0, 0]
    assert records.class_names == ("images",) and records.layout == "one folder of images"
    assert any("provenance.json" in note or ".json 1" in note for note in records.notes)
    write(tmp_path / "one" / "yes", 2)
    data, records = load_data(tmp_path / "one", image_size=16, flat=True)
    assert records.class_names == ("yes",) and len(data.label) == 2
    write(tmp_path / "one" / "no", 2, start=1)
    data, records = load_data(tmp_path / "one", image_size=16, flat=True)
    assert records.class_names == ("no", "yes") and data.label.tolist() == [0, 0, 1, 1]


def test_elsewhere_it_is_not(tmp_path):
    """Also where a cache knows the folder as a flat one."""
    write(tmp_path / "flat", 3)
    how = {"image_size": 16, "cache_folder": tmp_path / "cache"}
    for _ in range(2):
        load_data(tmp_path / "flat", flat=True, **how)
        with pytest.raises(DataError, match="3 images outside any class folder"):
            load_data(tmp_path / "flat", **how)
    write(tmp_path / "flat" / "yes", 1)
    with pytest.raises(DataError, match="3 images outside any class folder"):
        load_data(tmp_path / "flat", flat=True, **how)
