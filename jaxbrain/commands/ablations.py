"""What the GAN and the LSTM are worth: jaxbrain ablations [--data DIR] [flags].

With and without the GAN, with and without the LSTM, the three readings of Table 1, 0 to 400
synthetic images per class, and the controls; under P3, where nothing leaks. Without --data
phantoms with planted copies. `--generator linear` draws from principal components instead of
training a GAN, in a fraction of the time.
"""

import dataclasses
from typing import Literal

from jaxbrain.commands import common, onward
from jaxbrain.config import StudyConfig


@dataclasses.dataclass(frozen=True)
class Arguments(common.Study):
    """The ablations that the paper owed."""

    first = "data preset generator split seeds folds positive workdir fresh cache"

    generator: str = "cgan"  # of synthetic images: cgan, linear, or module:object
    # holdout: one test set a seed. kfold: every image is tested once a seed
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 1  # draws, with keys 0 to N-1
    folds: int = 5  # test sets of a seed, of kfold
    # how trainings are mapped over seeds and folds: see jaxbrain ladder --help-all
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"


def main(arguments: list[str], prog: str = "jaxbrain ablations") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    from jaxbrain.runs import ablations

    study = StudyConfig(
        split=options.split, seeds=options.seeds, folds=options.folds, mapping=options.mapping
    )
    options.hardware.start(options.mapping)
    cfg, data, records, workdir = options.inputs("ablations")
    watched = options.watched(prog, arguments)
    watched |= {"options": study, "generator": options.generator}
    with onward.going_on(prog, arguments, workdir):
        ablations.ablations(cfg, data, records, workdir, **watched)
    print(f"wrote  {workdir / 'ablations.json'}, ablations.png")
    onward.say(onward.after_study(prog, workdir, part="readings"))
    onward.say(onward.after_study(prog, workdir, part="doses"))
