"""The paper from images to tables: python -m experiments.paper [--data DIR] [flags].

Trains the conditional GAN, draws the synthetic images, trains the CNN-LSTM on the pool
and prints Tables 3 and 4, by the paper's own protocol (P0). Any field of the
configuration is a flag, such as --gan.steps 1000.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from experiments import cli
from jaxbrain import config, run


@dataclasses.dataclass(frozen=True)
class Arguments(cli.Start):
    """The paper's method (GAN, synthesis, CNN-LSTM) under its own protocol."""

    seeds: int = 1  # runs, with keys 0..N-1
    # runs/<date>_<time>_paper without it; an unfinished run there goes on.
    workdir: Path | None = None
    fresh: bool = False  # keep the run that is there under another name, and begin anew
    hardware: Annotated[cli.Hardware, tyro.conf.arg(name="")] = cli.Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()


def main(arguments: list[str]) -> None:
    start = cli.parse(cli.Start, arguments, add_help=False)
    preset = start.preset or ("cpu" if start.data else "tiny")
    default = Arguments(preset=preset, cfg=cli.PRESETS[preset]())
    prog = "python -m experiments.paper"
    options = cli.parse(Arguments, arguments, default=default, prog=prog)
    options.hardware.start()
    cfg = options.cfg
    data, records = cli.load(options.data, cfg, options.hardware)
    workdir = options.workdir or cli.new_workdir("paper")
    run.paper(
        cfg,
        data,
        records,
        workdir,
        num_seeds=options.seeds,
        command=cli.command("experiments.paper"),
        phantoms=options.data is None,
        how=options.hardware.parallel,
        num_devices=options.hardware.devices,
        fresh=options.fresh,
    )


if __name__ == "__main__":
    cli.main(main)
