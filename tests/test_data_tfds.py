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
            # A name may hold what marks the slices of a volume.
            picture.save(root / name / f"{name}{'#' if i == 3 else ''}{i}.png")
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
def test_refusals(tmp_path, folder, monkeypatch):
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
    for use in (lambda: load_data("tfds:brain_mri"), lambda: tfds.prepare(folder, tmp_path / "x")):
        with pytest.raises(DataError, match=r"pip install 'jaxbrain\[tfds\]'"):
            use()


def test_the_entry_point_without_tensorflow(folder, prepared, tmp_path):
    """`--data tfds:` in a process of its own: nothing of TensorFlow is imported."""
    code = (
        "import sys; from jaxbrain.commands import inspect\n"
        "try: inspect.main(sys.argv[1:])\n"
        "finally: assert 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, "tfds:brain_mri", "--sheet", str(tmp_path / "s.png")]
    environment = os.environ | {"TFDS_DATA_DIR": str(prepared)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "TFDS brain_mri/1.0.0: no 11  yes 11" in done.stdout


def unusual(tmp_path, images, labels, names=("glioma", "no_tumor")):
    """A data set of given pictures and labels, -1 too."""
    base = library.core

    class Unusual(base.GeneratorBasedBuilder, skip_registration=True):
        VERSION = base.Version("1.0.0")

        def _info(self):
            features = {
                "image": library.features.Image(shape=(None, None, 1), encoding_format="png"),
                "label": library.features.ClassLabel(names=list(names)),
            }
            return base.DatasetInfo(builder=self, features=library.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                memory = io.BytesIO()
                Image.fromarray(image).save(memory, "PNG")
                memory.seek(0)
                yield i, {"image": memory, "label": label}

    Unusual(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()


def pictures(count: int, size=(40, 40)) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 255, size, np.uint8) for _ in range(count)]


def test_images_of_a_data_set_meet_the_rules_of_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    images = pictures(5)
    unusual(tmp_path, [*images, images[0], pictures(1, (8, 8))[0]], [0, 1, 0, 1, -1, 1, 0])
    with pytest.raises(DataError) as caught:
        load_data("tfds:unusual", image_size=16)
    text = str(caught.value)
    assert "label -1: expected 0 to 1" in text
    assert "of another class" in text
    assert "8x8 pixels, less than 16" in text


def test_a_data_set_without_a_class_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    unusual(tmp_path, pictures(3), [0, 0, 0])
    with pytest.raises(DataError, match="no 0, glioma 3: expected images of every class"):
        load_data("tfds:unusual", image_size=16)


def test_a_damaged_record_is_a_data_error(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    path = tfds.prepare(folder, tmp_path)
    (records,) = path.glob("*.array_record*")
    content = records.read_bytes()
    records.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="tfds:brain_mri"):
        load_data("tfds:brain_mri", image_size=16)


def test_prepared_again_of_other_images(folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = tfds.prepare(copy, tmp_path / "data")
    assert tfds.prepare(copy, tmp_path / "data") == path
    Image.fromarray(pictures(1)[0]).save(copy / "no" / "new.png")
    with pytest.raises(DataError, match="made of other images"):
        tfds.prepare(copy, tmp_path / "data")


@pytest.mark.parametrize(
    "patient, want",
    [(np.int64(7), ("7", "data set")), (b"TCGA-02", ("TCGA-02", "data set")), (-1, ("", ""))],
)
def test_patients_of_a_data_set_are_numbers_or_text(patient, want):
    example = {"image": np.zeros((16, 16), np.uint8), "patient": patient}
    assert tfds._slices(example, "image", True)[3:5] == want
    assert tfds._slices(example, "image", False)[3:5] == ("", "")
