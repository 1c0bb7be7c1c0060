"""The conditional GAN with held-out images: jaxbrain train_gan [--data DIR] [flags].

Trains the GAN on all images but a share that no GAN sees (whole groups of near-duplicates,
each class in its share), saved and gone on with as every run. `jaxbrain sample RUN` draws
from it, `jaxbrain audit RUN` judges it. Without --data phantoms with planted copies.

    jaxbrain train_gan
    jaxbrain train_gan --data DIR --preset cpu --held-out 0.25 --seeds 3
"""

import dataclasses
from typing import Literal

from jaxbrain.commands import common, onward


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """The paper's GAN alone, on all images but a held-out share."""

    first = (
        "data preset held-out seeds workdir fresh cache data.n-per-class gan.image-size gan.steps "
        "gan.batch-size"
    )

    held_out: float = 0.25  # share of the groups of each class that no GAN sees
    seeds: int = 1  # GANs, with keys 0 to N-1, all on the same images
    # how trainings are mapped over seeds: see jaxbrain ladder --help-all
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"


def main(arguments: list[str], prog: str = "jaxbrain train_gan") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    from jaxbrain.runs import train_gan

    options.hardware.start(options.mapping)
    cfg, data, records, workdir = options.inputs("train_gan")
    with onward.going_on(prog, arguments, workdir):
        train_gan.train_gan(
            cfg,
            data,
            records,
            workdir,
            held_out=options.held_out,
            num_seeds=options.seeds,
            mapping=options.mapping,
            **options.watched(prog, arguments),
        )
    onward.say(onward.after_gan(prog, workdir))
