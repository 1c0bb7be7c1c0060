"""Files of torch.save and pickled arrays: both layouts by hand, what they may not name or do."""

import collections
import io
import pickle  # noqa: S403  (only to write what the reader has to refuse)
import random
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jaxbrain.baselines import pickled, torch_file
from jaxbrain.errors import DataError


class Name(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: Name
    given: tuple


class Storage(NamedTuple):
    given: tuple


def written(value) -> bytes:
    """The operations of protocol 2 that make a value, as PyTorch's pickles have them."""
    match value:
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return written(value.function) + written(value.given) + b"R"
        case Storage():
            return written(value.given) + b"Q"
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(written, value)) + b"t"
        case list():
            return b"](" + b"".join(map(written, value)) + b"e"
        case dict():
            pairs = b"".join(written(one) for pair in value.items() for one in pair)
            return b"}(" + pairs + b"u"
    raise TypeError(value)


def dumped(value) -> bytes:
    return b"\x80\x02" + written(value) + b"."


ORDERED = Name("collections", "OrderedDict")
REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
RNG = np.random.default_rng(0)
VALUES = {"7": RNG.normal(size=24).astype("<f4"), "3": np.array([5, -6], "<i8")}
KINDS = {"<f4": "FloatStorage", "<i8": "LongStorage"}


def tensor(key: str, offset: int, size: tuple, stride: tuple, zipped: bool, **changed) -> Call:
    values = VALUES[key]
    kind = Name("torch", changed.get("kind", KINDS[values.dtype.str]))
    given = "storage", kind, key, "cpu", changed.get("count", len(values))
    storage = Storage(given if zipped else (*given, None))
    return Call(REBUILD, (storage, offset, size, stride, False, Call(ORDERED, ())))


def state(zipped: bool) -> dict:
    return {
        # As a kernel of TensorFlow's in PyTorch's order: other strides than its shape has.
        "conv.weight": tensor("7", 0, (2, 3, 4), (1, 2, 6), zipped),
        "part": tensor("7", 5, (3,), (2,), zipped),
        "count": tensor("3", 1, (), (), zipped),
        "none": tensor("3", 0, (0, 4), (4, 1), zipped),
    }


WANTED = {
    "conv.weight": VALUES["7"].reshape(4, 3, 2).transpose(2, 1, 0),
    "part": VALUES["7"][5:10:2],
    "count": np.int64(-6),
    "none": np.zeros((0, 4), np.int64),
}


def archive(top: bytes, compression=zipfile.ZIP_STORED, **changed) -> bytes:
    members = {"data.pkl": top, "version": b"3\n", "byteorder": b"little"}
    members |= {f"data/{key}": value.tobytes() for key, value in VALUES.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in (members | changed).items():
            opened.writestr(f"net/{name}", content)
    return file.getvalue()


MACHINE = {"protocol_version": 1001, "little_endian": True}


def in_a_row(top: bytes, machine=MACHINE, magic=0x1950A86A20F9469CFC6C) -> bytes:
    parts = [dumped(magic), dumped(1001), dumped(machine), top, dumped(list(VALUES))]
    for value in VALUES.values():
        parts += [struct.pack("<q", len(value)), value.tobytes()]
    return b"".join(parts)


def ordered(values: dict) -> bytes:
    """A pickled OrderedDict with the state that `net.state_dict()` gives it."""
    pairs = b"".join(written(one) for pair in values.items() for one in pair)
    metadata = {"_metadata": Call(ORDERED, ())}
    return (
        b"\x80\x02" + written(Call(ORDERED, ())) + b"(" + pairs + b"u" + written(metadata) + b"b."
    )


ZIP, ROW = archive(ordered(state(True))), in_a_row(ordered(state(False)))


def load(tmp_path: Path, content: bytes) -> dict:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    return torch_file.load(path)


@pytest.mark.parametrize("content", [ZIP, ROW, archive(dumped(state(True)))])
def test_both_layouts_hold_the_same_tensors(tmp_path, content):
    found = load(tmp_path, content)
    assert list(found) == list(WANTED)
    for name, want in WANTED.items():
        np.testing.assert_array_equal(found[name], want)
        assert found[name].dtype == want.dtype and found[name].shape == want.shape
        assert not found[name].flags.writeable


def refused(tmp_path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, content)
    assert "net.pth: " in str(caught.value) and "torch.save" in str(caught.value)


NAMED = {
    "posix.system": Name("posix", "system"),
    "os.system": Name("os", "system"),
    "builtins.eval": Name("builtins", "eval"),
    "__builtin__.getattr": Name("__builtin__", "getattr"),
    "torch.load": Name("torch", "load"),
    "torch.storage._load_from_bytes": Name("torch.storage", "_load_from_bytes"),
    "torch._utils._rebuild_parameter": Name("torch._utils", "_rebuild_parameter"),
    "torch.FloatStorage.__reduce__": Name("torch", "FloatStorage.__reduce__"),
    "collections.OrderedDict.update": Name("collections", "OrderedDict.update"),
    "numpy.ndarray": Name("numpy", "ndarray"),
}


@pytest.mark.parametrize("layout", [archive, in_a_row])
@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_tensor_is_not_named(tmp_path, layout, name):
    """Not even without a call."""
    proof = tmp_path / "proof"
    for value in (Call(NAMED[name], (f"touch {proof}",)), NAMED[name]):
        refused(tmp_path, layout(dumped({"a": value})), rf"names {name}, which no tensor needs")
    assert not proof.exists()


class Harm:
    """What Python's own pickle runs as it is read."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


@pytest.mark.parametrize("protocol", range(6))
def test_what_pickle_would_run_is_not_run(tmp_path, protocol):
    proof = tmp_path / "proof"
    content = pickle.dumps({"a": Harm(proof)}, protocol)
    pickle.loads(content)  # noqa: S301  (it is harmful indeed)
    assert proof.exists()
    proof.unlink()
    refused(tmp_path, archive(content), "names |has the operation ")
    refused(tmp_path, in_a_row(content), "names |has the operation ")
    refused(tmp_path, content, "is no file|cannot be read|names |has the operation |no storage")
    (tmp_path / "net.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=r"net\.ckpt: .*expected dicts of NumPy arrays"):
        pickled.arrays(tmp_path / "net.ckpt")
    assert not proof.exists()


def test_allowed_names_do_nothing_but_build(tmp_path):
    cases = {
        "calls what is no function": Call(Name("torch", "FloatStorage"), (10**12,)),
        "ordered dict in an unknown form": Call(ORDERED, ([("a", 1)],)),
        "tensor in an unknown form": Call(REBUILD, (1, 0, (1,), (1,), False, None)),
        "other things than tensors": {"a": 1},
        "storage in an unknown form": {"a": Storage(("storage", 1, "7", "cpu", 24))},
    }
    for message, value in cases.items():
        refused(tmp_path, archive(dumped(value)), message)
    # A state for a name, by which Python's pickle would set its attributes.
    given = b"\x80\x02" + written(ORDERED) + written((None, {"update": 1})) + b"b."
    refused(tmp_path, archive(given), "gives a Named a state")
    nested = b"\x80\x02}" + b")" + b"\x85" * 10**5 + b"Ns."
    refused(tmp_path, archive(nested), "sets items of a dict by other than texts")
    refused(tmp_path, archive(b"\x80\x02r\xff\xff\xff\xff."), "cannot be read")
    refused(tmp_path, archive(b"\x80\x02R."), "takes more than it holds")


def test_tensors_lie_in_their_storages(tmp_path):
    for offset, size, stride in (
        (1, (2, 3, 4), (1, 2, 6)),
        (24, (1,), (1,)),
        (0, (2,), (10**30,)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (10**12,), (0,)),
        (0, (2, 2), (1,)),
    ):
        top = dumped({"a": tensor("7", offset, size, stride, True)})
        refused(tmp_path, archive(top), "outside of its storage of 24|in an unknown form")
    for changed in ({"count": 10**15}, {"count": 23}, {"kind": "DoubleStorage"}):
        for layout, zipped in ((archive, True), (in_a_row, False)):
            top = dumped({"a": tensor("7", 0, (1,), (1,), zipped, **changed)})
            refused(tmp_path, layout(top), "of storage '7'|storages and names")
    two = {"a": tensor("7", 0, (1,), (1,), True), "b": tensor("7", 0, (1,), (1,), True, count=9)}
    refused(tmp_path, archive(dumped(two)), "two storages '7'")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: cannot be read: No such file"):
        torch_file.load(tmp_path / "absent.pth")
    top = ordered(state(False))
    refused(tmp_path, in_a_row(top, magic=3), "is no file of torch.save")
    refused(tmp_path, in_a_row(top, {"little_endian": False}), "another order")
    refused(tmp_path, ROW + b"\0", "1 bytes after its storages")
    top = ordered(state(True))
    refused(tmp_path, archive(top, byteorder=b"big"), "another order")
    refused(tmp_path, archive(top, **{"more/data.pkl": top}), "2 data.pkl")
    refused(tmp_path, archive(top, zipfile.ZIP_DEFLATED), "compressed: expected it stored")


@pytest.mark.parametrize("content", [ZIP, ROW], ids=["zip", "row"])
def test_cut_and_damaged_files_are_refused(tmp_path, content):
    for length in range(0, len(content), 7):
        refused(tmp_path, content[:length], "expected tensors by their names")
    rng = random.Random(1)  # noqa: S311
    for _ in range(300):
        bad = bytearray(content)
        for at in rng.sample(range(len(bad)), 3):
            bad[at] = rng.randrange(256)
        # Other numbers are other numbers; anything else has its own error.
        try:
            found = load(tmp_path, bytes(bad))
        except DataError:
            continue
        assert sum(one.size for one in found.values()) <= 2 * 26


def test_pickled_arrays(tmp_path):
    arrays = {
        "VGG16_0": {"Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype("f4")}},
        "big": np.asfortranarray(RNG.normal(size=(3, 2))).astype(">f8", order="K"),
        "half": np.float16([1.5]),
    }
    path = tmp_path / "net.ckpt"
    for protocol in (2, 3):
        path.write_bytes(pickle.dumps(arrays, protocol))
        if protocol == 2:
            # Python 3 writes bytes as a call that encodes text.
            with pytest.raises(DataError, match="names _codecs.encode"):
                pickled.arrays(path)
            continue
        found = pickled.arrays(path)
        np.testing.assert_array_equal(
            found["VGG16_0/Conv_0/kernel"], arrays["VGG16_0"]["Conv_0"]["kernel"]
        )
        np.testing.assert_array_equal(found["big"], arrays["big"])
        np.testing.assert_array_equal(found["half"], arrays["half"])
    path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))
    assert set(pickled.arrays(path)) == {"VGG16_0/Conv_0/kernel", "big", "half"}
    itself = {}
    itself["a"] = {"b": itself}
    cases = {
        "has a int at 'a/b'": {"a": {"b": 1}},
        "has a dict at 'a/b'": itself,
        "array of type 'O8'": {"a": np.array([{}], dtype=object)},
        "has an array of type 'i8'": {"a": np.zeros(2, "i8")},
        "names collections.OrderedDict": collections.OrderedDict(a=np.zeros(2, "f4")),
    }
    for message, value in cases.items():
        path.write_bytes(pickle.dumps(value, 3))
        with pytest.raises(DataError, match=message):
            pickled.arrays(path)
    good = pickle.dumps({"a": np.zeros(4, "f4")}, 3)
    path.write_bytes(good.replace(b"K\x04\x85", b"K\x05\x85"))
    with pytest.raises(DataError, match=r"16 bytes for an array \(5,\) of float32"):
        pickled.arrays(path)
