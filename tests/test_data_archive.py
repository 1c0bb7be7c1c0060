"""Archives give what their folder gives, or are refused before anything is written."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import archive, load_data, load_folder
from jaxbrain.errors import DataError


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "set"
    for name in ("no", "yes"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            picture = Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8))
            picture.save(root / name / f"{name} ({i}).png")
    return root


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted(folder.rglob("*.png")):
            opened.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def tarred(folder: Path, path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as opened:
        opened.add(folder, "brain_tumor_dataset")
    return path


@pytest.fixture
def no_leftovers(tmp_path, monkeypatch):
    """Temporary folders go to a place of their own, which is empty afterwards."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(archive.tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("no_leftovers")
def test_archives_give_what_the_folder_gives(folder, tmp_path):
    want, records = load_folder(folder, image_size=24, dedup="group")
    paths = [
        zipped(folder, tmp_path / "set.zip"),
        zipped(folder, tmp_path / "wrapped.zip", "brain_tumor_dataset/"),
        tarred(folder, tmp_path / "set.tar", "w"),
        tarred(folder, tmp_path / "set.tar.gz", "w:gz"),
        tarred(folder, tmp_path / "set.tar.xz", "w:xz"),
        # By content, whatever the name says.
        zipped(folder, tmp_path / "download"),
    ]
    for path in paths:
        data, found = load_data(path, image_size=24, dedup="group")
        for one, two in zip(data, want, strict=True):
            np.testing.assert_array_equal(one, two)
        assert found.digest == records.digest
        assert found.root == str(path)
        assert [Path(p).name for p in found.path] == [Path(p).name for p in records.path]
        assert all("jaxbrain-" not in note for note in found.notes)


@pytest.mark.usefixtures("no_leftovers")
def test_the_kaggle_archive_holds_its_images_twice(folder, tmp_path):
    path = tmp_path / "archive.zip"
    zipped(folder, path)
    with zipfile.ZipFile(path, "a") as opened:
        for file in sorted(folder.rglob("*.png")):
            opened.write(file, f"brain_tumor_dataset/{file.relative_to(folder).as_posix()}")
    data, records = load_data(path, image_size=24)
    assert len(data.label) == 6
    assert any("second copy" in note and str(path) in note for note in records.notes)


@pytest.mark.usefixtures("no_leftovers")
def test_a_bad_image_inside_is_named_by_the_archive(folder, tmp_path):
    (folder / "no" / "words.png").write_text("words")
    path = zipped(folder, tmp_path / "set.zip")
    with pytest.raises(DataError) as caught:
        load_data(path)
    assert f"{path}/no/words.png: not an image" in str(caught.value)
    assert "jaxbrain-" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as opened:
        opened.writestr("no/1.png", b"x")
    with pytest.raises(DataError, match=f"^{tmp_path}/one.zip: one class only"):
        load_data(tmp_path / "one.zip")


def evil_zip(path: Path, name: str, **attributes) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("no/1.png", b"fine")
        member = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(member, key, value)
        opened.writestr(member, b"/etc/passwd")
    return path


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize(
    "name, attributes, reason",
    [
        ("../evil", {}, "outside"),
        ("no/../../evil", {}, "outside"),
        ("/abs", {}, "outside"),
        ("..\\evil", {}, "outside"),
        ("C:\\evil", {}, "outside"),
        ("c:evil", {}, "outside"),
        ("no/link", {"external_attr": (stat.S_IFLNK | 0o777) << 16}, "a symbolic link"),
        ("no/pipe", {"external_attr": (stat.S_IFIFO | 0o777) << 16}, "not a plain file"),
        ("no/1.png", {}, "there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unsafe_zips(tmp_path, name, attributes, reason):
    path = evil_zip(tmp_path / "evil.zip", name, **attributes)
    with pytest.raises(DataError) as caught:
        load_data(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: member ") and reason in text and "nothing was" in text
    assert not (tmp_path.parent / "evil").exists() and not (tmp_path / "evil").exists()


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize(
    "name, kind, reason",
    [
        ("../evil", tarfile.REGTYPE, "outside"),
        ("/abs", tarfile.REGTYPE, "outside"),
        ("no/link", tarfile.SYMTYPE, "a link"),
        ("no/hard", tarfile.LNKTYPE, "a link"),
        ("no/device", tarfile.CHRTYPE, "not a plain file"),
    ],
)
def test_unsafe_tars(tmp_path, name, kind, reason):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as opened:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "../../evil"
        opened.addfile(member, io.BytesIO(b""))
    with pytest.raises(DataError, match=f"member '{name}': .*{reason}"):
        load_data(path)


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs(tmp_path, kind):
    """200 MB of zeros in 200 kB."""
    path, zeros = tmp_path / f"bomb.{kind}", b"\0" * 200_000_000
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("no/1.png", zeros)
    else:
        with tarfile.open(path, "w:gz") as opened:
            member = tarfile.TarInfo("no/1.png")
            member.size = len(zeros)
            opened.addfile(member, io.BytesIO(zeros))
    with pytest.raises(DataError, match="200000000 bytes so far.*100 times its own"):
        load_data(path)


@pytest.mark.usefixtures("no_leftovers")
def test_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as opened:
        for i in range(7):
            opened.writestr(f"no/{i}.png", b"x")
    with pytest.raises(DataError, match="6 members"):
        load_data(tmp_path / "many.zip")


@pytest.mark.usefixtures("no_leftovers")
def test_more_than_the_disk_holds(folder, tmp_path, monkeypatch):
    path = zipped(folder, tmp_path / "set.zip")
    usage = archive.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="has 10 left"):
        load_data(path)


@pytest.mark.usefixtures("no_leftovers")
def test_damaged_archives(folder, tmp_path):
    """Cut, flipped, encrypted, or of another kind: one message that names the file."""
    whole = zipped(folder, tmp_path / "set.zip").read_bytes()
    path = tmp_path / "damaged.zip"
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=f"^{path}: "):
        load_data(path)
    path = tarred(folder, tmp_path / "cut.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=f"^{path}: damaged archive"):
        load_data(path)
    for content, what in (
        (whole[:200], "a zip archive that is cut off: its end is missing"),
        (b"Rar!\x1a\x07\x00", "a RAR archive"),
        (b"", "is a file"),
    ):
        path = tmp_path / "set.rar"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: {what}: expected a folder of images, or a"):
            load_data(path)


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("form", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_that_are_cut(folder, tmp_path, form):
    """Wherever they are cut: also between two members, where a tar alone would not tell."""
    path = tarred(folder, tmp_path / "set.tar", form)
    whole = path.read_bytes()
    places = [len(whole) // 3, len(whole) // 2]
    if form == "w":
        with tarfile.open(path) as opened:
            places.append(opened.getmembers()[-1].offset)
        # Of before POSIX, without the word that says tar.
        old = bytearray(whole)
        with tarfile.open(path) as opened:
            for member in opened.getmembers():
                header = old[member.offset : member.offset + 512]
                header[257:265], header[148:156] = bytes(8), b" " * 8
                header[148:156] = b"%06o\0 " % sum(header)
                old[member.offset : member.offset + 512] = header
        path.write_bytes(old)
        assert len(load_data(path, image_size=16)[0].label) == 6
        path.write_bytes(old[: places[-1]])
        with pytest.raises(DataError, match="cut off"):
            load_data(path)
    for size in places:
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cut off"):
            load_data(path)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_names_with_backslashes(folder, tmp_path, form):
    """As some programs write them on Windows; out of the folder they are refused as ever."""
    path = tmp_path / f"set.{form}"

    def pack(names):
        if form == "zip":
            with zipfile.ZipFile(path, "w") as opened:
                for name, file in names.items():
                    opened.writestr(name, file.read_bytes())
        else:
            with tarfile.open(path, "w") as opened:
                for name, file in names.items():
                    opened.add(file, name)

    files = {f"set\\{one.parent.name}\\{one.name}": one for one in folder.rglob("*.png")}
    pack(files)
    want, records = load_folder(folder, image_size=16)
    data, found = load_data(path, image_size=16)
    np.testing.assert_array_equal(data.image, want.image)
    assert [name.removeprefix("set/") for name in found.path] == list(records.path)
    for name in ("no\\..\\..\\evil.png", "C:\\evil.png", "\\evil.png"):
        pack(files | {name: next(iter(files.values()))})
        with pytest.raises(DataError, match="a name outside the archive: nothing was unpacked"):
            load_data(path)
    pack(files | {"set/no/no (0).png": next(iter(files.values()))})
    with pytest.raises(DataError, match="there twice"):
        load_data(path)


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("alias", ["no/./no (0).png", "no//no (0).png", "./no/no (0).png"])
def test_one_member_under_two_names(folder, tmp_path, alias):
    path = zipped(folder, tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(alias, (folder / "no" / "no (1).png").read_bytes())
    with pytest.raises(DataError, match="there twice: nothing was unpacked"):
        load_folder(path)


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_what_is_cut_is_no_archive(folder, tmp_path, mode):
    whole = tarred(folder, tmp_path / f"set.tar.{mode}", f"w:{mode}").read_bytes()
    path = tmp_path / f"cut.tar.{mode}"
    for size in (0, 3, 12, 30):
        path.write_bytes(whole[:size])
        assert not archive.is_archive(path)
        with pytest.raises(DataError):
            load_folder(path)


def test_a_header_that_is_a_bomb(tmp_path):
    """A name of 64 MB, packed to some kB: refused before it is in memory."""
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        one = tarfile.TarInfo("no/0.png")
        one.pax_headers = {"comment": "x" * 64_000_000}
        opened.addfile(one, io.BytesIO())
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError):
        load_folder(path)
