"""What the GAN and the LSTM are worth: python -m experiments.ablations [--data DIR] [flags].

With and without the GAN, with and without the LSTM, the three readings of Table 1, 0 to 400
synthetic images per class, and the controls; under P3, where nothing leaks. Without --data
phantoms with planted copies. `--generator linear` draws from principal components instead of
training a GAN, in a fraction of the time.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments import cli
from jaxbrain import ablations, config, protocols


@dataclasses.dataclass(frozen=True)
class Arguments(cli.Start):
    """The ablations that the paper owed."""

    generator: Literal["cgan", "linear"] = "cgan"
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 1
    folds: int = 5  # of kfold
    mapping: Literal["auto", "map", "vmap", "devices"] = "auto"  # see experiments.ladder
    # runs/<date>_<time>_ablations without it; unfinished ones there go on.
    workdir: Path | None = None
    fresh: bool = False  # keep what is there under another name, and begin anew
    hardware: Annotated[cli.Hardware, tyro.conf.arg(name="")] = cli.Hardware()
    cfg: Annotated[config.Config, tyro.conf.arg(name="")] = config.Config()


def main(arguments: list[str]) -> None:
    start = cli.parse(cli.Start, arguments, add_help=False)
    preset, cfg = cli.study_preset(start)
    default = Arguments(preset=preset, cfg=cfg)
    prog = "python -m experiments.ablations"
    options = cli.parse(Arguments, arguments, default=default, prog=prog)
    study = protocols.StudyConfig(
        split=options.split, seeds=options.seeds, folds=options.folds, mapping=options.mapping
    )
    options.hardware.start()
    data, records = cli.load(options.data, options.cfg, options.hardware)
    workdir = options.workdir or cli.new_workdir("ablations")
    ablations.ablations(
        options.cfg,
        data,
        records,
        workdir,
        options=study,
        generator=options.generator,
        command=cli.command("experiments.ablations"),
        num_devices=options.hardware.devices,
        fresh=options.fresh,
    )
    print(f"wrote  {workdir / 'ablations.json'}, ablations.png")


if __name__ == "__main__":
    cli.main(main)
