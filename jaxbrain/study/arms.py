"""Arms of a search: classifiers under names of their own, each with its own configuration.

An arm is `{"classifier": name, module:object or value, "cnn.filters": [..], ..}`: a
classifier, and fields of the configuration that are other ones for it. It becomes a
`Classifier` value, so that a study runs arms as it runs any classifier. Fields that change
which images there are, how they are split or how they look are refused: all arms see the
same ones.
"""

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Mapping

from jaxbrain.config import Config
from jaxbrain.errors import ConfigError
from jaxbrain.study import choose, networks
from jaxbrain.study.methods import CLASSIFIERS, Classifier, Streamed

# What the nested answers are called beside those of the arms.
CHOSEN = "chosen"
SECTIONS = "cnn", "hybrid", "classifier"

Arm = Mapping[str, object]


def default(cfg: Config) -> dict[str, Arm]:
    """The built-in arms: two floors, our kernel method, the CNN-LSTM of a configuration with
    half its epochs, half its width and the other augmentation, and the CNN without the LSTM."""
    net: Arm = {"classifier": f"cnn_lstm_{cfg.hybrid.sequence}"}
    unit = 4 if cfg.cnn.norm == "group" else 1
    half = [max(1, round(n / (2 * unit))) * unit for n in cfg.cnn.filters]
    other = "standard" if cfg.classifier.augment == "strong" else "strong"
    return {
        "ridge": {"classifier": "ridge"},
        "nn1": {"classifier": "nn1"},
        "mirror_kernel": {"classifier": "mirror_kernel"},
        "cnn": {"classifier": "cnn"},
        "cnn_lstm": net,
        "cnn_lstm_half_epochs": {**net, "classifier.epochs": max(1, cfg.classifier.epochs // 2)},
        "cnn_lstm_half_width": {**net, "cnn.filters": half},
        f"cnn_lstm_{other}_augment": {**net, "classifier.augment": other},
    }


def parsed(text: str, where: str) -> dict[str, Arm]:
    """Arms of a JSON file's text, {name: arm}; `where` names the file.

    Raises:
        ConfigError: for what is not such an object, and for a name or field that comes twice.
    """

    def once(pairs: list[tuple]) -> dict:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{where}: {twice[0]!r} comes twice: expected each once")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no JSON of arms: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: holds {_kind(found)}: expected {{arm name: {{fields}}}}")
    return found


def classifiers(cfg: Config, arms: Mapping[str, Arm], weights: str = "") -> list[Classifier]:
    """Each arm as a classifier of its name, in their order.

    Args:
        cfg: whose fields the arms replace. weights: of VGG-16, see `StudyConfig`.

    Raises:
        ConfigError: naming the arm, for fewer than two arms, unknown classifiers and fields,
            values that a field cannot take, fields that change nothing.
    """
    if not isinstance(arms, Mapping) or len(arms) < 2:
        found = f"has {len(arms)}" if isinstance(arms, Mapping) else f"is {_kind(arms)}"
        raise ConfigError(f"arms {found}: expected two arms or more, {{name: {{fields}}}}")
    made = []
    for name, arm in arms.items():
        try:
            made.append(_classifier(cfg, name, arm, weights))
        except ConfigError as error:
            raise ConfigError(f"arm {name!r}: {error}") from error
    return made


def settings(arms: Mapping[str, Arm]) -> dict:
    """Arms as JSON values; a classifier of one's own by its name."""
    return {
        name: {
            field: value.name if isinstance(value, Classifier) else value
            for field, value in arm.items()
        }
        for name, arm in arms.items()
    }


def _kind(value) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _classifier(cfg: Config, name: str, arm: Arm, weights: str) -> Classifier:
    if name == CHOSEN:
        raise ConfigError("that name is of the nested answers: expected another one")
    if not isinstance(arm, Mapping) or "classifier" not in arm:
        raise ConfigError(f"is {arm!r}: expected {{'classifier': name, ..}}")
    fields = {path: value for path, value in arm.items() if path != "classifier"}
    (base,), found = choose.classifiers([arm["classifier"]], weights)
    own = CLASSIFIERS.get(base) is arm["classifier"] or base == arm["classifier"]
    if fields:
        changed = overridden(cfg, fields)
        if own:
            _refuse_idle(base, changed, fields)
    elif name == base and own:
        # The study makes it ready itself.
        return CLASSIFIERS[base]
    if name in CLASSIFIERS:
        what = "not it" if name == base else base
        raise ConfigError(
            f"a built-in method has that name, and this is {what}: expected another name"
        )
    own_cfg = functools.partial(overridden, fields=fields) if fields else None
    return _named(found[base], name, own_cfg)


def _refuse_idle(base: str, changed: Config, fields: dict) -> None:
    """Fields that a built-in method would not read: two arms would be one."""
    if not CLASSIFIERS[base].trains:
        raise ConfigError(f"{base} reads no field of cnn, hybrid or classifier: expected none")
    read = networks.network(changed, base)
    for path, value in fields.items():
        if base == "cnn" and path.startswith("hybrid."):
            raise ConfigError(f"{path} is {value!r}: expected none, since {base} has no LSTM")
        now = functools.reduce(getattr, path.split("."), read)
        if now != _value(value):
            raise ConfigError(f"{path} is {value!r}: expected none, since {base} makes it {now!r}")


def _named(base: Classifier, name: str, own_cfg: Callable[[Config], Config] | None) -> Classifier:
    """`base` under another name, its functions called with `own_cfg` of a configuration."""
    if own_cfg is None:
        return dataclasses.replace(base, name=name, ready=None)

    def wrapped(function: Callable | None) -> Callable | None:
        if function is None:
            return None

        # Its own source is what tells a user's methods apart (`runs.study`).
        @functools.wraps(function)
        def run(cfg, *rest, **how):
            return function(own_cfg(cfg), *rest, **how)

        return run

    functions = "fit_predict steps start advance finish batch_size features".split()
    parts = {part: wrapped(getattr(base, part)) for part in functions}
    streamed = base.streamed and Streamed(*map(wrapped, base.streamed))
    return dataclasses.replace(base, name=name, ready=None, streamed=streamed, **parts)


def _paths(part, prefix: str) -> list[str]:
    """The dotted fields of a part of a configuration, leaves alone."""
    found = []
    for field in dataclasses.fields(part):
        value, path = getattr(part, field.name), f"{prefix}.{field.name}"
        found += _paths(value, path) if dataclasses.is_dataclass(value) else [path]
    return found


def _value(value):
    """What JSON has no word for."""
    return tuple(value) if isinstance(value, list) else value


def overridden(cfg: Config, fields: Mapping[str, object]) -> Config:
    """A configuration with some fields replaced, by their dotted names.

    fields: such as {"cnn.filters": [12, 24], "classifier.optim.learning_rate": 1e-3}, of
    `SECTIONS` alone.

    Raises:
        ConfigError: for other fields (the nearest one is named), and values of theirs that
            the configuration refuses.
    """
    known = [path for name in SECTIONS for path in _paths(getattr(cfg, name), name)]
    tree: dict[str, dict] = {}
    for path, value in fields.items():
        if path not in known:
            raise ConfigError(_unknown(cfg, path, known))
        if isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}: expected one value")
        *above, last = path.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = _value(value)
    # All of a section at once: one field may be right beside another's new value alone.
    return _replaced(cfg, tree)


def _unknown(cfg: Config, path: str, known: list[str]) -> str:
    others = _paths(cfg, "config")
    if f"config.{path}" in others:
        return f"{path} is the same for all arms: expected fields of {', '.join(SECTIONS)}"
    near = difflib.get_close_matches(path.replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected fields of {', '.join(SECTIONS)}"
    return f"unknown field {path}: {hint}"


def _replaced(part, tree: dict):
    """A dataclass with some fields replaced; one whose value is a dict is a part of its own."""
    own = {
        name: _replaced(getattr(part, name), value) if isinstance(value, dict) else value
        for name, value in tree.items()
    }
    return dataclasses.replace(part, **own)
