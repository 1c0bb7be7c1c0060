"""What every entry point shares: presets, flags, one clear message on errors."""

import atexit
import contextlib
import dataclasses
import datetime
import difflib
import importlib.util
import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from unittest import mock

import jax
import tyro

from jaxbrain import config
from jaxbrain.data import Records, load_data, options_of, phantom
from jaxbrain.data.external import External, prepared
from jaxbrain.errors import ConfigError, DataError, DivergedError, JaxbrainError, StoppedError
from jaxbrain.training import devices
from jaxbrain.types import Dataset

_NO_HOME = "the home directory is not known here"


@dataclasses.dataclass(frozen=True)
class Start:
    """The flags that choose the defaults of all others."""

    # Folder, zip or tar of images, or tfds:NAME[:SPLIT]; phantoms without it.
    data: str | None = None
    # Whose defaults the other flags take (README.md); by itself tiny, with data cpu.
    preset: Literal["tiny", "cpu", "recommended", "paper"] | None = None
    # How --data is read: the same as --data.positive, --data.group-by, --data.patients.
    positive: str = ""  # of two classes the positive one; by their names without it
    group_by: str = ""  # regular expression; images whose paths match alike share a group
    patients: Literal["auto", "ignore"] | None = None  # ignore leaves ids of patients out


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where an entry point runs."""

    # Devices that a training is spread over, of all hosts; 0 takes all. On a CPU as many
    # are made.
    devices: int = 0
    parallel: Literal["none", "pmap", "sharded"] = "none"  # none trains on one device
    coordinator: str | None = None  # host:port of process 0, in a run of several processes
    num_processes: int | None = None  # of such a run
    process_id: int | None = None  # from 0, which of them this is
    cluster: bool = False  # several processes that the cluster knows of (TPU, SLURM)
    # Compiled programs are kept here for later runs; auto: JAX_COMPILATION_CACHE_DIR or
    # ~/.cache/jaxbrain.
    cache: Literal["auto", "off"] | Path = "auto"
    # Flags of XLA's for a GPU, beside those in XLA_FLAGS; off sets none.
    xla_flags: Literal["auto", "off"] = "auto"

    def __post_init__(self):
        if self.devices < 0:
            raise ConfigError(f"devices is {self.devices}: expected 0 or more")

    def cache_folder(self) -> tuple[Path | None, str]:
        """(where compiled programs and decoded images are kept or None, a note why not).

        Raises:
            ConfigError: if a folder that the user named cannot be written.
        """
        if self.cache == "off":
            return None, ""
        named = os.environ.get("JAX_COMPILATION_CACHE_DIR") if self.cache == "auto" else self.cache
        path = Path(named or "~/.cache/jaxbrain")
        problem = unwritable(path)
        if not problem:
            return path.expanduser(), ""
        if named:
            raise ConfigError(f"cache {path}: cannot be written: {problem}")
        note = f"note   no cache: {path} cannot be written ({problem}); --cache DIR names another"
        return None, f"{note} place"

    def start(self, mapping: str | None = None) -> None:
        """Set JAX up; before anything else of it runs.

        mapping: of a study, whose trainings may be spread over devices; None where only the
            batches of one are.
        """
        spread = mapping == "devices"
        if mapping and self.parallel != "none":
            raise ConfigError(
                f"parallel is {self.parallel!r}: expected none, since the trainings of a study "
                "are spread whole: --mapping devices"
            )
        if self.devices > 1 and self.parallel == "none" and not spread:
            how = "--mapping devices" if mapping else "--parallel pmap or sharded"
            raise ConfigError(f"devices is {self.devices}: expected 1 without {how}")
        _do_without_home()
        if self.xla_flags == "auto":
            _set_xla_flags()
        path, note = self.cache_folder()
        if note:
            print(note)
        if path:
            jax.config.update("jax_compilation_cache_dir", str(path))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        else:
            jax.config.update("jax_enable_compilation_cache", False)
        if (self.parallel != "none" or spread) and self.devices:
            # Of a CPU backend only; others have the devices they have.
            own = -(-self.devices // (self.num_processes or 1))
            # Where JAX runs already, `devices.devices` says what there is.
            with contextlib.suppress(RuntimeError):
                jax.config.update("jax_num_cpu_devices", own)
        given = (self.coordinator, self.num_processes, self.process_id) != (None, None, None)
        if self.cluster or given:
            devices.start(self.coordinator, self.num_processes, self.process_id)
        # Not earlier: processes meet before JAX looks for devices.
        start_devices()


@dataclasses.dataclass(frozen=True)
class Study(Start):
    """The flags that all runs in a work directory share."""

    # runs/<date>_<time>_<name> without it; an unfinished study there goes on.
    workdir: Path | None = None
    fresh: bool = False  # keep what is there under another name, and begin anew
    save_every: float = 60.0  # seconds between two saves of a training
    # A training that diverges: stop ends the run when the others are saved, skip goes on
    # without it; the report names it.
    on_divergence: Literal["stop", "skip"] = "stop"
    figures: tuple[Literal["png", "pdf", "svg"], ...] = ("png",)  # pdf, svg: beside the PNG
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()

    def watched(self, prog: str, arguments: list[str]) -> dict:
        """How the run is watched, as `runs.study.session` names it."""
        return {
            "command": shlex.join([*prog.split(), *arguments]),
            "fresh": self.fresh,
            "save_every": self.save_every,
            "on_divergence": self.on_divergence,
            "figures": self.figures,
            "num_devices": self.hardware.devices,
        }

    def inputs(self, verb: str) -> tuple[config.Config, Dataset, Records, Path]:
        """The configuration, the images, and the work directory."""
        if self.data is None:
            # Imports took a moment, and drawing takes another.
            print(f"{verb}  draws phantoms", flush=True)
        data, records = load(self.data, self.cfg, self.hardware)
        return self.cfg, data, records, self.workdir or new_workdir(verb)


@dataclasses.dataclass(frozen=True)
class Judged(Study):
    """The flags of runs that may be tested on another source's images."""

    # Folder, archive or tfds:NAME of another source: P4 trains on all of --data and tests on
    # these, copies of --data's images taken out. It is read as --data is (--group-by too).
    external: str | None = None
    map: tuple[str, ...] = ()  # old=new each: a class of --external is this one of --data

    def other(self, data: Dataset, records: Records) -> External | None:
        """The images of `external`, as `runs` take them."""
        if self.external is None:
            if self.map:
                raise ConfigError(f"map is {' '.join(self.map)}: expected with --external")
            return None
        if not self.external:
            raise ConfigError("external is empty: expected a folder, an archive or tfds:NAME")
        # Which class is positive, --data says.
        read = dataclasses.replace(self.cfg.data, positive="")
        try:
            found = load(self.external, dataclasses.replace(self.cfg, data=read), self.hardware)
        except DataError as error:
            raise DataError(f"external {error}") from error
        return prepared(data, records, *found, self.map, read.duplicate_threshold)


def main(run: Callable[[], None]) -> None:
    """Call `run` as a whole process; a user's error becomes one message on standard error and
    exit status 2, a diverged training 3, a run stopped by a signal 128 and its number."""
    for stream in (sys.stdout, sys.stderr):
        # Names may hold what the terminal cannot show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        run()
    except JaxbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, StoppedError):
            sys.exit(128 + error.signal)
        sys.exit(3 if isinstance(error, DivergedError) else 2)
    except BrokenPipeError:
        # The reader of our output has left; so do we, without a word at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


# So that what is launched in a training's loop goes to a GPU as graphs, short ones too. A
# flag that XLA does not know ends the process: jax 0.10 to 0.12 know this one.
_GPU_FLAGS = ("--xla_gpu_graph_min_graph_size=1",)


def _set_xla_flags() -> None:
    """Set, where a GPU's plugin is installed, the flags that the user has not set, and say so;
    before JAX looks for devices."""
    plugins = "jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13", "jax_plugins.xla_rocm"
    if (jax.config.jax_platforms or "").startswith("cpu") or not any(map(_installed, plugins)):
        return
    given = os.environ.get("XLA_FLAGS", "")
    own = [flag for flag in _GPU_FLAGS if flag.split("=")[0] not in given]
    if own:
        os.environ["XLA_FLAGS"] = " ".join([given, *own]).strip()
        print(f"note   XLA_FLAGS {' '.join(own)} (--xla-flags off sets none)")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _do_without_home() -> None:
    """A temporary folder for matplotlib and its fonts where there is no home: they would warn
    line after line, and older ones fail when the figures are drawn."""
    if "MPLCONFIGDIR" in os.environ or not unwritable(Path("~/.cache")):
        return
    folder = tempfile.mkdtemp(prefix="jaxbrain-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
    os.environ.setdefault("XDG_CACHE_HOME", folder)


def unwritable(folder: Path) -> str:
    """Why no file can be made in a folder, which is made if missing; empty if one can."""
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        # The folder may be there and be another user's.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
    except RuntimeError:
        return _NO_HOME


def start_devices() -> None:
    """Have JAX find its devices.

    Raises:
        ConfigError: if it finds none, or not those that JAX_PLATFORMS names.
    """
    try:
        jax.devices()
    # Of a GPU that is not there JAX says no more than an assertion.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or "there is no such device").splitlines()[0]
        reason = reason.partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        if names := jax.config.jax_platforms:
            raise ConfigError(
                f"JAX_PLATFORMS is {names!r}: JAX cannot start it here ({reason}): install its "
                'plugin, e.g. pip install -U "jax[cuda13]", or unset JAX_PLATFORMS'
            ) from error
        raise ConfigError(
            f"JAX cannot start here ({reason}): JAX_PLATFORMS=cpu takes the processor"
        ) from error


def parse(kind: type, arguments: list[str], **options):
    """`tyro.cli(kind, args=arguments, **options)` that refuses as the library does.

    With `add_help=False` unknown flags are left to a later call; otherwise `default`, an
    instance of `kind`, is needed.

    Raises:
        ConfigError: for an unknown flag (naming the nearest known one), and for values
            that tyro or the dataclasses refuse.
    """
    options |= {"args": arguments, "return_unknown_args": True}
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            known, unknown = tyro.cli(kind, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_refusal(kind, options)) from None
    if unknown and options.get("add_help", True):
        flag = unknown[0].split("=")[0]
        near = difflib.get_close_matches(flag.replace("_", "-"), _flags(options["default"]), n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists the flags"
        raise ConfigError(f"unknown argument {flag}: {hint}")
    return _at_home(known)


def _at_home(options):
    """`options` with the `~` of its paths replaced: shells leave it in --workdir=~/x."""
    paths = {}
    for name, value in vars(options).items():
        if isinstance(value, Path):
            try:
                paths[name] = value.expanduser()
            except RuntimeError as error:
                raise ConfigError(f"{name} {value}: {_NO_HOME}") from error
    return dataclasses.replace(options, **paths)


def _refusal(kind: type, options: dict) -> str:
    """tyro's message without the box it draws, which would break long paths."""
    caught = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "10000"})
    # The box has other lines where standard output is not UTF-8.
    drawn = contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    with wide, drawn, contextlib.redirect_stderr(caught), contextlib.suppress(SystemExit):
        tyro.cli(kind, **options)
    message = []
    # A title line, the message, a rule, and help that repeats the flags.
    for line in caught.getvalue().splitlines()[1:]:
        text = line.strip("│╰╯ ")
        if text.startswith("──"):
            break
        message.append(text)
    return " ".join(filter(None, message))


def _flags(default, prefix: str = "--"):
    """The flags of a dataclass instance; its own fields `cfg`, `hardware` and `study` add
    no prefix."""
    for field, value in vars(default).items():
        name = field.replace("_", "-")
        if dataclasses.is_dataclass(value):
            flat = name in ("cfg", "hardware", "study")
            yield from _flags(value, prefix if flat else f"{prefix}{name}.")
        else:
            yield prefix + name


def parse_study(kind: type, arguments: list[str], prog: str, copies: bool = True):
    """The arguments of an entry point, a `Study`, with its preset's defaults.

    copies: of phantoms few and hard ones, so that a copy is worth something, and a third of
    them copies.
    """
    start = parse(Start, arguments, add_help=False)
    preset = start.preset or ("cpu" if start.data else "tiny")
    cfg = getattr(config, preset)()
    if copies and not start.data:
        phantoms = dataclasses.replace(cfg.data, n_per_class=100, difficulty=0.8, twins=0.35)
        cfg = dataclasses.replace(cfg, data=phantoms)
    options = parse(kind, arguments, default=kind(preset=preset, cfg=cfg), prog=prog)
    names = "positive", "group_by", "patients"
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    cfg = dataclasses.replace(options.cfg, data=dataclasses.replace(options.cfg.data, **given))
    return dataclasses.replace(options, cfg=cfg)


def verified(run: Path, differences: list[str]) -> None:
    """Print what differs in a run's numbers, computed again; exit with 0 if nothing."""
    print("".join(f"{text}\n" for text in differences), end="")
    print(f"{run}: {len(differences) or 'no'} differences")
    sys.exit(1 if differences else 0)


def load(source: str | None, cfg: config.Config, hardware: Hardware) -> tuple[Dataset, Records]:
    """The images of a folder, an archive or a TFDS data set, or phantoms, at the larger
    size in use."""
    size = max(cfg.data.image_size, cfg.gan.image_size)
    if source is None:
        for name in ("positive", "group_by"):
            if getattr(cfg.data, name):
                raise ConfigError(f"{name} is {getattr(cfg.data, name)!r}: expected with --data")
        return phantom.folder(cfg.data, size)
    cache, _ = hardware.cache_folder()
    kept = cache and cache / "images"
    return load_data(source, image_size=size, cache_folder=kept, **options_of(cfg.data))


def new_workdir(name: str) -> Path:
    """A path that is not there yet: runs/<date>_<time>_<name>."""
    stem, number = f"{datetime.datetime.now():%Y-%m-%d_%H%M%S}_{name}", 1
    path = Path("runs") / stem
    while path.exists():
        number += 1
        path = Path("runs") / f"{stem}_{number}"
    return path
