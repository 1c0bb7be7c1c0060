"""What must be the same to go on with a study: settings, methods of one's own, drawn images."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
from pathlib import Path

from jaxbrain.baselines import weights
from jaxbrain.config import Config
from jaxbrain.errors import ConfigError
from jaxbrain.runs import files
from jaxbrain.study import folders
from jaxbrain.study.methods import CLASSIFIERS, GENERATORS, Method
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Study


def with_classes(cfg: Config, names: tuple[str, ...]) -> Config:
    """`cfg` with the number of classes that were found.

    Raises:
        ConfigError: if it asks for another number, other than the default of two.
    """
    if cfg.data.num_classes not in (2, len(names)):
        raise ConfigError(
            f"data.num_classes is {cfg.data.num_classes}: expected {len(names)}, the number "
            f"of classes found ({', '.join(names)})"
        )
    return dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, num_classes=len(names)))


def study_settings(cfg: Config, options: StudyConfig) -> dict:
    """What must be the same to go on with a study."""
    found = {"config": files.settings(cfg), "study": files.settings(options)}
    # By what the file holds, wherever it lies.
    found["study"]["weights"] = weights.digest(options.weights) if options.weights else ""
    found["study"]["generators"] = list(map(folders.own_name, options.generators))
    return found


# Files of the library's own methods: a run knows them by its commit.
_OURS = Path(__file__).parents[1]


def digests(planned: Study) -> dict[str, str]:
    """SHA-256 of the files that define a user's own methods: another method of the same name
    is another study."""
    shared = planned.shared
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for known, used in ((GENERATORS, shared.generators), (CLASSIFIERS, shared.classifiers))
        for name, method in used.items()
        if name not in known and (path := _source(method)) and _OURS not in path.parents
    }


def of_drawn(planned: Study) -> dict[str, dict[str, str]]:
    """SHA-256 of the synthetic images of each folder's places: others are another study."""
    return {
        name: method.fit_sample.sha256
        for name, method in planned.shared.generators.items()
        if isinstance(method.fit_sample, folders.Drawn)
    }


def _source(method: Method) -> Path | None:
    # A generator has the one, a classifier the other.
    own = (getattr(method, name, None) for name in ("fit_sample", "fit_predict"))
    function = method.advance or next(filter(None, own))
    while hasattr(function, "__wrapped__") or isinstance(function, functools.partial):
        function = getattr(function, "__wrapped__", None) or function.func
    with contextlib.suppress(TypeError, OSError):
        return Path(inspect.getsourcefile(function))
    return None
