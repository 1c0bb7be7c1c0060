"""The fits of a study as folders: jaxbrain folds --out DIR [--data DIR] [flags].

For a generator of any kind: each folder holds the images that one fit of `jaxbrain ladder` with
the same flags is given (training/), and what is wanted of it (wanted.json). Fill synthetic/ in
each, then let the ladder judge them. Without --data phantoms with planted copies.

    jaxbrain folds --data DIR --split kfold --seeds 1 --no-shuffled --out FOLDS
    jaxbrain ladder --data DIR --split kfold --seeds 1 --no-shuffled \\
        --generators folder:FOLDS cgan none
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxbrain import config
from jaxbrain.commands import common
from jaxbrain.config.studies import PROTOCOLS, StudyConfig
from jaxbrain.errors import ConfigError

_STUDY = "split", "seeds", "folds", "protocols", "shuffled"


@dataclasses.dataclass(frozen=True)
class Arguments(common.Start):
    """Training images of every fit of a study, and how many synthetic images are wanted."""

    first = "data preset out split seeds folds protocols shuffled doses filtered external cache"

    out: Path | None = None  # a new or empty folder, which the folds are written into
    # The study is as of jaxbrain ladder: each fit of a generator is a folder.

    # holdout: one test set a seed. kfold: every image is tested once a seed
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 20  # draws, with keys 0 to N-1
    folds: int = 5  # test sets of a seed, of kfold
    protocols: tuple[str, ...] = PROTOCOLS  # P0 to P3; with --external P4 is added
    shuffled: bool = True  # once more with shuffled labels, under P0 and P3
    # synthetic images of each class, beside the protocols' own number: 50 for folder:DIR@50
    doses: tuple[int, ...] = ()
    filtered: bool = False  # as many again, for folder:DIR@filtered
    external: str | None = None  # images of another source, for P4: see jaxbrain ladder --help
    map: tuple[str, ...] = ()  # old=new each: class old of --external is class new of --data
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()

    other = common.Judged.other

    def check(self) -> None:
        """Refuse a study without a place for its folds."""
        if self.out is None:
            raise ConfigError("out is missing: expected --out DIR, a new or empty folder")


def main(arguments: list[str], prog: str = "jaxbrain folds") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    from jaxbrain.runs import folds

    study = StudyConfig(**{name: getattr(options, name) for name in _STUDY})
    options.hardware.start()
    if options.data is None:
        print("folds  draws phantoms", flush=True)
    data, records = common.load(options.data, options.cfg, options.hardware)
    how = {"doses": options.doses, "filtered": options.filtered}
    how["external"] = options.other(data, records)
    folds.folds(options.cfg, data, records, options.out, options=study, **how)
