"""What results say of the images: the positive class, patients, and refusals that explain."""

import contextlib
import csv
import io
import json

import jax
import numpy as np
import pytest
from conftest import small
from PIL import Image

from jaxbrain.commands import ladder as entry
from jaxbrain.data import load_folder
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.reports import ladder as report
from jaxbrain.runs import ladder
from jaxbrain.study import protocols

FLOORS = "--generators none --classifiers ridge --seeds 2 --data.image-size 16".split()


def run(*arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", jax.config.jax_compilation_cache_dir])
    return out.getvalue()


def fill(root, names: dict[str, float], count: int = 12):
    """Smooth random pictures, brighter in classes of a higher level."""
    rng = np.random.default_rng(0)
    for name, level in names.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(level + rng.integers(0, 100, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((40, 40)).save(root / name / f"patient_{name}{i}.png")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("set"), {"no_glioma": 20, "glioma": 120})


def test_recall_is_of_the_positive_class(root, tmp_path):
    """One classifier, two names for what is positive: recall and specificity trade places."""
    found = {}
    for positive in ("glioma", "no_glioma"):
        flag = [] if positive == "glioma" else ["--positive", positive]
        workdir = tmp_path / positive
        out = run("--data", root, *FLOORS, *flag, "--workdir", workdir)
        results = json.loads((workdir / "ladder.json").read_text())
        assert results["positive"] == positive and f"(positive: {positive}" in out
        assert f"(positive: {positive}" in (workdir / "report.md").read_text().replace("\\", "")
        with (workdir / "predictions.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["labels"] == "true"]
        for row in rows:
            assert row["label"] == str(int(row["id"].startswith(f"{positive}/")))
        hits = [(float(row["p"]) > 0.5) == (row["label"] == "1") for row in rows]
        of = np.array([row["label"] == "1" for row in rows])
        p3 = np.array([row["protocol"] == "P3" for row in rows])
        (cell,) = [c for c in results["cells"] if (c["protocol"], c["labels"]) == ("P3", "true")]
        found[positive] = cell["metrics"]
        for name, chosen in (("recall", of & p3), ("specificity", ~of & p3)):
            np.testing.assert_allclose(cell["metrics"][name], np.mean(np.array(hits)[chosen]))
    with pytest.raises(ConfigError, match="config.data.positive: '' there, 'no_glioma' now"):
        run("--data", root, *FLOORS, "--positive", "no_glioma", "--workdir", tmp_path / "glioma")


def test_what_is_said_of_patients(root, tmp_path):
    """That the images carry no ids is said where it is true."""
    unknown = {"data": {"patient_ids": []}}
    assert "carry no patient ids" in report.remains(unknown)
    known = report.remains({"data": {"patient_ids": ["PatientID"]}})
    assert "kept together, by PatientID" in known and "no patient ids" not in known
    for regex, ids in ((r"patient_(\w+)\.", ["--group-by"]), ("", [])):
        workdir = tmp_path / (regex and "known" or "unknown")
        flag = ["--group-by", regex] if regex else []
        run("--data", root, *FLOORS, *flag, "--workdir", workdir)
        results = json.loads((workdir / "ladder.json").read_text())
        assert results["data"]["patient_ids"] == ids
        text = (workdir / "report.md").read_text()
        assert ("carry no patient ids" in text) == (not ids)
        assert ladder.verify(workdir) == []


def test_a_refusal_names_the_ids(tmp_path):
    """Every file has one PatientID, so no fold can be made; without ids it can."""
    pytest.importorskip("pydicom", reason="needs jaxbrain[medical]")
    from test_data_medical import dicom

    rng = np.random.default_rng(0)
    for name in ("no", "yes"):
        for i in range(6):
            path = tmp_path / "set" / name / f"{i}.dcm"
            pixels = np.kron(rng.integers(0, 900, (8, 8)), np.ones((5, 5), int))
            dicom(pixels, path, PatientID="ANONYMOUS")
    match = r"fold 0 would test 0.*one id \(PatientID\) covers all 12 files: --patients ignore"
    with pytest.raises(DataError, match=match):
        run("--data", tmp_path / "set", *FLOORS, "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run("--data", tmp_path / "set", *FLOORS, "--patients", "ignore", "--workdir", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "ladder.json").read_text())
    assert results["groups"]["total"] == 12 and results["data"]["patient_ids"] == []


def test_both_searches_stand_in_the_results(root, tmp_path):
    run("--data", root, *FLOORS, "--workdir", tmp_path / "run")
    files, heads = json.loads((tmp_path / "run" / "ladder.json").read_text())["audit"]["searches"]
    assert (files["images"], heads["images"]) == ("whole files", "head crops")
    for one in (files, heads):
        assert one["distance"] == "correlation of 32 x 32 thumbnails"
        assert (one["threshold"], one["pairs"]) == (0.98, 0) and one["next"] < 0.98


def test_floats_are_refused_before_a_directory_is_made(root, tmp_path):
    cfg = small()
    data, records = load_folder(root, image_size=32)
    floats = data._replace(image=data.image / np.float32(255))
    options = protocols.StudyConfig(classifiers=("ridge",), generators=("none",))
    with pytest.raises(DataError, match="image is float32: expected uint8"):
        ladder.ladder(cfg, floats, records, tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()
