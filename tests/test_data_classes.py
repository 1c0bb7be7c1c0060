"""Which class is the positive one: names that negate, names that mean healthy, `positive`."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import classes, load_folder
from jaxbrain.data.records import describe
from jaxbrain.errors import ConfigError

# (negative, positive), neither by the order of the alphabet alone in most.
PAIRS = [
    ("no", "yes"),
    ("no_glioma", "glioma"),
    ("NoGlioma", "Glioma"),
    ("nonglioma", "glioma"),
    ("not_tumor", "tumor"),
    ("without meningioma", "meningioma"),
    ("w-o tumor", "tumor"),
    ("tumor-free", "tumor"),
    ("tumorless", "tumor"),
    ("lesion_absent", "lesion_present"),
    ("glioma-negative", "glioma-positive"),
    ("glioma-", "glioma+"),
    ("pos_neg", "pos"),
    ("normal", "abnormal"),
    ("healthy", "unhealthy"),
    ("normal", "not_normal"),
    ("Healthy", "Glioma"),
    ("unaffected", "affected"),
    ("asymptomatic", "symptomatic"),
    ("nonenhancing", "enhancing"),
    ("NonDemented", "Demented"),
    ("controls", "AD"),
    ("HC", "MCI"),
    ("Normal", "Haemorrhage"),
    ("benign", "malignant"),
    ("0", "1"),
    ("sağlıklı", "tümör"),
    ("ohne Tumor", "Tumor"),
    ("sin tumor", "con tumor"),
    ("node", "tumor"),
    ("MGMT_unmethylated", "MGMT_methylated"),
    ("IDH wildtype", "IDH mutant"),
    ("Uninfected", "Parasitized"),
    ("lacks_glioma", "glioma"),
    ("glioma(-)", "glioma(+)"),
    ("glioma-ve", "glioma+ve"),
    ("não_glioma", "glioma"),
    ("nicht_gliom", "gliom"),
    ("gliomfrei", "gliom"),
    ("нет_глиомы", "глиома"),
    ("非肿瘤", "肿瘤"),
    ("nein", "ja"),
    ("SAĞLIKLI", "HASTA"),
    ("saglikli", "hasta"),
    ("sanos", "enfermos"),
    ("normales", "anormales"),
    ("normaux", "anormaux"),
    ("здоровые", "больные"),
    ("Kontrollen", "Gliom"),
    ("TDC", "ADHD"),
    ("unresponsive", "responsive"),
]


@pytest.mark.parametrize(("negative", "positive"), PAIRS)
def test_the_positive_class_by_its_name(negative, positive):
    assert classes.order((negative, positive)) == (negative, positive)
    assert classes.order((positive, negative)) == (negative, positive)


def test_meaning():
    for name in ("no", "Normal", "no_tumor", "notumour", "tumor free", "clear"):
        assert classes.meaning(name) == -1, name
    for name in ("yes", "abnormal", "Unhealthy", "non-healthy", "brain_tumor", "GBM"):
        assert classes.meaning(name) == 1, name
    for name in ("T2", "class3", "nodule", "nose", "noise", "sinus", "aMCI"):
        assert classes.meaning(name) == 0, name


def test_many_classes_keep_their_order():
    names = "pituitary", "notumor", "schwannoma", "glioma"
    assert classes.order(names) == ("notumor", "glioma", "pituitary", "schwannoma")
    assert classes.order(("b", "yes", "no", "a")) == ("no", "a", "b", "yes")


def folder(root, *names):
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (20, 20), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def test_labels_follow_and_it_is_said(tmp_path):
    root = folder(tmp_path, "no_glioma", "glioma")
    data, records = load_folder(root, image_size=16)
    assert records.class_names == ("no_glioma", "glioma")
    assert [records.path[i].split("/")[0] for i in np.flatnonzero(data.label)] == ["glioma"] * 3
    assert records.positive_class() == "glioma"
    assert "(positive: glioma, by its name)" in "\n".join(describe(data, records))


def test_positive_is_asked_for(tmp_path):
    root = folder(tmp_path, "glioma", "meningioma")
    _, records = load_folder(root, image_size=16)
    assert records.class_names == ("glioma", "meningioma")
    assert "--positive" in records.positive
    data, records = load_folder(root, image_size=16, positive="Glioma")
    assert records.class_names == ("meningioma", "glioma")
    assert (records.positive_class(), records.positive) == ("glioma", "as asked")
    assert [records.path[i].split("/")[0] for i in np.flatnonzero(data.label)] == ["glioma"] * 3
    with pytest.raises(ConfigError, match="positive is 'pituitary'.*found glioma, meningioma"):
        load_folder(root, image_size=16, positive="pituitary")
    folder(tmp_path / "three", "a", "b", "c")
    with pytest.raises(ConfigError, match="expected one of two classes, found a, b, c"):
        load_folder(tmp_path / "three", image_size=16, positive="a")


def test_a_spelling_of_the_folder_is_enough(tmp_path):
    """Folders named tumor and notumor are read as yes and no."""
    root = folder(tmp_path, "tumor", "notumor")
    assert load_folder(root, image_size=16)[1].class_names == ("no", "yes")
    assert load_folder(root, image_size=16, positive="notumor")[1].class_names == ("yes", "no")


def test_names_mean_the_same_in_every_locale(tmp_path):
    """Where the system takes names for ASCII they are the letters that they are."""
    folder(tmp_path, "sağlıklı", "tümör")
    (tmp_path / "tümör" / "1.png").rename(tmp_path / "tümör" / "ü.png")
    code = (
        "import sys; from jaxbrain.data import load_folder; from pathlib import Path\n"
        "assert sys.getfilesystemencoding() != 'utf-8'\n"
        "_, records = load_folder(Path(sys.argv[1]), image_size=16)\n"
        "print(ascii((records.class_names, records.path)))"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, records = load_folder(tmp_path, image_size=16)
    assert done.stdout.strip() == ascii((records.class_names, records.path))
    assert records.class_names == ("sağlıklı", "tümör")
