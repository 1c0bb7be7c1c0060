"""The paper from images to tables: jaxbrain paper [--data DIR] [flags].

Trains the conditional GAN, draws the synthetic images, trains the CNN-LSTM on the pool
and prints Tables 3 and 4, by the paper's own protocol (P0). Any field of the
configuration is a flag, such as --gan.steps 1000.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain import config
from jaxbrain.commands import common
from jaxbrain.runs import paper


@dataclasses.dataclass(frozen=True)
class Arguments(common.Start):
    """The paper's method (GAN, synthesis, CNN-LSTM) under its own protocol."""

    seeds: int = 1  # runs, with keys 0..N-1
    # runs/<date>_<time>_paper without it; an unfinished run there goes on.
    workdir: Path | None = None
    fresh: bool = False  # keep the run that is there under another name, and begin anew
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()


def main(arguments: list[str], prog: str = "jaxbrain paper") -> None:
    start = common.parse(common.Start, arguments, add_help=False)
    preset = start.preset or ("cpu" if start.data else "tiny")
    default = Arguments(preset=preset, cfg=common.PRESETS[preset]())
    options = common.parse(Arguments, arguments, default=default, prog=prog)
    options.hardware.start()
    cfg = options.read_as(options.cfg)
    data, records = common.load(options.data, cfg, options.hardware)
    workdir = options.workdir or common.new_workdir("paper")
    paper.paper(
        cfg,
        data,
        records,
        workdir,
        num_seeds=options.seeds,
        command=common.command(prog, arguments),
        phantoms=options.data is None,
        how=options.hardware.parallel,
        num_devices=options.hardware.devices,
        fresh=options.fresh,
    )
