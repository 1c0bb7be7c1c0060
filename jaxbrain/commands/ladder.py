"""The honest ladder: jaxbrain ladder [--data DIR] [flags].

The same images, generators and classifiers under the protocols P0 (the paper's) to P3
(nothing leaks), with and without synthetic images, with true and with shuffled labels; then
what each leak is worth. Without --data phantoms with planted copies.

    jaxbrain ladder
    jaxbrain ladder --data DIR --split kfold --seeds 5
    jaxbrain ladder --data DIR --generators cgan none \\
        --classifiers cnn_lstm_rows --seeds 3
    jaxbrain ladder --verify RUN
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common
from jaxbrain.runs import ladder
from jaxbrain.study.protocols import StudyConfig


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """Protocols P0 to P3, beside each other on the same images."""

    verify: Path | None = None  # a run: recompute its numbers from its predictions
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = StudyConfig()


def main(arguments: list[str], prog: str = "jaxbrain ladder") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    if options.verify:
        differences = ladder.verify(options.verify)
        for text in differences:
            print(text)
        print(f"{options.verify}: {len(differences) or 'no'} differences")
        sys.exit(1 if differences else 0)
    options.hardware.start(options.study.mapping)
    watched = options.watched(prog, arguments)
    ladder.ladder(*options.inputs("ladder"), options=options.study, **watched)
