"""What "folder:DIR" means: paths with odd signs, doses, names, whose images are taken."""

import json

import jax
import numpy as np
import pytest
from conftest import small
from PIL import Image

from jaxbrain.data import filled, phantom
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import choose, copies, folders
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Study, study


@pytest.mark.parametrize(
    "text, path, suffix",
    [
        ("folder:a", "a", ""),
        ("folder:a@50", "a", "@50"),
        ("folder:my data@home", "my data@home", ""),
        ("folder:my data@home@50", "my data@home", "@50"),
        ("folder:c:/x:y", "c:/x:y", ""),
        ("folder:a@50/", "a@50/", ""),
        ("folder:a@50/@20", "a@50/", "@20"),
        ("folder:a@50,only,filtered", "a", "@50,only,filtered"),
        ("folder:a@50@only", "a@50", "@only"),
        ("folder:a@b@filtered", "a@b", "@filtered"),
    ],
)
def test_a_path_and_what_follows(text, path, suffix):
    assert folders.parted(text) == (path, suffix)


def test_names_in_results(tmp_path):
    at = tmp_path / "my set@home"
    names, found = choose.generators(
        [f"folder:{at}", f"folder:{at}@50", "none", f"folder:{at}/.@7"]
    )
    assert names == ("folder_my_set_home", "folder_my_set_home@50", "none", "folder_my_set_home@7")
    assert list(found) == ["folder_my_set_home"]
    assert (
        folders.own_name(f"folder:{at}@50") == names[1] and folders.own_name("cgan@5") == "cgan@5"
    )
    with pytest.raises(ConfigError, match="two named 'folder_x': expected other names"):
        choose.generators([f"folder:{tmp_path}/a/x", f"folder:{tmp_path}/b/x"])
    with pytest.raises(ConfigError, match="expected each once"):
        choose.generators([f"folder:{at}", f"folder:{at}/"])
    with pytest.raises(ConfigError, match="expected a folder after it"):
        choose.generators(["folder:"])
    # No dose: a path that holds an @.
    assert choose.generators(["folder:a@0"])[0] == ("folder_a_0",)


OPTIONS = StudyConfig(
    seeds=1, protocols=("P1", "P2"), generators=("linear",), classifiers=("nn1",), shuffled=False
)


@pytest.fixture
def data():
    return phantom.dataset(jax.random.key(3), 12, 16)


def place(root, fit, image, label, *, fits=None):
    """A folder of a fit as somebody would hand it in: images of one grey, 10 times the class
    and the number of it."""
    at = root / fit.scope
    for k, name in enumerate(("no", "yes")):
        (at / "synthetic" / name).mkdir(parents=True)
        for n in range(20):
            grey = Image.new("L", (16, 16), 100 * k + n)
            grey.save(at / "synthetic" / name / f"i{n}.png")
    classes = [{"name": n, "folder": n, "wanted": 1, "training": 1} for n in ("no", "yes")]
    about = {
        "fits": fits or [folders.fit_name(fit)],
        "classes": classes,
        "side": 16,
        "training_sha256": filled.digest(image, label),
        "training": [],
        "settings": {},
    }
    (at / "wanted.json").write_text(json.dumps(about))
    return at


def planned(data, root):
    return Study(small(), data, jax.random.key(0), options=OPTIONS, generators=[f"folder:{root}"])


@pytest.fixture
def filled_in(data, tmp_path):
    """Folders of both fits of `OPTIONS`, from the plan of another generator."""
    root = tmp_path / "mine"
    image = np.asarray(data.image)
    for fit in Study(small(), data, jax.random.key(0), options=OPTIONS).fits:
        place(root, fit, image[fit.index], fit.label[fit.index])
    return root


def test_the_nth_of_a_class_is_its_nth_file(data, filled_in):
    found = planned(data, filled_in)
    (fit,) = [one for one in found.fits if one.scope == "train"]
    train = data._replace(image=data.image[fit.index], label=fit.label[fit.index])
    draw = found.shared.generators["folder_mine"].fit_sample
    image = draw(small(), train, np.asarray([1, 0, 0, 1, 1]), None)
    assert image.shape == (5, 16, 16, 1)
    # i2 before i10: by their numbers.
    assert image[:, 0, 0, 0].tolist() == [100, 0, 1, 101, 102]
    (filled_in / "train" / "synthetic" / "yes" / "i0.png").write_bytes(
        (filled_in / "train" / "synthetic" / "yes" / "i9.png").read_bytes()
    )
    with pytest.raises(DataError, match="changed during the run"):
        draw(small(), train, np.asarray([1]), None)


def test_a_python_study_runs_on_folders(data, filled_in):
    which = {"options": OPTIONS, "generators": [f"folder:{filled_in}", "none"]}
    answers = list(study(small(), data, jax.random.key(0), **which))
    assert {(one.cell.protocol, one.cell.generator) for one in answers} == {
        (protocol, generator) for protocol in ("P1", "P2") for generator in ("folder_mine", "none")
    }


def test_only_the_fit_of_that_name_and_digest(data, filled_in):
    """Another's images under a fit's name are refused; the right images under another fit's
    name are not taken."""
    about = filled_in / "train" / "wanted.json"
    text = json.loads(about.read_text())
    about.write_text(json.dumps(text | {"training_sha256": "0"}))
    with pytest.raises(ConfigError, match="for a fit train/true/0/0 that sees other images"):
        planned(data, filled_in)
    about.write_text(json.dumps(text | {"fits": ["train/true/7/0"]}))
    found = planned(data, filled_in)
    assert [fit.scope for fit in found.fits] == ["all"]
    assert found.without == {"folder_mine/train/true/0/0": "no folder was written for it"}
    assert {cell.protocol for cell in found.left_out} == {"P2"}
    (filled_in / "all" / "wanted.json").write_text(json.dumps(text))
    about.write_text(json.dumps(text))
    with pytest.raises(ConfigError, match="all and train are both for the same fit"):
        planned(data, filled_in)


def test_nothing_is_there_and_what_is_no_wanted_json(data, filled_in):
    for scope in ("all", "train"):
        for file in (filled_in / scope / "synthetic").glob("*/*"):
            file.unlink()
    with pytest.raises(ConfigError, match="no fit of this study has synthetic images: nothing is"):
        planned(data, filled_in)
    about = filled_in / "train" / "wanted.json"
    text = json.loads(about.read_text())
    text["classes"][0]["folder"] = "../../elsewhere"
    for bad in ("{", "[]", json.dumps(text)):
        about.write_text(bad)
        with pytest.raises(DataError, match=r"train/wanted.json: not what `jaxbrain folds` wrote"):
            planned(data, filled_in)


def test_what_copies_whom():
    """Mirrored and brighter copies count; a copy of a training image is none of a test image."""
    rng = np.random.default_rng(5)
    real = rng.integers(20, 200, (12, 32, 32, 1)).astype(np.uint8)
    given, tested = real[:8], real[6:]
    synthetic = np.concatenate(
        [given[:1], tested[4:, :, ::-1], tested[3:4] + np.uint8(30), real[6:7], given[:2] // 2]
    )
    assert copies.counted(synthetic, given, tested, 0.98).tolist() == [7, 4, 3, 6]
    nothing = (
        copies.counted(synthetic[:0], given, tested, 0.98),
        copies.counted(synthetic, given[:0], tested[:0], 0.98),
    )
    assert [one.tolist() for one in nothing] == [[0, 0, 0, 6], [7, 0, 0, 0]]


def test_what_a_fit_was_not_given_and_is_tested(data):
    found = Study(small(), data, jax.random.key(0), options=OPTIONS)
    for fit in found.fits:
        others = copies.tested(fit, found.cells)
        if fit.scope == "all":
            assert len(others) == 0
            continue
        (cell,) = [cell for cell in found.cells if cell.fit == fit.name]
        np.testing.assert_array_equal(others, cell.test)
        assert not set(others) & set(fit.index)
