"""The paper from images to tables: jaxbrain paper [--data DIR] [flags].

Trains the conditional GAN, draws the synthetic images, trains the CNN-LSTM on the pool
and prints Tables 3 and 4, by the paper's own protocol (P0). Any field of the
configuration is a flag, such as --gan.steps 1000.
"""

import dataclasses

from jaxbrain.commands import common
from jaxbrain.runs import paper


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """The paper's method (GAN, synthesis, CNN-LSTM) under its own protocol."""

    seeds: int = 1  # runs, with keys 0..N-1


def main(arguments: list[str], prog: str = "jaxbrain paper") -> None:
    start = common.parse(common.Start, arguments, add_help=False)
    preset = start.preset or ("cpu" if start.data else "tiny")
    default = Arguments(preset=preset, cfg=common.PRESETS[preset]())
    options = common.parse(Arguments, arguments, default=default, prog=prog)
    options.hardware.start()
    cfg = options.read_as(options.cfg)
    data, records = common.load(options.data, cfg, options.hardware)
    paper.paper(
        cfg,
        data,
        records,
        options.workdir or common.new_workdir("paper"),
        num_seeds=options.seeds,
        phantoms=options.data is None,
        how=options.hardware.parallel,
        **options.watched(prog, arguments),
    )
