"""TensorFlow Datasets without TensorFlow: what is prepared is what the folder holds."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxbrain import load_data, load_folder
from jaxbrain.data import tfds
from jaxbrain.errors import DataError

# Its own packages warn; the project's must not.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
]
library = pytest.importorskip("tensorflow_datasets", reason="needs jaxbrain[tfds]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("set") / "brain"
    rng = np.random.default_rng(0)
    for name, mode in (("yes", "RGB"), ("no", "L")):
        (root / name).mkdir(parents=True)
        for i in range(11):
            shape = (32 + i, 40, 3) if mode == "RGB" else (32 + i, 40)
            picture = Image.fromarray(rng.integers(0, 255, shape, np.uint8))
            picture.save(root / name / f"{name}{i}.png")
    return root


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("prepared")
    tfds.prepare(folder, data_dir)
    return data_dir


@pytest.fixture
def place(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    return prepared


def same(one, two) -> None:
    for a, b in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1].path == two[1].path
    assert one[1].digest == two[1].digest
    assert one[1].class_names == two[1].class_names


@pytest.mark.usefixtures("place")
def test_what_is_prepared_is_what_the_folder_holds(folder):
    """8-bit grey and colour, sizes that differ, in the folder's order."""
    options = dict(image_size=24, dedup="group")
    found = load_data("tfds:brain_mri", **options)
    same(found, load_folder(folder, **options))
    assert found[1].layout.startswith("TFDS brain_mri/1.0.0")
    part = load_data("tfds:brain_mri:train[:50%]", image_size=24)
    assert len(part[0].label) == 11
    same(load_data("tfds:brain_mri:train", **options), found)
    same(load_data("tfds:brain_mri:1.0.0", **options), found)


def test_the_builder_by_hand(folder, tmp_path):
    """As any TFDS builder: a folder, or the folder of one archive."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as opened:
        for file in sorted(folder.rglob("*.png")):
            opened.write(file, file.relative_to(folder).as_posix())
    (tmp_path / "manual").mkdir()
    (tmp_path / "set.zip").rename(tmp_path / "manual" / "set.zip")
    for number, manual in enumerate((folder, tmp_path / "manual")):
        builder = tfds.BrainMri(data_dir=str(tmp_path / str(number)), file_format="array_record")
        config = library.download.DownloadConfig(manual_dir=manual)
        builder.download_and_prepare(download_config=config)
        source = builder.as_data_source(split="train")
        assert len(source) == 22
        assert builder.info.features["label"].names == ["no", "yes"]
        example = source[0]
        assert example["image"].dtype == np.uint8 and example["image"].shape[-1] == 1


def test_official_splits(tmp_path, folder, monkeypatch):
    for split in ("Training", "Testing"):
        for name in ("no", "yes"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
    for file in sorted(folder.rglob("*.png")):
        split = "Testing" if "0" in file.name else "Training"
        target = tmp_path / "set" / split / file.parent.name / file.name
        target.write_bytes(file.read_bytes())
    tfds.prepare(tmp_path / "set", tmp_path / "prepared")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    found = load_data("tfds:brain_mri", image_size=24)
    want = load_folder(tmp_path / "set", image_size=24)
    same(found, want)
    assert found[1].split == want[1].split
    assert set(load_data("tfds:brain_mri:test", image_size=24)[1].split) == {""}


def test_any_data_set_with_an_image_and_a_label(tmp_path, monkeypatch):
    """Other names of features and classes, colour, no path."""

    class Other(library.core.GeneratorBasedBuilder):
        VERSION = library.core.Version("2.0.0")

        def _info(self):
            features = library.features.FeaturesDict(
                {
                    "picture": library.features.Image(shape=(28, 28, 3)),
                    "kind": library.features.ClassLabel(names=["with tumor", "No_Tumor"]),
                    "age": np.int64,
                }
            )
            return library.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            rng = np.random.default_rng(1)
            for i in range(6):
                image = io.BytesIO()
                pixels = rng.integers(0, 255, (28, 28, 3), np.uint8)
                Image.fromarray(pixels).save(image, "PNG")
                image.seek(0)
                yield i, {"picture": image, "kind": i % 2, "age": 40}

    builder = Other(data_dir=str(tmp_path), file_format="array_record")
    builder.download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data, records = load_data("tfds:other", image_size=24)
    assert records.class_names == ("no", "yes")
    assert np.bincount(data.label).tolist() == [3, 3]
    assert set(records.mode) == {"RGB"}
    assert data.group.tolist() == list(range(6))


@pytest.mark.usefixtures("place")
def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="^tfds:nothing: not prepared: .*prepare makes one"):
        load_data("tfds:nothing")
    with pytest.raises(DataError, match="split 'tset' cannot be read.*train"):
        load_data("tfds:brain_mri:tset")
    with pytest.raises(DataError, match="does not exist"):
        tfds.prepare(tmp_path / "missing", tmp_path / "x")
    (tmp_path / "set" / "no").mkdir(parents=True)
    (tmp_path / "set" / "no" / "a.png").write_text("x")
    with pytest.raises(DataError, match="one class only"):
        tfds.prepare(tmp_path / "set", tmp_path / "x")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for use in (lambda: load_data("tfds:brain_mri"), lambda: tfds._builder.__wrapped__()):
        with pytest.raises(DataError, match=r"pip install 'jaxbrain\[tfds\]'"):
            use()


def test_the_entry_point_without_tensorflow(folder, prepared, tmp_path):
    """`--data tfds:` in a process of its own: nothing of TensorFlow is imported."""
    code = (
        "import sys; from experiments import inspect\n"
        "try: inspect.main(sys.argv[1:])\n"
        "finally: assert 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, "tfds:brain_mri", "--sheet", str(tmp_path / "s.png")]
    environment = os.environ | {"TFDS_DATA_DIR": str(prepared)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "TFDS brain_mri/1.0.0: no 11  yes 11" in done.stdout
