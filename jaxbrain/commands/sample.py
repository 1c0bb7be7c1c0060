"""Synthetic images from a GAN of a run: jaxbrain sample RUN [flags].

Draws PNG files into class folders (`<class>/<number>.png`, for one class too), by default in
RUN/drawn, with `provenance.json`: the run, the checkpoint, the key, and the SHA-256 of every
file. The n-th image of a class is the same however many are drawn. The images are for
research, and not anonymous.

    jaxbrain sample RUN
    jaxbrain sample RUN --n 100 --class yes --out DIR
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxbrain.commands import common


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Images from a run's GAN, as files."""

    first = "run n class seed key out cache"

    run: Annotated[Path, tyro.conf.Positional]  # a run of train_gan or paper: its directory
    n: int = 16  # images of each class
    only: Annotated[str, tyro.conf.arg(name="class")] = ""  # one class; all without it
    seed: int = 0  # which GAN of the run
    key: int = 0  # of the latents: another key draws other images
    out: Path | None = None  # new, empty, or of the same draw; RUN/drawn without it
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()


def main(arguments: list[str], prog: str = "jaxbrain sample") -> None:
    options = common.parse(Arguments, arguments, default=Arguments(run=tyro.MISSING), prog=prog)
    from jaxbrain.runs import sample

    options.hardware.start()
    names = "run", "n", "only", "seed", "key", "out"
    out = sample.sample(**{name: getattr(options, name) for name in names})
    print(f"wrote  {out}: synthetic images, for research, not anonymous")
