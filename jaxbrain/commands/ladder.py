"""The honest ladder: jaxbrain ladder [--data DIR] [flags].

The same images, generators and classifiers under the protocols P0 (the paper's) to P3
(nothing leaks), with and without synthetic images, with true and with shuffled labels; then
what each leak is worth. With --external P4 too: all of --data trains, another source's images
are tested. Without --data phantoms with planted copies.

    jaxbrain ladder
    jaxbrain ladder --data DIR --split kfold --seeds 5
    jaxbrain ladder --data DIR --generators cgan none \\
        --classifiers cnn_lstm_rows --seeds 3
    jaxbrain ladder --data DIR --external OTHER --map tumor=yes healthy=no
    jaxbrain ladder --verify RUN
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common, onward
from jaxbrain.config import StudyConfig
from jaxbrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments(common.Judged):
    """Protocols P0 to P3, and P4 with --external, beside each other on the same images."""

    first = (
        "data preset split seeds folds protocols generators classifiers external workdir fresh "
        "verify cache"
    )

    verify: Path | None = None  # a run: recompute its numbers from its predictions, and stop
    # the I-th of N shares of the cells, as a process of its own into the same --workdir; when
    # all are done, the same command without it joins them and reports
    shard: str = ""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = StudyConfig()


def main(arguments: list[str], prog: str = "jaxbrain ladder") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    from jaxbrain.runs import ladder

    if options.verify and (options.external or options.map):
        raise ConfigError("verify: expected without --external and --map: the run holds its own")
    if options.verify:
        common.verified(options.verify, ladder.verify(options.verify))
    options.hardware.start(options.study.mapping)
    if options.shard and not options.workdir:
        raise ConfigError("shard: expected with --workdir, where all shares meet")
    watched = options.watched(prog, arguments) | {"shard": options.shard}
    cfg, data, records, workdir = options.inputs("ladder")
    watched["external"] = options.other(data, records)
    with onward.going_on(prog, arguments, workdir):
        ladder.ladder(cfg, data, records, workdir, options=options.study, **watched)
    if not options.shard:
        onward.say(onward.after_study(prog, workdir))
