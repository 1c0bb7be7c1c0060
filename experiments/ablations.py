"""What the GAN and the LSTM are worth: python -m experiments.ablations [--data DIR] [flags].

With and without the GAN, with and without the LSTM, the three readings of Table 1, 0 to 400
synthetic images per class, and the controls; under P3, where nothing leaks. Without --data
phantoms with planted copies. `--generator linear` draws from principal components instead of
training a GAN, in a fraction of the time.
"""

import dataclasses
from typing import Literal

from experiments import cli
from jaxbrain import ablations, protocols


@dataclasses.dataclass(frozen=True)
class Arguments(cli.Study):
    """The ablations that the paper owed."""

    generator: Literal["cgan", "linear"] = "cgan"
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 1
    folds: int = 5  # of kfold
    mapping: Literal["auto", "map", "vmap", "devices"] = "auto"  # see experiments.ladder


def main(arguments: list[str]) -> None:
    options = cli.parse_study(Arguments, arguments, "ablations")
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
