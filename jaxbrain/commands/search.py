"""A search that looks at no test fold: jaxbrain search [--data DIR] [flags].

Every arm, a classifier with fields of the configuration of its own, is judged inside the
training images of each fold of P3, without synthesis; the best one there answers the fold.
The report has all arms, the nested figure, and how much picking by the test folds would have
added. Without --data phantoms with planted copies.

    jaxbrain search --data DIR --preset recommended
    jaxbrain search --data DIR --preset recommended --arms FILE.json --seeds 2
    jaxbrain search --verify RUN

FILE.json: {"ridge": {"classifier": "ridge"}, "narrow": {"classifier": "cnn_lstm_rows",
"cnn.filters": [8, 12, 16, 16], "classifier.epochs": 60, "classifier.optim.learning_rate":
0.001}}; fields of cnn, hybrid and classifier. Without it eight arms: ridge, nn1,
mirror_kernel, cnn, and the preset's CNN-LSTM as it is, with half the epochs, half the width,
the other augmentation. Of every arm a seed trains 5 times on a training set and 15 times inside
one: with `recommended` an estimated 10 CPU minutes for a network, 45 for the eight arms.
--shard spreads them over processes.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common, onward
from jaxbrain.config import SearchConfig
from jaxbrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """Arms, chosen inside training folds; what choosing by test folds would claim."""

    first = (
        "data preset arms seeds folds inner-folds shuffled positive workdir fresh verify shard "
        "cache"
    )

    arms: Path | None = None  # a JSON file of arms; eight built-in ones without it
    verify: Path | None = None  # a run: recompute its numbers from its answers, and stop
    shard: str = ""  # the I-th of N shares of the cells: see jaxbrain ladder --help-all
    study: Annotated[SearchConfig, tyro.conf.arg(name="")] = SearchConfig()


def main(arguments: list[str], prog: str = "jaxbrain search") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    from jaxbrain.runs import search

    if options.verify:
        common.verified(options.verify, search.verify(options.verify))
    arms = search.read_arms(options.arms) if options.arms else None
    if options.shard and not options.workdir:
        raise ConfigError("shard: expected with --workdir, where all shares meet")
    options.hardware.start(options.study.mapping)
    watched = options.watched(prog, arguments) | {"shard": options.shard}
    cfg, data, records, workdir = options.inputs("search")
    with onward.going_on(prog, arguments, workdir):
        watched |= {"arms": arms, "options": options.study}
        search.search(cfg, data, records, workdir, **watched)
    if not options.shard:
        onward.say(onward.after_study(prog, workdir, "search"))
