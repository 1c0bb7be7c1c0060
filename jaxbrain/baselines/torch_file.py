"""Tensors by their names from a file of `torch.save`, without PyTorch.

Both layouts: the zip archive of PyTorch 1.6 and later, and the pickles in a row before it.
They hold pickles, which `pickled` reads without running them: a file may name an ordered
dict, a storage of numbers and the function that makes a tensor of it, and nothing else.

References:
    PyTorch, torch/serialization.py, `_legacy_load` and `_load`.
"""

import io
import math
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.baselines import pickled
from jaxbrain.errors import DataError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_TYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
}
_EXPECTED = "expected tensors by their names, saved by torch.save(net.state_dict())"


class _State(dict, pickled.Built):
    """An ordered dict; its state, the versions of layers, is not needed."""

    def build(self, state) -> None:
        pass


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _ordered(*given) -> _State:
    if given:
        raise DataError("has an ordered dict in an unknown form")
    return _State()


def _tensor(storage=None, offset=None, size=None, stride=None, *_) -> _Tensor:
    """A view of a storage, which has to lie inside it."""
    fits = isinstance(storage, _Storage) and pickled.whole(offset)
    fits = fits and type(size) is type(stride) is tuple and len(size) == len(stride)
    if not fits or not all(map(pickled.whole, (*size, *stride))):
        raise DataError("has a tensor in an unknown form")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # No more values than the storage has: repeated ones would be as large as a file likes.
    if math.prod(size) > storage.count or (math.prod(size) and last >= storage.count):
        raise DataError(f"has a tensor {size} outside of its storage of {storage.count}")
    return _Tensor(storage, offset, size, stride)


_NAMES: pickled.Names = {
    "collections OrderedDict": _ordered,
    "torch._utils _rebuild_tensor_v2": _tensor,
    **dict.fromkeys(_TYPES),
}


class _Storages(dict):
    """{key: _Storage}, filled by what a pickle says of them."""

    def __call__(self, given) -> _Storage:
        if type(given) is not tuple or len(given) not in (5, 6) or given[0] != "storage":
            raise DataError("has a storage in an unknown form")
        _, kind, key, _, count, *view = given
        known = isinstance(kind, pickled.Named) and kind.name in _TYPES
        if (
            not known
            or type(key) is not str
            or not pickled.whole(count)
            or view not in ([], [None])
        ):
            raise DataError("has a storage in an unknown form")
        storage = _Storage(key, np.dtype(_TYPES[kind.name]), count)
        if self.setdefault(key, storage) != storage:
            raise DataError(f"has two storages {key[:20]!r}")
        return storage


def _checked_length(storage: _Storage, length: int) -> None:
    wanted = storage.count * storage.dtype.itemsize
    if length != wanted:
        raise DataError(f"has {length} bytes of storage {storage.key[:20]!r}: expected {wanted}")


def _zipped(content: io.BytesIO) -> tuple[object, dict[str, np.ndarray]]:
    """What the pickle of an archive holds, and its storages."""
    storages = _Storages()
    with zipfile.ZipFile(content) as archive:
        found = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise DataError(f"is a zip archive with {len(found)} data.pkl: expected one")
        folder = found[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:
            # Stored as it is, so that it is not longer than the file.
            if archive.getinfo(folder + name).compress_type != zipfile.ZIP_STORED:
                raise DataError(f"has {folder + name} compressed: expected it stored")
            return archive.read(folder + name)

        if f"{folder}byteorder" in archive.namelist() and member("byteorder") != b"little":
            raise DataError("has its bytes in another order than little-endian")
        top = pickled.read(io.BytesIO(member("data.pkl")), _NAMES, storages)
        values = {}
        for key, storage in storages.items():
            own = member(f"data/{key}")
            _checked_length(storage, len(own))
            values[key] = np.frombuffer(own, storage.dtype)
    return top, values


def _in_a_row(content: io.BytesIO) -> tuple[object, dict[str, np.ndarray]]:
    """`_zipped` of the older layout: five pickles, then each storage after its length."""
    magic, version, machine = (pickled.read(content, {}) for _ in range(3))
    if magic != _MAGIC or version != _PROTOCOL or not isinstance(machine, dict):
        raise DataError("is no file of torch.save")
    if machine.get("little_endian") is not True:
        raise DataError("has its bytes in another order than little-endian")
    storages = _Storages()
    top = pickled.read(content, _NAMES, storages)
    keys = pickled.read(content, {})
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DataError("has no list of its storages")
    if sorted(keys) != sorted(storages):
        raise DataError(f"has {len(keys)} storages and names {len(storages)}")
    view, at, values = content.getbuffer(), content.tell(), {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(view[at : at + 8], "little")
        end = at + 8 + storage.count * storage.dtype.itemsize
        if count != storage.count or end > len(view):
            raise DataError(f"has storage {key[:20]!r} cut short or of another length")
        values[key] = np.frombuffer(view[at + 8 : end], storage.dtype)
        at = end
    if at != len(view):
        raise DataError(f"has {len(view) - at} bytes after its storages")
    return top, values


def load(path: str | Path) -> dict[str, np.ndarray]:
    """A state dict: {name: array of float16, 32, 64 or int64}, views of the file's bytes.

    Args:
        path: a .pth or .pt file.

    Raises:
        DataError: naming the file: for one that names a class or a function beside those of
            tensors (and which), that is cut or damaged, that holds other things.
    """
    path = Path(path)
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        zipped = content.getbuffer()[:4] == b"PK\x03\x04"
        top, values = _zipped(content) if zipped else _in_a_row(content)
        if not isinstance(top, dict) or not all(
            isinstance(name, str) and isinstance(one, _Tensor) for name, one in top.items()
        ):
            raise DataError("holds other things than tensors by their names")
        return {name: _view(values[one.storage.key], one) for name, one in top.items()}
    except DataError as error:
        raise DataError(f"{path}: {error}: {_EXPECTED}") from error
    except Exception as error:  # `zipfile` raises almost anything on bad bytes.
        raise DataError(f"{path}: cannot be read ({error}): {_EXPECTED}") from error


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    strides = tuple(step * values.itemsize for step in tensor.stride)
    # An empty slice of an empty storage has no first value to start at.
    start = values[tensor.offset :] if math.prod(tensor.size) else values[:0]
    return np.lib.stride_tricks.as_strided(start, tensor.size, strides, writeable=False)
