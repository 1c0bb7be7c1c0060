"""What every entry point shares: presets, flags, one clear message on errors."""

import dataclasses
import datetime
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxbrain import config
from jaxbrain.commands import mistakes
from jaxbrain.commands.flags import flags
from jaxbrain.commands.hardware import Hardware
from jaxbrain.commands.parsing import parse, parse_some, wants_help
from jaxbrain.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxbrain.data import Records
    from jaxbrain.data.external import External
    from jaxbrain.types import Dataset


@dataclasses.dataclass(frozen=True)
class Start:
    """The flags that choose the defaults of all others."""

    # folder, zip or tar of images, or tfds:NAME[:SPLIT]; phantoms without it
    data: str | None = None
    # whose values the other flags start from; by itself tiny, with --data cpu
    preset: Literal["tiny", "cpu", "recommended", "paper"] | None = None
    # How --data is read: the same as --data.positive, --data.group-by, --data.patients.
    positive: str = ""  # of two classes the positive one; by their names without it
    group_by: str = ""  # regular expression; images whose paths match alike share a group
    patients: Literal["auto", "ignore"] | None = None  # ignore leaves ids of patients out


@dataclasses.dataclass(frozen=True)
class Study(Start):
    """The flags that all runs in a work directory share."""

    # what the run writes; runs/<date>_<time>_<verb> without it; an unfinished run there goes on
    workdir: Path | None = None
    fresh: bool = False  # keep what is there under another name, and begin anew
    save_every: float = 60.0  # seconds between two saves of a training
    # a training that diverges: stop ends the run when the others are saved, skip goes on
    # without it, and the report names it
    on_divergence: Literal["stop", "skip"] = "stop"
    # formats of figures, pdf and svg for papers; a PNG is always written
    figures: tuple[Literal["png", "pdf", "svg"], ...] = ("png",)
    # also write WORKDIR/tensorboard, for `tensorboard --logdir`; needs the extra tensorboard
    tensorboard: bool = False
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()

    def check(self) -> None:
        """Refuse what a run would refuse too, after its images are read."""
        if (seeds := getattr(self, "seeds", 1)) < 1:
            raise ConfigError(f"seeds is {seeds}: expected at least 1")
        if self.save_every < 0:
            raise ConfigError(f"save_every is {self.save_every}: expected seconds, 0 or more")

    def watched(self, prog: str, arguments: list[str]) -> dict:
        """How the run is watched, as `runs.study.session` names it."""
        if self.preset and not any(text.startswith("--preset") for text in arguments):
            # Whatever the default will be, the saved command is of this one.
            arguments = [*arguments, "--preset", self.preset]
        return {
            "command": shlex.join([*prog.split(), *arguments]),
            "fresh": self.fresh,
            "save_every": self.save_every,
            "on_divergence": self.on_divergence,
            "figures": self.figures,
            "tensorboard": self.tensorboard,
            "num_devices": self.hardware.devices,
        }

    def inputs(self, verb: str) -> "tuple[config.Config, Dataset, Records, Path]":
        """The configuration, the images, and the work directory."""
        if self.data is None:
            # Imports took a moment, and drawing takes another.
            print(f"{verb}  draws phantoms", flush=True)
        data, records = load(self.data, self.cfg, self.hardware)
        return self.cfg, data, records, self.workdir or new_workdir(verb)


@dataclasses.dataclass(frozen=True)
class Judged(Study):
    """The flags of runs that may be tested on another source's images."""

    # images of another source, a folder, an archive or tfds:NAME, read as --data is: P4 trains
    # on all of --data and tests on these, copies of --data's images taken out
    external: str | None = None
    map: tuple[str, ...] = ()  # old=new each: class old of --external is class new of --data

    def other(self, data: "Dataset", records: "Records") -> "External | None":
        """The images of `external`, as `runs` take them."""
        from jaxbrain.data.external import prepared

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


def parse_study(kind: type, arguments: list[str], prog: str, copies: bool = True):
    """The arguments of an entry point, a `Study`, with its preset's defaults.

    copies: of phantoms few and hard ones, so that a copy is worth something, and a third of
    them copies.
    """
    if not wants_help(arguments):
        mistakes.check(arguments, list(flags(kind())), prog)
    start = parse_some(Start, arguments)
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


def load(source: str | None, cfg: config.Config, hardware: Hardware) -> "tuple[Dataset, Records]":
    """The images of a folder, an archive or a TFDS data set, or phantoms, at the larger
    size in use."""
    from jaxbrain.data import load_data, options_of, phantom

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
