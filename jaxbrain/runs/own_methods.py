"""What tells a user's own methods, and folders of synthetic images, from others of one name."""

import contextlib
import functools
import hashlib
import inspect
import linecache
from pathlib import Path

from jaxbrain.study import folders
from jaxbrain.study.methods import CLASSIFIERS, GENERATORS, Method
from jaxbrain.study.study import Study

# Files of the library's own methods: a run knows them by its commit.
_OURS = Path(__file__).parents[1]


def digests(planned: Study) -> dict[str, str]:
    """SHA-256 of the files that define a user's own methods: another method of the same name
    is another study."""
    shared = planned.shared
    return {
        name: hashlib.sha256(_held(path)).hexdigest()
        for known, used in ((GENERATORS, shared.generators), (CLASSIFIERS, shared.classifiers))
        for name, method in used.items()
        if name not in known and (path := _source(method)) and _OURS not in path.parents
    }


def drawn(planned: Study) -> dict[str, dict[str, str]]:
    """SHA-256 of the synthetic images of each folder's places: others are another study."""
    return {
        name: method.fit_sample.sha256
        for name, method in planned.shared.generators.items()
        if isinstance(method.fit_sample, folders.Drawn)
    }


def _held(path: Path) -> bytes:
    # A cell of a notebook is no file: it is known as it was when it ran.
    return path.read_bytes() if path.is_file() else "".join(linecache.getlines(str(path))).encode()


def _source(method: Method) -> Path | None:
    whole = "fit_sample" if hasattr(method, "fit_sample") else "fit_predict"
    function = method.advance or getattr(method, whole)
    while hasattr(function, "__wrapped__") or isinstance(function, functools.partial):
        function = getattr(function, "__wrapped__", None) or function.func
    with contextlib.suppress(TypeError, OSError):
        return Path(inspect.getsourcefile(function))
    return None
