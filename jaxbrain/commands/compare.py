"""Finished runs side by side: jaxbrain compare RUN RUN... [--out DIR].

The accuracy, interval, AUROC and number of answers of each cell of runs of paper, ladder,
table4, ablations or search. Where two runs were tested on the same images, seed by seed and
fold by fold, their difference with the corrected resampled t test and Holm's adjustment;
where they were not, why. Writes comparison.csv, .md, .tex, .html and pairs.csv.

    jaxbrain compare runs/A runs/B
    jaxbrain compare runs/* --out comparison
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common
from jaxbrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Finished runs side by side, with paired tests where their folds match."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()  # finished runs, two or more
    all_pairs: bool = False  # each method of a run with each of another; else those alike
    out: Path | None = None  # new or empty; runs/<date>_<time>_compare without it

    def check(self) -> None:
        """Refuse what needs no reading."""
        if len(self.runs) < 2:
            raise ConfigError(f"runs: found {len(self.runs)}: expected two directories or more")


def main(arguments: list[str], prog: str = "jaxbrain compare") -> None:
    options = common.parse(Arguments, arguments, default=Arguments(), prog=prog)
    from jaxbrain.runs import compare

    out = options.out or common.new_workdir("compare")
    compare.compare(options.runs, out, every=options.all_pairs)
    print(f"wrote  {out}: {', '.join(compare.OUTPUTS)}")
