"""Tensors in files that are pickles, read without running them.

Python's own `pickle` calls whatever a file names. Here a machine of the thirty operations that
files of tensors use goes through one: it builds numbers, texts, lists, tuples and dicts, and
what a file names is looked up among a few functions of ours (`Names`) or refused. Nothing is
imported, no attribute is read or set, and nothing is larger than the file is.
"""

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxbrain.errors import DataError


class Named(NamedTuple):
    """What a file names ("torch FloatStorage"), and what calling it builds; None: nothing."""

    name: str
    function: Callable | None = None


class Built:
    """What a file may give a state, once it is made."""

    def build(self, state) -> None:
        """Take the state, or raise a DataError."""
        raise NotImplementedError


Names = Mapping[str, Callable | None]

_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUSHED = (
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES"
).split()
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """A stack, and the stacks below each open mark."""

    def __init__(self, names: Names, persistent: Callable | None):
        self._names, self._persistent = names, persistent
        self._stack: list = []
        self._below: list[list] = []
        self._memo: dict[int, object] = {}

    def _marked(self) -> list:
        """What was pushed since the last mark."""
        found, self._stack = self._stack, self._below.pop()
        return found

    def _few(self, count: int) -> list:
        if len(self._stack) < count:
            raise DataError("takes more than it holds")
        found = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return found

    def _set(self, pairs: list) -> None:
        target = self._stack[-1]
        # A key that is a tuple of tuples of tuples would overflow Python's own stack.
        if not isinstance(target, dict) or not all(isinstance(k, str | int) for k in pairs[::2]):
            raise DataError("sets items of a dict by other than texts and numbers")
        target.update(zip(pairs[::2], pairs[1::2], strict=True))

    def _extend(self, values: list) -> None:
        if not isinstance(self._stack[-1], list):
            raise DataError("appends to what is no list")
        self._stack[-1].extend(values)

    def _named(self, name: str) -> Named:
        if name not in self._names:
            raise DataError(f"names {name.replace(' ', '.')[:80]}, which no tensor needs")
        return Named(name, self._names[name])

    def _call(self) -> object:
        called, given = self._few(2)
        if not isinstance(called, Named) or called.function is None or type(given) is not tuple:
            raise DataError("calls what is no function of tensors")
        return called.function(*given)

    def _give_state(self) -> None:
        (state,) = self._few(1)
        if not isinstance(self._stack[-1], Built):
            raise DataError(f"gives a {type(self._stack[-1]).__name__} a state")
        self._stack[-1].build(state)

    def _hand_in(self) -> object:
        (given,) = self._few(1)
        if self._persistent is None:
            raise DataError("names storages, of which this kind of file has none")
        return self._persistent(given)

    def run(self, opened: BinaryIO) -> object:
        for operation, given, _ in pickletools.genops(opened):
            name, stack = operation.name, self._stack
            if name in _VALUES:
                stack.append(_VALUES[name])
            elif name in _PUSHED:
                stack.append(given)
            elif name in _EMPTY:
                stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                few = tuple(self._few(_TUPLES[name]))
                stack.append(few)
            elif name == "MARK":
                self._below.append(stack)
                self._stack = []
            elif name == "TUPLE":
                marked = tuple(self._marked())
                self._stack.append(marked)
            elif name in ("SETITEM", "APPEND"):
                few = self._few(2 if name == "SETITEM" else 1)
                (self._set if name == "SETITEM" else self._extend)(few)
            elif name in ("SETITEMS", "APPENDS"):
                marked = self._marked()
                (self._set if name == "SETITEMS" else self._extend)(marked)
            elif name in ("BINPUT", "LONG_BINPUT"):
                self._memo[given] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(self._memo[given])
            elif name == "GLOBAL":
                stack.append(self._named(given))
            elif name == "REDUCE":
                made = self._call()
                stack.append(made)
            elif name == "BUILD":
                self._give_state()
            elif name == "BINPERSID":
                made = self._hand_in()
                stack.append(made)
            elif name == "STOP":
                (found,) = self._few(1)
                return found
            elif name != "PROTO":
                raise DataError(f"has the operation {name}, which no file of tensors has")
        raise DataError("ends early")


def read(opened: BinaryIO, names: Names, persistent: Callable | None = None) -> object:
    """The value of one pickle; `opened` is left behind it.

    Args:
        opened: bytes in memory, so that no length in it asks for more than there is.
        names: what it may name, as "module name", and the function of ours that calls of it
            call; None for what it may name but not call.
        persistent: is handed what the file says of a storage, and gives what stands for it.

    Raises:
        DataError: without the file's name: for what it names beside `names`, for other
            operations, for bytes that are no pickle.
    """
    try:
        return _Machine(names, persistent).run(opened)
    except DataError:
        raise
    except Exception as error:  # Bad bytes break a parser anywhere.
        raise DataError(f"cannot be read ({type(error).__name__}: {error})") from error


def whole(value, low: int = 0) -> bool:
    """Whether a file's `value` is a whole number from `low`."""
    return type(value) is int and value >= low


# NumPy's arrays.


class _Type(Built):
    """`numpy.dtype`: its code, and the order of its bytes."""

    def __init__(self, code=None, *_):
        # Not shown unless a text: tuples in tuples may be endless to write out.
        if type(code) is not str or code not in ("f2", "f4", "f8"):
            shown = repr(code[:20]) if type(code) is str else f"a {type(code).__name__}"
            raise DataError(f"has an array of type {shown}: expected f2, f4 or f8")
        self.code, self.order = code, "<"

    def build(self, state) -> None:
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        if order not in ("<", ">"):
            raise DataError("has an array of unknown byte order")
        self.order = order


class _Array(Built):
    """`numpy.ndarray`, empty until it is given its state."""

    def __init__(self, *_):
        self.value: np.ndarray | None = None

    def build(self, state) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise DataError("has an array in an unknown form")
        _, shape, kind, by_columns, content = state
        if (
            type(shape) is not tuple
            or not all(map(whole, shape))
            or not isinstance(kind, _Type)
            or type(content) is not bytes
        ):
            raise DataError("has an array in an unknown form")
        dtype = np.dtype(kind.order + kind.code)
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise DataError(f"has {len(content)} bytes for an array {shape} of {dtype}")
        order = "F" if by_columns else "C"
        self.value = np.frombuffer(content, dtype).reshape(shape, order=order)


_NUMPY: Names = {
    # NumPy 2 moved the second to the first.
    "numpy._core.multiarray _reconstruct": _Array,
    "numpy.core.multiarray _reconstruct": _Array,
    "numpy ndarray": None,
    "numpy dtype": _Type,
}


_LONGEST = 200


def _flat(found, path: str, seen: set[int]) -> dict[str, np.ndarray]:
    if isinstance(found, _Array) and found.value is not None:
        return {path: found.value}
    # Parameters nest a few levels deep. A dict in two places may be in a million, or in itself.
    if not isinstance(found, dict) or path.count("/") > 9 or id(found) in seen:
        raise DataError(f"has a {type(found).__name__.strip('_')} at {path[:60] or 'its top'!r}")
    seen.add(id(found))
    result: dict[str, np.ndarray] = {}
    for name, one in found.items():
        # Names are joined: long ones would be as often in memory as there are arrays.
        if len(str(name)) > _LONGEST:
            raise DataError(f"has a name of {len(str(name))} letters")
        result |= _flat(one, f"{path}/{name}" if path else str(name), seen)
    return result


def arrays(path: Path) -> dict[str, np.ndarray]:
    """A pickled dict (of dicts, ...) of NumPy arrays: {"outer/inner": array}, read-only.

    Raises:
        DataError: naming the file, and what is in it beside floating-point arrays.
    """
    try:
        return _flat(read(io.BytesIO(path.read_bytes()), _NUMPY), "", set())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}: expected dicts of NumPy arrays") from error
