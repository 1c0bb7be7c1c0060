"""What a generator draws, and what it copies: jaxbrain audit RUN, or of folders.

Of a run of train_gan: images drawn from its last checkpoint, against its training and its
held-out images. Of folders or archives of images (class folders, or images alone, any size):
whoever made them. Writes `audit.json`, `report.md`, sheets, the nearest pairs, curves. It says
what was measured; that synthetic images are anonymous it never says.

    jaxbrain audit RUN
    jaxbrain audit --synthetic DIR --training DIR --held-out DIR --workdir W
    jaxbrain audit --verify W
"""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxbrain.commands import common, onward
from jaxbrain.errors import ConfigError
from jaxbrain.runs import audit, material
from jaxbrain.runs.audit import AuditConfig


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Synthetic images beside held-out ones; near-copies of training images; membership."""

    run: Path | None = None  # of train_gan, also without the flag's name; or three folders:
    synthetic: str | None = None  # what a generator drew
    training: str | None = None  # what it was fitted on
    held_out: str | None = None  # images of the same kind that it never saw
    # New, empty, or of the same audit; of a run RUN/audit without it.
    workdir: Path | None = None
    fresh: bool = False  # keep an audit that is there under another name
    verify: Path | None = None  # an audit: recompute what its files can tell
    study: Annotated[AuditConfig, tyro.conf.arg(name="")] = AuditConfig()
    # Of a run.
    seed: int = 0  # which GAN
    n: int = 0  # synthetic images, classes as in training; 0: as many as training images
    key: int = 0  # of the latents
    data: str | None = None  # where the run's images are now, if they were moved
    # Of folders.
    size: int = 64  # side that all images are brought to
    crop: Literal["none", "head"] = "none"
    square: Literal["stretch", "pad"] = "stretch"
    frames: Literal["error", "first", "all"] = "error"  # of films and files of several pages
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()


_OF_RUN = "seed", "n", "key", "data"
_OF_FOLDERS = "size", "crop", "square", "frames"


def _refuse_other(options: Arguments) -> None:
    """Refuse flags that would be of no use."""
    names, kind = (_OF_FOLDERS, "folders") if options.run else (_OF_RUN, "a run")
    for name in names:
        if getattr(options, name) != getattr(Arguments(), name):
            raise ConfigError(f"{name} is {getattr(options, name)!r}: it is a flag of {kind} alone")


def main(arguments: list[str], prog: str = "jaxbrain audit") -> None:
    command = shlex.join([*prog.split(), *arguments])
    typed = list(arguments)
    if arguments and not arguments[0].startswith("-"):
        # As a positional argument it would take the values of flags that are not known.
        arguments = ["--run", *arguments]
    options = common.parse(Arguments, arguments, default=Arguments(), prog=prog)
    if options.verify:
        common.verified(options.verify, audit.verify(options.verify))
    folders = {name: getattr(options, name) for name in ("synthetic", "training", "held_out")}
    given = [name for name, value in folders.items() if value is not None]
    if bool(options.run) == bool(given) or (given and len(given) < len(folders)):
        raise ConfigError(
            "expected a run of train_gan, or --synthetic, --training and --held-out, all three"
        )
    _refuse_other(options)
    options.hardware.start()
    cache, _ = options.hardware.cache_folder()
    kept = cache and cache / "images"
    if options.run:
        how = {name: getattr(options, name) for name in _OF_RUN}
        found = material.of_run(options.run, cache_folder=kept, **how)
        name = "audit" if not options.seed else f"audit_seed{options.seed}"
        workdir = options.workdir or options.run / name
    else:
        how = {name: getattr(options, name) for name in _OF_FOLDERS}
        found = material.of_folders(**folders, cache_folder=kept, **how)
        workdir = options.workdir or common.new_workdir("audit")
    how = {"options": options.study, "command": command, "fresh": options.fresh}
    with onward.going_on(prog, typed, workdir):
        audit.audit(found, workdir, **how)
    onward.say(onward.after_study(prog, workdir, "audit"))
