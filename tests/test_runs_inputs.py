"""Folders that lie: links, names, films, permissions, files that change; the image cache."""

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxbrain.data import cache, decode, load_folder
from jaxbrain.errors import DataError


def noise(seed: int, size=(40, 36)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, size, np.uint8))


@pytest.fixture
def root(tmp_path) -> Path:
    path = tmp_path / "set"
    for k, name in enumerate(("no", "yes")):
        (path / name).mkdir(parents=True)
        for i in range(3):
            noise(10 * k + i).save(path / name / f"{i}.png")
    return path


def refusal(root: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_folder(root, image_size=16, **options)
    return str(caught.value)


def test_links_inside_are_followed(root):
    (root / "no" / "again.png").symlink_to(root / "no" / "0.png")
    data, _ = load_folder(root, image_size=16, dedup="group")
    assert len(data.label) == 7
    assert data.group[0] == data.group[-4]


def test_links_elsewhere_are_refused(root, tmp_path):
    noise(5).save(tmp_path / "secret.png")
    (root / "no" / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "yes" / "gone.png").symlink_to(root / "yes" / "nothing.png")
    text = refusal(root)
    assert f"{root}/no/out.png: a symbolic link out of the folder" in text
    # Where caches of data sets link to their files, what to do.
    assert f"to {tmp_path}/secret.png: where a cache keeps the files, copy them (cp -rL" in text
    assert f"{root}/yes/gone.png: a symbolic link to nothing" in text
    assert "2 of 8 files" in text


@pytest.mark.parametrize("where", ["loop", "no/loop"])
def test_loops_end(root, where):
    (root / where).symlink_to(root)
    if "/" in where:
        # A folder inside a class is not entered.
        data, records = load_folder(root, image_size=16)
        assert len(data.label) == 6
        assert any("a folder inside a class" in note for note in records.notes)
    else:
        assert f"{root}/loop: a symbolic link to a folder around it" in refusal(root)


def test_a_class_folder_elsewhere_is_refused(root, tmp_path):
    (root / "no").rename(tmp_path / "no")
    (root / "no").symlink_to(tmp_path / "no")
    assert "a symbolic link out of the folder" in refusal(root)


def test_a_split_folder_elsewhere_is_refused_inside_a_wrapper_too(root, tmp_path):
    root.rename(tmp_path / "elsewhere")
    (root / "wrapper").mkdir(parents=True)
    (root / "wrapper" / "Training").symlink_to(tmp_path / "elsewhere")
    assert "wrapper/Training: a symbolic link out of the folder" in refusal(root)


def test_the_root_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    data, _ = load_folder(tmp_path / "link", image_size=16)
    assert len(data.label) == 6


NAMES = ["脳 (1).png", "a\nb.png", "with space.png", "=cmd.png", "[bold].png", "é.png"]


def test_names_of_every_kind(root):
    names = [os.fsencode(name) for name in NAMES] + [b"bad\xff.png"]
    for i, name in enumerate(names):
        noise(100 + i).save(root / "no" / "new.png")
        os.rename(root / "no" / "new.png", os.path.join(os.fsencode(root / "no"), name))
    data, records = load_folder(root, image_size=16)
    assert len(data.label) == 6 + len(names)
    assert "no/脳 (1).png" in records.path
    assert "no/bad\udcff.png" in records.path
    # A message stays one line and can be printed anywhere.
    (root / "no" / "c\nd.png").write_text("words")
    os.rename(
        os.path.join(os.fsencode(root / "no"), b"bad\xff.png"),
        os.path.join(os.fsencode(root / "no"), b"worse\xff.png"),
    )
    Path(os.fsdecode(os.path.join(os.fsencode(root / "no"), b"worse\xff.png"))).write_text("x")
    text = refusal(root)
    assert f"{root}/no/c\\nd.png: not an image" in text
    assert f"{root}/no/worse\\udcff.png: not an image" in text
    text.encode()


def test_names_that_look_alike_are_noted(root):
    noise(7).save(root / "no" / "caf\u00e9.png")
    noise(8).save(root / "no" / "cafe\u0301.png")
    _, records = load_folder(root, image_size=16)
    assert any("2 files whose names look alike" in note for note in records.notes)


def test_films(root):
    """Refused; or the first frame; or all, as images of one group."""
    frames = [noise(50 + i).convert("P") for i in range(4)]
    frames[0].save(root / "no" / "film.gif", save_all=True, append_images=frames[1:])
    pages = [noise(60 + i) for i in range(3)]
    pages[0].save(root / "yes" / "pages.tiff", save_all=True, append_images=pages[1:])
    text = refusal(root)
    assert "film.gif: 4 frames" in text and "pages.tiff: 3 frames" in text
    data, records = load_folder(root, image_size=16, frames="first")
    assert len(data.label) == 8
    assert "no/film.gif#0" in records.path
    data, records = load_folder(root, image_size=16, frames="all")
    assert len(data.label) == 6 + 7
    place = [i for i, path in enumerate(records.path) if "film.gif#" in path]
    assert len(place) == 4 and len(set(data.group[place])) == 1
    assert len(np.unique(data.group)) == 6 + 2
    first = np.asarray(pages[0], np.float32)
    small = records.small[records.path.index("yes/pages.tiff#0")]
    assert (
        np.corrcoef(
            small.ravel(),
            np.asarray(
                Image.fromarray(first / 255).resize((32, 32), Image.Resampling.BILINEAR)
            ).ravel(),
        )[0, 1]
        > 0.99
    )


def test_nothing_of_exif_is_left(root, tmp_path):
    """A name in a photograph's tags reaches no message, record or cache."""
    exif = Image.Exif()
    exif[0x013B], exif[0x010E] = "DOE^JANE", "DOE, born 1970"
    noise(80).save(root / "no" / "photo.jpg", exif=exif)
    assert b"DOE" in (root / "no" / "photo.jpg").read_bytes()
    _, records = load_folder(root, image_size=16, cache_folder=tmp_path / "cache")
    assert "no/photo.jpg" in records.path
    (kept,) = (tmp_path / "cache").iterdir()
    assert b"DOE" not in kept.read_bytes() and "DOE" not in repr(records)


def test_strips_and_dots(root):
    noise(70, (20, 90)).save(root / "no" / "strip.png")
    noise(71, (1, 1)).save(root / "no" / "dot.png")
    text = refusal(root)
    assert "strip.png: 90x20 pixels, longer than 4 to 1" in text
    assert "dot.png: 1x1 pixels, less than 16 a side" in text


def test_a_file_one_may_not_read(root, monkeypatch):
    """As root a mode of 000 does not stop one, so the system's answer is stood in for."""
    read = Path.read_bytes

    def refused(path):
        if path.name == "1.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(decode.Path, "read_bytes", refused)
    text = refusal(root)
    assert f"{root}/no/1.png: cannot be read: Permission denied (user " in text


def test_a_bomb_is_refused_from_its_header(root):
    """50,000 x 50,000 pixels of one bit; nothing is allocated."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    side = 50_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (side // 8 + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
    (root / "no" / "bomb.png").write_bytes(content + chunk(b"IEND", b""))
    start = time.perf_counter()
    text = refusal(root)
    assert time.perf_counter() - start < 5
    assert "bomb.png: " in text and "more than 64000000 pixels" in text
    Image.new("1", (12_000, 12_000)).save(root / "no" / "bomb.png")
    assert "bomb.png: 12000x12000, more than 64000000 pixels" in refusal(root)


@pytest.fixture
def counted(monkeypatch):
    """How many files were decoded."""
    from jaxbrain.data import folder

    calls, read = [], folder.read_file

    def count(path, *rest):
        calls.append(path)
        return read(path, *rest)

    monkeypatch.setattr(folder, "read_file", count)
    return calls


def test_the_cache_gives_the_same(root, tmp_path, counted):
    options = dict(image_size=16, dedup="group", cache_folder=tmp_path / "cache")
    first = load_folder(root, **options)
    assert len(counted) == 6
    again = load_folder(root, **options)
    assert len(counted) == 6
    for one, two in zip(first[0], again[0], strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype
    assert first[1] == again[1]
    np.testing.assert_array_equal(first[1].small, again[1].small)
    assert type(again[1].size[0]) is tuple
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_mode & 0o077 == 0 or (tmp_path / "cache").stat().st_mode & 0o077 == 0
    # Other options, a file that changed, one more, one less: none is taken for another.
    load_folder(root, **options | {"image_size": 20})
    assert len(counted) == 12
    load_folder(root, **options | {"patients": "ignore"})
    assert len(counted) == 18
    noise(99).save(root / "no" / "0.png")
    data, _ = load_folder(root, **options)
    assert len(counted) == 24
    assert not np.array_equal(data.image, first[0].image)
    (root / "yes" / "2.png").unlink()
    assert len(load_folder(root, **options)[0].label) == 5


def test_the_cache_goes_by_what_files_hold(tmp_path, counted):
    """Files of one size and one time that trade places, or are written anew in place."""
    for name in ("no", "yes"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(3):
            noise(i + 10 * (name == "yes")).save(tmp_path / "set" / name / f"{i}.bmp")
    one, two = (tmp_path / "set" / name / "0.bmp" for name in ("no", "yes"))

    def look():
        for path in (tmp_path / "set").rglob("*.bmp"):
            os.utime(path, (315532800, 315532800))
        options = dict(image_size=16, cache_folder=tmp_path / "cache")
        data = load_folder(tmp_path / "set", **options)[0]
        np.testing.assert_array_equal(
            data.image, load_folder(tmp_path / "set", image_size=16)[0].image
        )
        return data

    first = look()
    before, content = len(counted), one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    swapped = look()
    assert len(counted) == before + 12
    np.testing.assert_array_equal(swapped.image[0], first.image[3])
    np.testing.assert_array_equal(swapped.image[3], first.image[0])
    with one.open("r+b") as file:
        file.seek(60)
        file.write(b"\x07" * 900)
    changed = look()
    assert len(counted) == before + 24
    assert not np.array_equal(changed.image[0], swapped.image[0])


def test_what_is_left_out_is_said_of_a_cache_too(root, tmp_path, counted):
    options = dict(image_size=16, cache_folder=tmp_path / "cache")
    assert load_folder(root, **options)[1].warnings == ()
    for i in range(4):
        (root / "yes" / f"{i}.jp2").write_bytes(b"x")
    for _ in range(2):
        (text,) = load_folder(root, **options)[1].warnings
        assert text.endswith("4 files .jp2 are of no kind that is read, and are left out")
    assert len(counted) == 12


def test_a_poisoned_cache_is_not_used(root, tmp_path, counted):
    options = dict(image_size=16, cache_folder=tmp_path / "cache")
    want, _ = load_folder(root, **options)
    (path,) = (tmp_path / "cache").iterdir()
    content = path.read_bytes()
    for place in (0, 70, len(content) // 2, len(content) - 1):
        poisoned = bytearray(content)
        poisoned[place] ^= 1
        path.write_bytes(poisoned)
        before = len(counted)
        data, _ = load_folder(root, **options)
        assert len(counted) == before + 6
        np.testing.assert_array_equal(data.image, want.image)
        assert path.read_bytes() == content


def test_bad_folders_are_not_kept_and_old_caches_go(root, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    (root / "no" / "words.png").write_text("words")
    refusal(root, cache_folder=folder)
    assert not folder.exists() or list(folder.iterdir()) == []
    (root / "no" / "words.png").unlink()
    monkeypatch.setattr(cache, "_KEEP", 2)
    for size in (16, 17, 18, 19):
        load_folder(root, image_size=size, cache_folder=folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.timeout(30)
def test_pipes_and_devices_are_not_read(root):
    os.mkfifo(root / "no" / "pipe.png")
    os.mkfifo(root / "no" / "pipe")
    (root / "yes" / "zero.png").symlink_to("/dev/zero")
    text = refusal(root)
    assert f"{root}/no/pipe.png: not a plain file" in text
    assert "2 of 8 files" in text


def test_a_file_of_many_gigabytes_is_not_read(root):
    with (root / "no" / "big.png").open("wb") as file:
        file.truncate(30 * 10**9)
    assert "big.png: 30000000000 bytes, more than 4000000000" in refusal(root)


def test_one_class_in_two_spellings(tmp_path):
    """Is one class across split folders, and refused beside itself."""
    for k, name in enumerate(("Training/Glioma Tumor", "Training/no", "Testing/glioma_tumor")):
        (tmp_path / "a" / name).mkdir(parents=True)
        noise(k).save(tmp_path / "a" / name / "0.png")
    (tmp_path / "a" / "Testing" / "no").mkdir()
    noise(9).save(tmp_path / "a" / "Testing" / "no" / "0.png")
    _, records = load_folder(tmp_path / "a", image_size=16)
    assert len(records.class_names) == 2 and records.class_names[0] == "no"
    for k, name in enumerate(("caf\u00e9", "cafe\u0301", "no")):
        (tmp_path / "b" / name).mkdir(parents=True)
        noise(k).save(tmp_path / "b" / name / "0.png")
    assert "both mean class" in refusal(tmp_path / "b")


def test_control_characters_are_shown(root):
    (root / "no").rename(root / "gl\x1b[31mioma")
    (root / "empty\n").mkdir()
    text = refusal(root)
    assert "\x1b" not in text and "empty\\n" in text


def test_a_folder_that_may_not_be_searched(root):
    if os.geteuid() == 0:
        pytest.skip("root may search every folder")
    (root / "no").chmod(0o444)
    try:
        assert "cannot be read" in refusal(root)
    finally:
        (root / "no").chmod(0o755)


def test_a_name_longer_than_any_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / ("x" * 300))


def test_the_cache_reads_archives_of_any_size(tmp_path):
    """A single file of more bytes is never decoded; an archive is."""
    path = tmp_path / "set.zip"
    path.write_bytes(b"one")
    names = {cache.key([path], {}, None)}
    path.write_bytes(b"two")
    assert cache.key([path], {}, None) not in names
    assert cache.key([path], {}, 2) == cache.key([path], {}, 1)


def test_files_that_only_begin_like_images(root):
    """Two small numbers, and HDF5 under another name, are left out with a warning."""
    (root / "no" / "raw.dat").write_bytes(np.arange(2, 40, 6, dtype="<i4").tobytes())
    (root / "no" / "pair.dat").write_bytes(np.array([2, 4, 7, 9, 0, 0], "<i4").tobytes())
    (root / "yes" / "volume.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    data, records = load_folder(root, image_size=16)
    assert len(data.label) == 6
    assert sorted(one.split(": ")[1].split(" are")[0] for one in records.warnings) == [
        "1 files .h5",
        "2 files .dat",
    ]


def test_a_picture_among_matlab_files_has_no_class(tmp_path):
    noise(1).save(tmp_path / "1.png")
    (tmp_path / "1.png").rename(tmp_path / "1.mat")
    text = refusal(tmp_path)
    assert "1.mat: says no class: expected a file of Cheng's set" in text
