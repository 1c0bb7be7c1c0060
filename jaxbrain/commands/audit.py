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

from jaxbrain.commands import common
from jaxbrain.errors import ConfigError
from jaxbrain.runs import audit, material
from jaxbrain.runs.audit import AuditConfig


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Synthetic images beside held-out ones; near-copies of training images; membership."""

    run: Annotated[Path | None, tyro.conf.Positional] = None  # of train_gan; or three folders:
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


def main(arguments: list[str], prog: str = "jaxbrain audit") -> None:
    options = common.parse(Arguments, arguments, default=Arguments(), prog=prog)
    if options.verify:
        common.verified(options.verify, audit.verify(options.verify))
    folders = {name: getattr(options, name) for name in ("synthetic", "training", "held_out")}
    given = [name for name, value in folders.items() if value is not None]
    if bool(options.run) == bool(given) or (given and len(given) < len(folders)):
        raise ConfigError(
            "expected a run of train_gan, or --synthetic, --training and --held-out, all three"
        )
    options.hardware.start()
    cache, _ = options.hardware.cache_folder()
    kept = cache and cache / "images"
    if options.run:
        names = "seed", "n", "key", "data"
        how = {name: getattr(options, name) for name in names}
        found = material.of_run(options.run, cache_folder=kept, **how)
        name = "audit" if not options.seed else f"audit_seed{options.seed}"
        workdir = options.workdir or options.run / name
    else:
        names = "size", "crop", "square", "frames"
        how = {name: getattr(options, name) for name in names}
        found = material.of_folders(**folders, cache_folder=kept, **how)
        workdir = options.workdir or common.new_workdir("audit")
    command = shlex.join([*prog.split(), *arguments])
    how = {"options": options.study, "command": command, "fresh": options.fresh}
    audit.audit(found, workdir, **how)
