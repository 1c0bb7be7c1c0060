"""What does this machine do? What is worth knowing of a new accelerator, in N minutes.

Runs the parts below, each as a process of its own within its share of the time (what one
leaves, the next ones get): equality with the processor's results; one step beside
PyTorch; the whole paper; many trainings as lanes; whole trainings; a study with the GAN; the
step once more with flags of XLA's. Every part writes its own file into --json DIR as it ends, and
`accelerator.json` and `accelerator.md` are written again after each, with what was left out and
why. On a CPU the same parts run in small.
"""

import dataclasses
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Literal, NamedTuple

import chex
import jax
import numpy as np

from benchmarks import common
from jaxbrain import Batch, ConfigError
from jaxbrain.config import OptimConfig
from jaxbrain.runs import files
from jaxbrain.training import classifier, gan


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    json: Path | None = None  # the folder of all results
    minutes: float = 9.0
    data: Path | None = None  # a folder of images for the paper and the study; else phantoms
    parts: tuple[str, ...] = ()  # none takes all
    only: Literal["", "versions", "equality"] = ""  # of a part's process: what it is to do


class Part(NamedTuple):
    """share: of the time. command: of its process, whose JSON file is the last argument where
    it writes one. figures: what its file says -> {what: figure}."""

    name: str
    share: float
    command: list[str]
    figures: Callable[[dict], dict]


# Of seconds, so that a CPU ends in minutes.
SMALL = (
    "--data.n-per-class 16 --data.image-size 16 --gan.image-size 32 --gan.steps 20 "
    "--gan.filters 4 --gan.projection 8 --gan.kernel-size 3 --gan.batch-size 8 "
    "--classifier.epochs 2 --classifier.batch-size 8 --cnn.filters 3 4"
).split()


# Parts that take the step once more, each with a flag of XLA's that may help on a GPU: the first
# is what entry points set there.
FLAGS = {
    "step_graphs": "--xla_gpu_graph_min_graph_size=1",
    "step_loops": "--xla_gpu_enable_command_buffer=+WHILE",
}


def parts(options: Options, large: bool) -> list[Part]:
    """All parts in their order. large: on an accelerator."""
    folder = options.json
    peer = []
    if large and importlib.util.find_spec("torch"):
        # Of all modules torch.compile has taken minutes, and the rest of the part with it.
        peer = "--peer torch --peer-modes eager cudagraphs".split()
    python, data = [sys.executable, "-m"], ["--data", str(options.data)] if options.data else []

    def bench(name: str, part: str, flags: str) -> list[str]:
        target = str(folder / f"{part}.json")
        return [*python, f"benchmarks.{name}", *flags.split(), "--json", target]

    def lanes(net: str) -> Part:
        flags = "--preset cpu --counts 1 8 64 --how loop vmap --rounds 3"
        small = "--preset tiny --counts 2 --how loop vmap --rounds 1 --steps 2 --images 20"
        name = f"lanes_{net}"
        command = bench("seeds", name, f"--net {net} {flags if large else small}")
        return Part(name, 2.0, command, _lanes)

    def flagged(name: str, flag: str) -> Part:
        flags = " ".join([os.environ.get("XLA_FLAGS", ""), flag]).strip()
        command = ["env", f"XLA_FLAGS={flags}", *bench("step", name, step)]
        return Part(name, 1.0, command, _step)

    step = "--preset paper --gan-batch 32 --compute bfloat16 --rounds 3"
    whole = "--preset paper --epochs 20 --rounds 2"
    if not large:
        step = "--preset tiny --rounds 1 --chunk 2"
        whole = "--preset tiny --epochs 1 --gan-steps 10 --images 20 --rounds 1"
    paper = ["--preset", "paper" if large else "tiny", *([] if large else SMALL), *data]
    study = ["--preset", "cpu" if large else "tiny", *([] if large else SMALL), *data]
    study += "--split holdout --seeds 2 --generators cgan none --protocols P0 P3".split()
    study += "--classifiers cnn_lstm_rows".split()

    def run(verb: str, name: str, flags: list[str]) -> list[str]:
        return [*python, "jaxbrain", verb, *flags, "--workdir", str(folder / name)]

    return [
        Part("equality", 1.0, _own(folder, "equality"), lambda found: found["equality"]),
        Part("step", 3.0, [*bench("step", "step", step), *peer, "--peer-seconds", "45"], _step),
        Part("paper", 2.0, run("paper", "paper", paper), _paper),
        lanes("classifier"),
        lanes("gan"),
        Part("training", 2.0, [*bench("training", "training", whole), *peer], _training),
        Part("study", 2.0, run("ladder", "study", study), _study),
        *[flagged(name, flag) for name, flag in FLAGS.items()],
    ]


def _own(folder: Path, name: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.accelerator", "--json", str(folder), "--only", name]


def _step(found: dict) -> dict:
    figures = {}
    for name, net in found["nets"].items():
        for field in ("chunk_ms", "python_ms", "compile_s", "roofline_share", "ratio_to_best_peer"):
            if net.get(field) is not None:
                figures[f"{name} {field}"] = net[field]
    return figures


def _lanes(found: dict) -> dict:
    figures = {}
    for count, entry in found["seeds"].items():
        for how, one in entry.items():
            figures[f"{count} by {how}, trainings/s"] = one["runs_per_s"]
            figures[f"{count} by {how}, compile_s"] = one["compile_s"]
    for count, why in found["left_out"].items():
        figures[f"{count} lanes"] = why
    best = {
        how: max(entry[how]["runs_per_s"] for entry in found["seeds"].values() if how in entry)
        for how in ("loop", "vmap")
        if any(how in entry for entry in found["seeds"].values())
    }
    if len(best) == 2:
        figures["best of vmap over best of loop"] = round(best["vmap"] / best["loop"], 2)
    return figures


def _training(found: dict) -> dict:
    return {
        f"{name} {field}": net[field]
        for name, net in found["nets"].items()
        for field in ("training_s", "compile_s", "images_per_s", "ratio_to_best_peer")
        if field in net
    }


def _paper(found: dict) -> dict:
    seconds = found["env.json"]["seconds"]
    compiling = sum(value for name, value in seconds.items() if name.endswith("_compile"))
    return {
        "test accuracy": found["results.json"]["summary"]["accuracy"],
        **{f"{name}, s": value for name, value in seconds.items()},
        "total after compilation, s": round(seconds["total"] - compiling, 2),
    }


def _study(found: dict) -> dict:
    cells = found["ladder.json"]["cells"]
    return {
        f"{one['protocol']} {one['generator']} {one['labels']}, accuracy": one["accuracy"]
        for one in cells
        if one["labels"] == "true"
    } | {"seconds": found["env.json"]["seconds"]}


def equality() -> dict:
    """The largest difference of one update's state and metrics, relative to the largest value
    of each array: this device against the processor, on the same small inputs, products in
    full precision. SGDM in both nets: Adam's first update is a gradient's sign, which
    rounding turns where the gradient is nearly zero."""
    cfg = common.change(common.preset("tiny"), "data", image_size=16)
    narrow = {"filters": 8, "projection": 16, "kernel_size": 3}
    sgdm = {"generator_optim": OptimConfig(), "discriminator_optim": OptimConfig()}
    cfg = common.change(cfg, "gan", image_size=32, batch_size=8, **narrow, **sgdm)
    cfg = common.change(cfg, "classifier", batch_size=8, mode="end_to_end", optim=OptimConfig())
    key, order = jax.random.key(0), np.arange(8, dtype=np.int32) % 2
    found = {}
    for name, module, size in (
        ("gan", gan, cfg.gan.image_size),
        ("classifier", classifier, cfg.data.image_size),
    ):
        image = np.random.default_rng(0).uniform(-1, 1, (8, size, size, cfg.data.channels))
        batch = Batch(np.float32(image), order, np.ones(8, np.float32))
        args = () if name == "gan" else (10,)
        init = jax.jit(lambda k, m=module, a=args: m.init(cfg, k, *a))
        step = jax.jit(lambda s, b, k, m=module: m.train_step(cfg, s, b, k))
        results = []
        for device in (jax.local_devices(backend="cpu")[0], jax.devices()[0]):
            with jax.default_device(device), jax.default_matmul_precision("highest"):
                results.append(jax.device_get(step(init(key), batch, key)))
        chex.assert_trees_all_equal_shapes_and_dtypes(*results)
        gaps = jax.tree.map(
            lambda a, b: float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(a))), 1e-6)),
            *jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), results),
        )
        found[f"{name}, largest relative difference"] = max(jax.tree.leaves(gaps))
    return {"equality": found}


# The parts, one after another.


def _run(part: Part, folder: Path, seconds: float) -> str:
    """Run a part for at most so long; why it has no result, empty where it has."""
    # PyTorch runs beside JAX in some: neither may take all the memory.
    env = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with (folder / f"{part.name}.log").open("w") as log:
        process = subprocess.Popen(
            part.command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            # With the processes that it started: compilers have some.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"not done after its {seconds:.0f} s"
    if status:
        lines = (folder / f"{part.name}.log").read_text(errors="replace").strip().splitlines()
        return f"ended with {status}: {lines[-1][:200] if lines else ''}"
    return ""


def _read(part: Part, folder: Path) -> dict:
    """What a part wrote: its file, or those of its run directory by name."""
    if (path := folder / f"{part.name}.json").is_file():
        return json.loads(path.read_text())
    names = "env.json", "results.json", "ladder.json"
    own = folder / part.name
    return {name: json.loads((own / name).read_text()) for name in names if (own / name).is_file()}


def page(about: dict, done: dict) -> str:
    """All figures as one table."""
    lines = [
        "# This machine",
        "",
        f"{about['date']}, {about['commit'] or 'no commit'}, {about['backend']}: "
        f"{', '.join(sorted(set(about['devices'])))}, Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in about["packages"].items()),
        "",
        f"`{about['command']}`",
        "",
        "| part | figure | value |",
        "|---|---|---|",
    ]
    for name, one in done.items():
        rows = one["figures"] or {"": one["left_out"]}
        for what, value in rows.items():
            value = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"| {name} ({one['seconds']:.0f} s) | {what} | {value} |")
    return "\n".join(lines) + "\n"


def run(options: Options) -> None:
    folder = options.json
    if folder is None:
        raise ConfigError("json is not given: expected the folder of the results")
    if options.only:
        result = equality() if options.only == "equality" else {}
        files.write_json(folder / f"{options.only}.json", common.environment() | result)
        return
    end = monotonic() + 60 * options.minutes
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("*.json", "*.md"):
        for path in folder.glob(name):
            path.unlink()
    # Asked of a process: this one takes no accelerator.
    first = Part("versions", 0.0, _own(folder, "versions"), dict)
    if why := _run(first, folder, 120.0):
        raise ConfigError(f"versions: {why}: no device was found")
    about = _read(first, folder)
    about["command"] = shlex.join(["python", "-m", "benchmarks.accelerator", *sys.argv[1:]])
    planned = parts(options, about["backend"] != "cpu")
    if unknown := set(options.parts) - {part.name for part in planned}:
        expected = ", ".join(part.name for part in planned)
        raise ConfigError(f"parts is {sorted(unknown)[0]!r}: expected some of {expected}")
    planned = [part for part in planned if not options.parts or part.name in options.parts]
    done: dict[str, dict] = {}
    for number, part in enumerate(planned):
        start = monotonic()
        left = sum(one.share for one in planned[number:])
        # A part's share, and as much again where those after it can do with less.
        seconds = (end - start) * min(1.0, 1.5 * part.share / left)
        why = _run(part, folder, seconds) if seconds > 1 else "no time was left"
        figures = {} if why else part.figures(_read(part, folder))
        took = monotonic() - start
        done[part.name] = {"figures": figures, "left_out": why, "seconds": round(took, 1)}
        print(f"{part.name}: {why or 'done'} ({took:.0f} s)", flush=True)
        files.write_json(folder / "accelerator.json", about | {"parts": done})
        files.write_text(folder / "accelerator.md", page(about, done))
    rows = [
        [name, what, value if not isinstance(value, float) else f"{value:.4g}"]
        for name, one in done.items()
        for what, value in (one["figures"] or {"left out": one["left_out"]}).items()
    ]
    common.table(f"{about['backend']}: {about['devices'][0]}", ["part", "figure", "value"], rows)
    print(f"wrote {folder / 'accelerator.json'} and accelerator.md")


if __name__ == "__main__":
    common.main(Options, run)
