"""The paper from images to tables: python -m experiments.paper [--data DIR] [flags].

Trains the conditional GAN, draws the synthetic images, trains the CNN-LSTM on the pool
and prints Tables 3 and 4, by the paper's own protocol (P0). Any field of the
configuration is a flag, such as --gan.steps 1000.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments import cli
from jaxbrain import config, load_folder, phantom, run


@dataclasses.dataclass(frozen=True)
class Start:
    """The flags that choose the defaults of all others."""

    data: Path | None = None  # folder of images; phantoms without it
    preset: Literal["tiny", "cpu", "recommended", "paper"] | None = None


@dataclasses.dataclass(frozen=True)
class Arguments(Start):
    """The paper's method (GAN, synthesis, CNN-LSTM) under its own protocol."""

    seeds: int = 1  # runs, with keys 0..N-1
    workdir: Path | None = None  # runs/<date>_<time>_paper without it
    hardware: Annotated[cli.Hardware, tyro.conf.arg(name="")] = cli.Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()


def main(arguments: list[str]) -> None:
    start = cli.parse(Start, arguments, add_help=False)
    preset = start.preset or ("cpu" if start.data else "tiny")
    default = Arguments(preset=preset, cfg=cli.PRESETS[preset]())
    prog = "python -m experiments.paper"
    options = cli.parse(Arguments, arguments, default=default, prog=prog)
    options.hardware.start()
    cfg = options.cfg
    size = max(cfg.data.image_size, cfg.gan.image_size)
    if options.data:
        data, records = load_folder(
            options.data,
            image_size=size,
            crop=cfg.data.crop,
            square=cfg.data.square,
            dedup=cfg.data.dedup,
            duplicate_threshold=cfg.data.duplicate_threshold,
        )
    else:
        data, records = phantom.folder(cfg.data, size)
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
    )


if __name__ == "__main__":
    cli.main(main)
