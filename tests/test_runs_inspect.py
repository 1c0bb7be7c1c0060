"""What `jaxbrain inspect` says of a set, and its exit status."""

import contextlib
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxbrain.commands import inspect as entry
from jaxbrain.errors import ConfigError
from jaxbrain.runs import inspect


def look(*arguments, sheet: Path) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        entry.main([*map(str, arguments), "--sheet", str(sheet)])
    return stop.value.code, out.getvalue()


def fill(root: Path, sizes: dict, count: int = 12, seed: int = 0) -> Path:
    """Smooth random pictures: noise would give copies no chance to be found."""
    rng = np.random.default_rng(seed)
    for name, size in sizes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(root / name / f"{i}.png")
    return root


def test_a_plain_set_is_usable(tmp_path):
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    code, out = look(root, "--json", sheet=tmp_path / "sheet.png")
    found = json.loads(out)
    assert code == 0
    assert found["layout"] == "class folders"
    assert found["counts"] == {"no": 12, "yes": 12}
    assert (found["unreadable"], found["duplicates"], found["warnings"]) == ([], [], [])
    with Image.open(tmp_path / "sheet.png") as image:
        assert np.asarray(image.convert("L")).std() > 20
    code, out = look(root, sheet=tmp_path / "sheet.png")
    assert code == 0
    assert "layout class folders: no 12  yes 12" in out and "sheet.png" in out
    lines = out.splitlines()
    assert "data   found 24 images in 2 classes" in lines
    assert lines[4:7] == [
        "table  class  images  groups  width  height  modes",
        "table  no     12      12      40     40      L 12",
        "table  yes    12      12      40     40      L 12",
    ]
    assert f"jaxbrain paper --data {root}" in out


def test_which_class_is_positive(tmp_path):
    root = fill(tmp_path / "set", {"no_glioma": (40, 40), "glioma": (40, 40)})
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    assert (code, json.loads(out)["positive"]) == (0, "glioma")
    code, out = look(root, "--positive", "no_glioma", sheet=tmp_path / "s.png")
    assert code == 0 and "class  positive: no_glioma (as asked)" in out
    with pytest.raises(ConfigError, match="positive is 'x': expected one of two classes"):
        entry.main([str(root), "--positive", "x"])


def test_suffixes(tmp_path):
    """Images are found by what they hold; what is of no kind that is read is counted."""
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    names = "jfif", "jpe", "JPG_large", "webp", "dib", "png~", "part"
    formats = "JPEG", "JPEG", "JPEG", "WEBP", "BMP", "PNG", "TIFF"
    rng = np.random.default_rng(9)
    for name, form in zip(names, formats, strict=True):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).resize((40, 40))
        coarse.save(root / "yes" / f"web.{name}", form)
    coarse.save(root / "yes" / "no suffix", "PNG")
    (root / "yes" / "boxes.xml").write_text("<a/>")
    (root / "no" / "README").write_text("words")
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert (code, found["counts"]) == (1, {"no": 12, "yes": 20})
    # The last two pictures are one.
    assert [one["kind"] for one in found["duplicates"]] == ["identical"]
    assert len(found["warnings"]) == 1
    for i in range(3):
        (root / "no" / f"scan{i}").write_bytes(b"P5 9 9 255 " + bytes(81))
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    warnings = json.loads(out)["warnings"]
    assert any("no: 3 files without a suffix are of no kind that is read" in w for w in warnings)
    for i in range(5):
        (root / "no" / f"{i}.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99))
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    warnings = json.loads(out)["warnings"]
    assert any("no: 5 files .jp2 are of no kind that is read" in one for one in warnings)


def test_one_file_is_one(tmp_path):
    """A film in two classes: of its pictures many are bad, of the files one."""
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)}, count=2)
    pages = [Image.open(root / "no" / f"{i}.png").rotate(90 * i) for i in (0, 1)] * 2
    for name in ("no", "yes"):
        pages[0].save(root / name / "film.tiff", save_all=True, append_images=pages[1:])
    code, out = look(root, "--json", "--frames", "all", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert (code, len(found["unreadable"])) == (2, 1)
    assert found["error"].endswith("1 of 6 files cannot be used")
    (one,) = found["unreadable"]
    assert one["path"] == "yes/film.tiff#0" and "3 more of its pictures" in one["reason"]


def test_copies_are_listed(tmp_path):
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    (root / "no" / "copy.png").write_bytes((root / "no" / "0.png").read_bytes())
    with Image.open(root / "yes" / "3.png") as image:
        image.resize((60, 60), Image.Resampling.BICUBIC).save(root / "yes" / "larger.png")
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert code == 1
    assert found["duplicates"] == [
        {"kind": "identical", "paths": ["no/0.png", "no/copy.png"]},
        {"kind": "near", "paths": ["yes/3.png", "yes/larger.png"]},
    ]
    assert found["groups"] == {"total": 24, "no": 12, "yes": 12}
    assert any("4 images are copies" in text for text in found["warnings"])


def test_what_cannot_be_read_is_listed_and_refused(tmp_path):
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    (root / "no" / "words.png").write_text("words")
    whole = (root / "yes" / "1.png").read_bytes()
    (root / "yes" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "yes" / "twin.png").write_bytes((root / "no" / "0.png").read_bytes())
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert code == 2
    assert [one["path"] for one in found["unreadable"]] == [
        "no/words.png",
        "yes/cut.png",
        "yes/twin.png",
    ]
    assert "the same picture as" in found["unreadable"][2]["reason"]
    assert found["counts"] == {"no": 12, "yes": 13}
    assert "3 of 27 files cannot be used" in found["error"]


def test_labels_that_leak_through_the_files(tmp_path):
    root = fill(tmp_path / "leak", {"a": (20, 30), "b": (30, 20)})
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert code == 1
    assert found["metadata"] == {"accuracy": 1.0, "majority": 0.5}
    assert any("labels leak" in text for text in found["warnings"])
    root = tmp_path / "even"
    for k, size in enumerate([(20, 30), (30, 20)]):
        fill(tmp_path / f"part{k}", {"a": size, "b": size}, seed=k)
        for file in sorted((tmp_path / f"part{k}").rglob("*.png")):
            target = root / file.parent.name / f"{k}_{file.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    assert code == 0, out


def test_an_official_split_that_leaks(tmp_path):
    root = tmp_path / "set"
    for k, split in enumerate(("Training", "Testing")):
        fill(root / split, {"no": (40, 40), "yes": (40, 40)}, seed=k)
    (root / "Testing" / "no" / "x.png").write_bytes(
        (root / "Training" / "no" / "0.png").read_bytes()
    )
    code, out = look(root, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert code == 1
    assert found["splits"] == {
        "train": 24,
        "val": 0,
        "test": 25,
        "test_with_twin": 1,
        "test_clean": 24,
    }
    assert any("the official split leaks: 1 of 25" in text for text in found["warnings"])


def test_refused_sets_are_still_one_object(tmp_path):
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as opened:
        opened.writestr("../evil.png", b"x")
    cases = {
        "empty": "no images and no class folders",
        "missing": "does not exist",
        "evil.zip": "a name outside",
    }
    for name, message in cases.items():
        code, out = look(tmp_path / name, "--json", sheet=tmp_path / "s.png")
        found = json.loads(out)
        assert code == 2
        assert message in found["error"]
        assert (found["counts"], found["layout"]) == ({}, None)
        code, out = look(tmp_path / name, sheet=tmp_path / "s.png")
        assert code == 2 and "refused" in out
    assert not (tmp_path / "s.png").exists()


def test_an_archive_is_looked_at_as_its_folder(tmp_path):
    root = fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    (root / "no" / "words.png").write_text("words")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as opened:
        for file in sorted(root.rglob("*.png")):
            opened.write(file, file.relative_to(root).as_posix())
    _, one = look(root, "--json", sheet=tmp_path / "s.png")
    _, two = look(tmp_path / "set.zip", "--json", sheet=tmp_path / "s.png")
    one, two = json.loads(one), json.loads(two)
    for name in ("counts", "unreadable", "duplicates", "warnings", "groups", "metadata"):
        assert one[name] == two[name], name


def test_flags_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="did you mean --json"):
        entry.main([str(tmp_path), "--jsn"])
    with pytest.raises(ConfigError, match="(?i)missing"):
        entry.main([])


def test_the_kaggle_set(kaggle, tmp_path):
    """Facts of the set, and how little time a look at it takes."""
    started = time.perf_counter()
    code, out = look(kaggle, "--json", sheet=tmp_path / "s.png")
    found = json.loads(out)
    assert code == 1
    assert time.perf_counter() - started < 30
    assert (found["counts"], found["positive"]) == ({"no": 98, "yes": 155}, "yes")
    assert found["groups"] == {"total": 199, "no": 76, "yes": 123}
    assert found["modes"] == {"RGB": 217, "L": 30, "RGBA": 5, "P": 1}
    assert found["sizes"]["distinct"] == 184
    assert found["looks_like"].startswith("Kaggle navoneel")
    assert 0.68 < found["metadata"]["accuracy"] < 0.80
    assert any("labels leak" in text for text in found["warnings"])


def test_many_warnings_of_one_kind_are_counted(tmp_path):
    for name in ("no", "yes"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(30):
            level = i + (100 if name == "yes" else 0)
            Image.fromarray(np.full((40, 40), level, np.uint8)).save(
                tmp_path / "set" / name / f"{i}.png"
            )
    status, text = look(tmp_path / "set", "--json", sheet=tmp_path / "s.png")
    warnings = json.loads(text)["warnings"]
    assert status == 1
    assert sum("constant image" in one for one in warnings) == 20
    assert any(one.startswith("60 images that are constant") for one in warnings)


def test_a_sheet_that_cannot_be_written(tmp_path):
    fill(tmp_path / "set", {"no": (40, 40), "yes": (40, 40)})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="sheet .*cannot be written"):
        inspect.inspect(tmp_path / "set", sheet=tmp_path / "file" / "s.png")
