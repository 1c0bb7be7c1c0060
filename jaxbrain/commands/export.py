"""A run's networks as a folder that needs no jaxbrain: jaxbrain export RUN DIR [flags].

Writes the classifier and the generator as `jax.export` programs (CPU, CUDA and TPU in one), their
arrays as safetensors, config.json, metadata.json, load.py (which runs them with jax, flatbuffers
and numpy alone), README.md (a model card), DATA_CARD.md and SHA256SUMS. No image, no file name
and no patient's id goes with them. Needs the extra `export`.

    jaxbrain export RUN DIR
    jaxbrain export RUN DIR --seed 1 --evaluated LADDER
    python DIR/load.py IMAGE...
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common
from jaxbrain.commands.hardware import start_devices


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A run's classifier and generator, with cards of what was measured."""

    run: Annotated[Path, tyro.conf.Positional]  # a finished run of paper or train_gan
    out: Annotated[Path, tyro.conf.Positional]  # a new folder
    seed: int = 0  # whose networks, of the run's seeds
    # a finished ladder, table4, ablations or search on the same images: its P3 and P4 stand in the
    # card beside P0
    evaluated: Path | None = None
    fresh: bool = False  # keep what is in the folder under another name


def main(arguments: list[str], prog: str = "jaxbrain export") -> None:
    default = Arguments(run=tyro.MISSING, out=tyro.MISSING)
    options = common.parse(Arguments, arguments, default=default, prog=prog)
    from jaxbrain.runs import export

    start_devices()
    how = {name: getattr(options, name) for name in ("seed", "evaluated", "fresh")}
    out = export.export(options.run, options.out, **how)
    print(f"run    python {out / 'load.py'} IMAGE...")
