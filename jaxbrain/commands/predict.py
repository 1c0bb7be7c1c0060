"""What a finished run says of new images: jaxbrain predict RUN IMAGE... [flags].

IMAGE is a file, a folder of images (or of class folders, whose names do not count), or a zip or
tar archive. Writes `predictions.csv` to RUN/predictions: the class, its probability, calibrated
and not, and how far the image is from the training images. For research, not a medical device.

    jaxbrain predict RUN scan.png
    jaxbrain predict RUN DIR --explain
    jaxbrain predict RUN DIR --skip-bad --out OUT
"""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxbrain.commands import common
from jaxbrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Class and probability of images, by the classifier of a run of paper."""

    first = "run images seed out explain skip-bad calibrate data fresh cache"

    run: Path | None = None  # of paper, also without the flag's name
    images: tuple[str, ...] = ()  # files, folders, archives, also without the flag's name
    seed: int = 0  # whose classifier, of the run's seeds
    # new, empty, or of the same images and run; RUN/predictions without it
    out: Path | None = None
    explain: bool = False  # Grad-CAM, occlusion and difference maps, a picture each
    skip_bad: bool = False  # go on without images that cannot be used; skipped.csv lists them
    data: str | None = None  # where the run's own images are now, if they were moved
    # the temperature of probabilities, fitted on training images left out of one more training,
    # or of five, which leave out each image once; fitted at the first call, and kept
    calibrate: Literal["once", "all", "off"] = "once"
    fresh: bool = False  # keep predictions that are there under another name
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()

    def check(self) -> None:
        """Refuse a run without images."""
        if self.run is None or not self.images:
            raise ConfigError(
                "expected a run and images: jaxbrain predict RUN IMAGE|DIR|ARCHIVE..."
            )


def _switches(kind: type) -> set[str]:
    """The flags that take no value, and those that help."""
    own = {field.name.replace("_", "-") for field in dataclasses.fields(kind) if field.type is bool}
    return {"--help", "--help-all", "-h", *(f"--{no}{name}" for name in own for no in ("", "no-"))}


def parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands without a flag, wherever it stands; and the flags with their values."""
    switches = _switches(Arguments) | _switches(common.Hardware)
    run, images, free, flags, takes = [], [], [], [], False
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--run":
            run, words = words[:1], words[1:]
        elif word.startswith("--run="):
            run = [word.partition("=")[2]]
        elif word == "--images":
            while words and not words[0].startswith("-"):
                images.append(words.pop(0))
        elif takes or word.startswith("-"):
            takes = not takes and word.replace("_", "-") not in switches and "=" not in word
            flags.append(word)
        else:
            free.append(word)
    # A run that was named stands first, and images that were named are images.
    return [*run, *free, *images], flags


def main(arguments: list[str], prog: str = "jaxbrain predict") -> None:
    command = shlex.join([*prog.split(), *arguments])
    free, flags = parted(arguments)
    named = ["--run", free[0]] if free else []
    if len(free) > 1:
        named += ["--images", *free[1:]]
    options = common.parse(Arguments, [*named, *flags], default=Arguments(), prog=prog)
    from jaxbrain.runs import predict

    options.hardware.start()
    cache, _ = options.hardware.cache_folder()
    names = "seed", "out", "skip_bad", "data", "calibrate", "fresh"
    predict.predict(
        options.run,
        [Path(one).expanduser() for one in options.images],
        explained=options.explain,
        cache_folder=cache and cache / "images",
        command=command,
        **{name: getattr(options, name) for name in names},
    )
