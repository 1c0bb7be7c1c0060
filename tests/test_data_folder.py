"""Layouts, labels, order, and errors that name what is wrong."""

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import load_folder, preprocess
from jaxbrain.data.records import describe, from_arrays
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.types import Dataset

pytestmark = pytest.mark.smoke


def picture(path, seed=0, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, size[::-1], np.uint8)).save(path)


def tree(root, *names):
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return root


def test_yes_no(tmp_path):
    tree(tmp_path, "yes/Y10.JPG", "yes/Y2.jpg", "no/no 1.png", "no/N1.jpeg", "no/1 no.jpeg")
    data, records = load_folder(tmp_path, image_size=24)
    assert data.image.shape == (5, 24, 24, 1)
    assert data.image.dtype == np.uint8
    assert data.label.dtype == data.group.dtype == np.int32
    assert records.class_names == ("no", "yes")
    # Natural order within a class, the normal class first.
    assert records.path == (
        "no/1 no.jpeg",
        "no/N1.jpeg",
        "no/no 1.png",
        "yes/Y2.jpg",
        "yes/Y10.JPG",
    )
    assert data.label.tolist() == [0, 0, 0, 1, 1]
    assert data.group.tolist() == [0, 1, 2, 3, 4]
    assert records.size[0] == (40, 30)
    text = "\n".join(describe(data, records))
    assert "found 5 images in 2 classes" in text
    assert "no 3  yes 2" in text


@pytest.mark.parametrize(
    "folders, names",
    [
        (("No Tumor", "Yes"), ("no", "yes")),
        (("notumor", "TUMOR"), ("no", "yes")),
        (("tumour", "healthy"), ("no", "yes")),
        (
            ("glioma", "no_tumor", "pituitary", "meningioma"),
            ("no", "glioma", "meningioma", "pituitary"),
        ),
        (("cat2", "cat10"), ("cat2", "cat10")),
        (("tumor", "zcontrol"), ("zcontrol", "yes")),
        (("with_tumor", "without_tumor"), ("no", "yes")),
        (("no", "tumor_1", "tumor_2"), ("no", "tumor_1", "tumor_2")),
    ],
)
def test_class_folders(tmp_path, folders, names):
    tree(tmp_path, *(f"{folder}/a.png" for folder in folders))
    data, records = load_folder(tmp_path, image_size=16)
    assert records.class_names == names
    assert data.label.tolist() == list(range(len(names)))


def test_training_and_testing(tmp_path):
    tree(
        tmp_path,
        "Training/glioma/a.png",
        "Training/notumor/b.png",
        "Testing/glioma/c.png",
        "Testing/notumor/d.png",
    )
    data, records = load_folder(tmp_path, image_size=16)
    assert records.class_names == ("no", "glioma")
    assert records.split == ("train", "test", "train", "test")
    assert records.layout == "split folders"
    assert records.path[0] == "Training/notumor/b.png"


def test_one_wrapper_is_entered_and_two_are_not(tmp_path):
    tree(tmp_path / "one", "set/yes/a.png", "set/no/b.png")
    data, records = load_folder(tmp_path / "one", image_size=16)
    assert records.path == ("set/no/b.png", "set/yes/a.png")
    assert any("read from the one folder in it, set" in note for note in records.notes)
    tree(tmp_path / "two", "a/set/yes/a.png", "a/set/no/b.png")
    with pytest.raises(DataError, match="but folders: no, yes") as caught:
        load_folder(tmp_path / "two")
    assert str(tmp_path / "two" / "a" / "set") in str(caught.value)
    assert "accepted layouts" in str(caught.value)


def test_second_copy_is_left_out_and_said(tmp_path):
    for base in ("", "brain_tumor_dataset/"):
        picture(tmp_path / f"{base}yes/a.png", 1)
        picture(tmp_path / f"{base}no/b.png", 2)
    data, records = load_folder(tmp_path, image_size=16)
    assert len(data.label) == 2
    assert any("second copy" in note for note in records.notes)
    picture(tmp_path / "brain_tumor_dataset/no/b.png", 3)
    with pytest.raises(DataError, match="brain_tumor_dataset: no images in it, but folders"):
        load_folder(tmp_path)


def test_hidden_and_foreign_entries_are_left_out_and_counted(tmp_path):
    tree(
        tmp_path,
        "yes/a.png",
        "no/b.png",
        "no/.ipynb_checkpoints/b-checkpoint.png",
        "pred/p.png",
        "__MACOSX/yes/a.png",
        "yes/.hidden.png",
        "yes/more/c.png",
    )
    (tmp_path / "no" / "Thumbs.db").write_bytes(b"x")
    data, records = load_folder(tmp_path, image_size=16)
    assert records.path == ("no/b.png", "yes/a.png")
    assert f"{tmp_path / 'no'}: 2 hidden or other entries left out" in records.notes
    assert f"{tmp_path}: 2 hidden or other entries left out" in records.notes
    deeper = tmp_path / "yes" / "more"
    assert f"{deeper}: a folder inside a class, left out (1 images)" in records.notes


def test_broken_files_are_listed_in_one_error(tmp_path):
    tree(tmp_path, "yes/a.png", "no/b.png")
    (tmp_path / "no" / "text.jpg").write_text("words")
    (tmp_path / "yes" / "empty.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    message = str(caught.value)
    assert "2 of 4 files cannot be used" in message
    assert f"{tmp_path / 'no' / 'text.jpg'}: not an image" in message
    assert f"{tmp_path / 'yes' / 'empty.png'}: empty file" in message


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "no images and no class folders"),
        (("Training/a.png", "Testing/b.png"), "Training: 1 images outside any class folder"),
        (("Training/yes/a.png", "Training/no/b.png", "Training/c.png"), "1 images outside"),
        (("yes/a.png", "tumor/b.png", "no/c.png"), "'tumor' and 'yes' both mean class yes"),
        (("Training/no/a.png", "Training/normal/b.png", "Testing/yes/c.png"), "both mean class no"),
        (("a.png", "b.png"), "2 images outside any class folder"),
        (("yes/a.png",), "one class only: yes"),
        (
            ("Training/yes/a.png", "Training/no/b.png", "Testing/no/c.png"),
            "class 'yes' is only in",
        ),
        (("Testing/yes/a.png", "Testing/no/b.png"), "only Testing, no Training beside it"),
        (
            ("train/yes/a.png", "train/no/b.png", "extra/c.png"),
            "split folders beside other folders",
        ),
    ],
)
def test_refused_layouts(tmp_path, names, message):
    tree(tmp_path, *names)
    with pytest.raises(DataError, match=message) as caught:
        load_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "accepted layouts" in str(caught.value)


def test_the_same_picture_in_two_classes_is_refused(tmp_path):
    tree(tmp_path, "yes/a.png", "no/b.png")
    picture(tmp_path / "yes" / "copy.png", 1)
    with pytest.raises(DataError, match="1 of 3 files") as caught:
        load_folder(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path / 'yes' / 'copy.png'}: the same picture as {tmp_path / 'no'}" in message


def test_a_training_folder_alone_keeps_its_split(tmp_path):
    tree(tmp_path, "Training/no/a.png", "Training/yes/b.png")
    _, records = load_folder(tmp_path, image_size=16)
    assert records.split == ("train", "train")


def test_names_with_odd_digits(tmp_path):
    tree(tmp_path, "no/scan1².png", "yes/脳 (1).png")
    _, records = load_folder(tmp_path, image_size=16)
    assert records.path == ("no/scan1².png", "yes/脳 (1).png")


@pytest.mark.parametrize(
    "option", [{"crop": "heads"}, {"square": "padd"}, {"dedup": "groups"}, {"image_size": 0}]
)
def test_refused_options(tmp_path, option):
    tree(tmp_path, "no/a.png", "yes/b.png")
    with pytest.raises(ConfigError, match=f"{next(iter(option))} is"):
        load_folder(tmp_path, **option)


def test_empty_class_folder(tmp_path):
    tree(tmp_path, "yes/a.png")
    (tmp_path / "no").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path / 'no'}: no images in it"):
        load_folder(tmp_path)


def test_missing_folder_and_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_folder(tmp_path / "nowhere")
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a file"):
        load_folder(tmp_path / "a.png")


def test_groups_of_near_duplicates(tmp_path):
    picture(tmp_path / "no/a.png", 1)
    picture(tmp_path / "no/b.png", 2)
    picture(tmp_path / "yes/c.png", 3)
    with Image.open(tmp_path / "no/a.png") as image:
        image.resize((80, 60)).save(tmp_path / "no/a2.png")
    data, records = load_folder(tmp_path, image_size=16, dedup="group")
    by_name = dict(zip(records.path, data.group.tolist(), strict=True))
    assert by_name["no/a.png"] == by_name["no/a2.png"]
    assert len(set(by_name.values())) == 3
    assert "3 groups of near-duplicates" in "\n".join(describe(data, records))


def test_head_box_finds_the_head():
    y, x = np.mgrid[:100, :80]
    head = ((y - 55) / 30) ** 2 + ((x - 38) / 20) ** 2 < 1
    image = np.where(head, 0.6, 0.02).astype(np.float32)
    image[2:6, 2:20] = 0.9  # a bright label in a corner
    assert preprocess.head_box(image) == (26, 19, 85, 58)
    assert preprocess.head_box(np.zeros((9, 7), np.float32)) == (0, 0, 9, 7)


def test_prepare_pads_or_stretches():
    image = np.ones((40, 20), np.float32)
    padded = preprocess.prepare(image, 40, "none", "pad")[..., 0]
    assert (padded[:, 12:28] == 255).all()
    assert (padded[:, :8] == 0).all()
    assert (preprocess.prepare(image, 40, "none", "stretch") == 255).all()


def test_resize_is_bicubic_and_antialiased():
    """Upsampling equals the Keys kernel with a = -1/2 (MATLAB's), downsampling keeps the
    mean of fine stripes instead of aliasing them."""
    rng = np.random.default_rng(1)
    image = rng.uniform(size=(1, 8, 8, 1)).astype(np.float32)
    got = np.asarray(preprocess.resize(image, 16))[0, :, :, 0]
    picture = Image.fromarray(image[0, :, :, 0])
    want = np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(got, want, atol=1e-4)
    stripes = np.tile([0.0, 1.0], 32).astype(np.float32)
    image = np.broadcast_to(stripes.reshape(1, 1, 64, 1), (1, 64, 64, 1))
    inner = np.asarray(preprocess.resize(image, 16))[0, 2:-2, 2:-2, 0]
    np.testing.assert_allclose(inner, 0.5, atol=0.05)


def test_records_of_arrays():
    image = np.zeros((3, 16, 16, 1), np.uint8)
    data = Dataset(image, np.int32([0, 1, 1]), np.int32([0, 1, 2]))
    records = from_arrays(data, ("no", "yes"), "phantoms")
    assert records.path == ("no/0000", "yes/0001", "yes/0002")


def test_the_kaggle_set(kaggle):
    """Facts of the set, as anyone may count them."""
    data, records = load_folder(kaggle, image_size=64, crop="head", square="pad", dedup="group")
    assert np.bincount(data.label).tolist() == [98, 155]
    modes = {mode: records.mode.count(mode) for mode in set(records.mode)}
    assert modes == {"RGB": 217, "L": 30, "RGBA": 5, "P": 1}
    widths, heights = zip(*records.size, strict=True)
    assert (min(widths), max(widths), min(heights), max(heights)) == (150, 1920, 168, 1427)
    # 209 by whole files; in ten more pairs of groups the head is the same, in another frame.
    assert len(np.unique(data.group)) == 199
    no, yes = data.group[data.label == 0], data.group[data.label == 1]
    assert (len(np.unique(no)), len(np.unique(yes))) == (76, 123)
    assert not set(no) & set(yes)
