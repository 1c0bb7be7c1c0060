"""The paper from images to tables: jaxbrain paper [--data DIR] [flags].

Trains the conditional GAN, draws the synthetic images, trains the CNN-LSTM on the pool
and prints Tables 3 and 4, by the paper's own protocol (P0). Any field of the
configuration is a flag, such as --gan.steps 1000.
"""

import dataclasses

from jaxbrain.commands import common, onward


@dataclasses.dataclass(frozen=True)
class Arguments(common.Judged):
    """The paper's method (GAN, synthesis, CNN-LSTM) under its own protocol."""

    first = (
        "data preset seeds positive external workdir fresh cache devices data.n-per-class "
        "gan.steps classifier.epochs"
    )

    seeds: int = 1  # trainings of GAN and classifier, with keys 0 to N-1


def main(arguments: list[str], prog: str = "jaxbrain paper") -> None:
    options = common.parse_study(Arguments, arguments, prog, copies=False)
    from jaxbrain.runs import paper
    from jaxbrain.training import devices

    options.hardware.start()
    cfg, data, records, workdir = options.inputs("paper")
    with onward.going_on(prog, arguments, workdir):
        paper.paper(
            cfg,
            data,
            records,
            workdir,
            external=options.other(data, records),
            num_seeds=options.seeds,
            phantoms=options.data is None,
            how=options.hardware.parallel,
            **options.watched(prog, arguments),
        )
    if devices.first_process():
        onward.say(onward.after_paper(prog, arguments, workdir, options.data))
