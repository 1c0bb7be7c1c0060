"""The honest ladder: python -m experiments.ladder [--data DIR] [flags].

The same images, generators and classifiers under the protocols P0 (the paper's) to P3
(nothing leaks), with and without synthetic images, with true and with shuffled labels; then
what each leak is worth. Without --data phantoms with planted copies.

    python -m experiments.ladder
    python -m experiments.ladder --data DIR --split kfold --seeds 5
    python -m experiments.ladder --data DIR --generators cgan none \\
        --classifiers cnn_lstm_rows --seeds 3
    python -m experiments.ladder --verify RUN
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from experiments import cli
from jaxbrain import ladder, protocols


@dataclasses.dataclass(frozen=True)
class Arguments(cli.Study):
    """Protocols P0 to P3, beside each other on the same images."""

    verify: Path | None = None  # a run: recompute its numbers from its predictions
    study: Annotated[protocols.StudyConfig, tyro.conf.arg(name="")] = protocols.StudyConfig()


def main(arguments: list[str]) -> None:
    options = cli.parse_study(Arguments, arguments, "ladder")
    if options.verify:
        differences = ladder.verify(options.verify)
        for text in differences:
            print(text)
        print(f"{options.verify}: {len(differences) or 'no'} differences")
        sys.exit(1 if differences else 0)
    options.hardware.start()
    data, records = cli.load(options.data, options.cfg, options.hardware)
    ladder.ladder(
        options.cfg,
        data,
        records,
        options.workdir or cli.new_workdir("ladder"),
        options=options.study,
        command=cli.command("experiments.ladder"),
        num_devices=options.hardware.devices,
        fresh=options.fresh,
    )


if __name__ == "__main__":
    cli.main(main)
