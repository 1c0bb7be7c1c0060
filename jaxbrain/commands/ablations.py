"""What the GAN and the LSTM are worth: jaxbrain ablations [--data DIR] [flags].

With and without the GAN, with and without the LSTM, the three readings of Table 1, 0 to 400
synthetic images per class, and the controls; under P3, where nothing leaks. Without --data
phantoms with planted copies. `--generator linear` draws from principal components instead of
training a GAN, in a fraction of the time.
"""

import dataclasses
from typing import Literal

from jaxbrain.commands import common, onward
from jaxbrain.runs import ablations
from jaxbrain.study.protocols import StudyConfig


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """The ablations that the paper owed."""

    generator: str = "cgan"  # cgan, linear, or module:object
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 1
    folds: int = 5  # of kfold
    # see jaxbrain ladder --help
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"


def main(arguments: list[str], prog: str = "jaxbrain ablations") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    study = StudyConfig(
        split=options.split, seeds=options.seeds, folds=options.folds, mapping=options.mapping
    )
    options.hardware.start(options.mapping)
    *given, workdir = options.inputs("ablations")
    watched = options.watched(prog, arguments)
    with onward.going_on(prog, arguments, workdir):
        ablations.ablations(*given, workdir, options=study, generator=options.generator, **watched)
    print(f"wrote  {workdir / 'ablations.json'}, ablations.png")
    onward.say(onward.after_study(prog, workdir, part="readings"))
    onward.say(onward.after_study(prog, workdir, part="doses"))
