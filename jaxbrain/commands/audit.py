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
from jaxbrain.config import AuditConfig
from jaxbrain.errors import ConfigError

_OF_RUN = "seed", "n", "key", "data"
_OF_FOLDERS = "size", "crop", "square", "frames"
_FOLDERS = "synthetic", "training", "held_out"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Synthetic images beside held-out ones; near-copies of training images; membership."""

    first = (
        "run synthetic training held-out workdir fresh verify features shadows seed n data size "
        "cache"
    )

    run: Path | None = None  # of train_gan, also without the flag's name; or three folders:
    synthetic: str | None = None  # folder or archive of what a generator drew
    training: str | None = None  # folder or archive of what it was fitted on
    held_out: str | None = None  # folder or archive of images of the same kind it never saw
    # what the audit writes: new, empty, or of the same audit; of a run RUN/audit without it
    workdir: Path | None = None
    fresh: bool = False  # keep an audit that is there under another name
    # formats of curves, pdf and svg for papers; a PNG is always written
    figures: tuple[Literal["png", "pdf", "svg"], ...] = ("png",)
    verify: Path | None = None  # an audit: recompute what its files can tell, and stop
    study: Annotated[AuditConfig, tyro.conf.arg(name="")] = AuditConfig()
    # Of a run.
    seed: int = 0  # which GAN of the run
    n: int = 0  # synthetic images, classes as in training; 0: as many as training images
    key: int = 0  # of the latents: another key draws other images
    data: str | None = None  # where the run's images are now, if they were moved
    # Of folders.
    size: int = 64  # side that all images of folders are brought to, in pixels
    crop: Literal["none", "head"] = "none"  # head: images of folders are cut to the head
    # images of folders that are not square: stretched, or padded with black edges
    square: Literal["stretch", "pad"] = "stretch"
    # films and files of several pages: error refuses them, first takes a page, all takes all
    frames: Literal["error", "first", "all"] = "error"
    hardware: Annotated[common.Hardware, tyro.conf.arg(name="")] = common.Hardware()

    def check(self) -> None:
        """Refuse what is neither a run nor three folders, and flags that would be of no use."""
        given = [name for name in _FOLDERS if getattr(self, name) is not None]
        whole = len(given) in (0, len(_FOLDERS)) and bool(self.run) != bool(given)
        if self.verify:
            return
        if not whole:
            raise ConfigError(
                "expected a run of train_gan, or --synthetic, --training and --held-out, all three"
            )
        names, kind = (_OF_FOLDERS, "folders") if self.run else (_OF_RUN, "a run")
        for name in names:
            if getattr(self, name) != getattr(Arguments(), name):
                found = getattr(self, name)
                raise ConfigError(f"{name} is {found!r}: it is a flag of {kind} alone")


def main(arguments: list[str], prog: str = "jaxbrain audit") -> None:
    command = shlex.join([*prog.split(), *arguments])
    typed = list(arguments)
    if arguments and not arguments[0].startswith("-"):
        # As a positional argument it would take the values of flags that are not known.
        arguments = ["--run", *arguments]
    options = common.parse(Arguments, arguments, default=Arguments(), prog=prog)
    from jaxbrain.runs import audit, material

    if options.verify:
        common.verified(options.verify, audit.verify(options.verify))
    options.hardware.start()
    cache, _ = options.hardware.cache_folder()
    kept = cache and cache / "images"
    if options.run:
        how = {name: getattr(options, name) for name in _OF_RUN}
        found = material.of_run(options.run, cache_folder=kept, **how)
        name = "audit" if not options.seed else f"audit_seed{options.seed}"
        workdir = options.workdir or options.run / name
    else:
        how = {name: getattr(options, name) for name in (*_FOLDERS, *_OF_FOLDERS)}
        found = material.of_folders(**how, cache_folder=kept)
        workdir = options.workdir or common.new_workdir("audit")
    how = {"options": options.study, "command": command, "fresh": options.fresh}
    how["figures"] = options.figures
    with onward.going_on(prog, typed, workdir):
        audit.audit(found, workdir, **how)
    onward.say(onward.after_study(prog, workdir, "audit"))
