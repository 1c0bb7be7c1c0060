"""What does a whole training cost, and does its memory depend on its length?

Runs `loops.train_gan` and `loops.train_classifier` (end to end) on phantoms from the first
step to the last, each as the one compiled program that a run uses: compilation, whole
training, images per second, and the program's memory at its length and at four times its
length. With --peer torch the classifier's whole training in PyTorch, in every mode. With
--p0 the whole paper (GAN, synthesis, classifier, evaluation) by `paper.paper`, seconds by
part.
"""

import dataclasses
import tempfile
import time
from typing import Literal

import jax
import jax.numpy as jnp

from benchmarks import common
from jaxbrain import config, phantom
from jaxbrain import paper as run_paper
from jaxbrain.training import loops


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "tiny"
    compute: Literal["float32", "bfloat16"] = "float32"
    epochs: int = 0  # of the classifier; 0: the preset's
    gan_steps: int = 0  # 0: the preset's
    images: int = 100  # phantoms per class
    peer: Literal["none", "torch"] = "none"
    peer_modes: tuple[str, ...] = ()  # of PyTorch; none takes all that the device has
    p0: bool = False  # the whole paper too
    rounds: int = 3


def configure(options: Options) -> config.Config:
    cfg = common.preset(options.preset)
    cfg = dataclasses.replace(cfg, compute=options.compute)
    cfg = common.change(cfg, "data", n_per_class=options.images)
    cfg = common.change(cfg, "classifier", mode="end_to_end")
    if options.epochs:
        cfg = common.change(cfg, "classifier", epochs=options.epochs)
    return common.change(cfg, "gan", steps=options.gan_steps) if options.gan_steps else cfg


class Training:
    """A whole training as one compiled program."""

    def __init__(self, cfg: config.Config, name: str, images: int):
        self.key = jax.random.key(0)
        if name == "gan":
            whole, size, batch = loops.train_gan, cfg.gan.image_size, cfg.gan.batch_size
        else:
            whole, size, batch = (
                loops.train_classifier,
                cfg.data.image_size,
                cfg.classifier.batch_size,
            )
        self.data = phantom.dataset(self.key, images, size, cfg.data.difficulty)
        init = loops.init_gan if name == "gan" else loops.init_classifier
        args = (self.key,) if name == "gan" else (self.data, self.key)
        self.init = lambda: jax.jit(init, static_argnums=0)(cfg, *args)
        count = len(self.data.label)
        self.steps = cfg.gan.steps if name == "gan" else loops.classifier_steps(cfg, count)[1]
        self.images = self.steps * batch

        def chunk(state, data, key, stop):
            return whole(cfg, data, key, state=state, stop=stop)

        start = time.perf_counter()
        lowered = jax.jit(chunk, donate_argnums=0).lower(
            self.init(), self.data, self.key, jnp.int32(0)
        )
        self.program = lowered.compile()
        self.compile = time.perf_counter() - start

    def run(self, stop: int | None = None) -> float:
        """Seconds of a training from a fresh state."""
        state = jax.block_until_ready(self.init())
        stop = jnp.int32(self.steps if stop is None else stop)
        return common.seconds(self.program, state, self.data, self.key, stop)

    def memory(self) -> float:
        """MB of the program: state, data, history, temporaries."""
        found = self.program.memory_analysis()
        return (found.argument_size_in_bytes + found.temp_size_in_bytes) / 1e6


def longer(cfg: config.Config, name: str) -> config.Config:
    """Four times as many steps."""
    if name == "gan":
        return common.change(cfg, "gan", steps=4 * cfg.gan.steps)
    return common.change(cfg, "classifier", epochs=4 * cfg.classifier.epochs)


def measure(cfg: config.Config, name: str, options: Options) -> dict:
    ours = Training(cfg, name, options.images)
    four_times = Training(longer(cfg, name), name, options.images).memory()
    first = ours.run(1)
    functions = {"ours": ours.run}
    if options.peer == "torch" and name == "classifier":
        from benchmarks import peer_torch

        device = peer_torch.device()
        for mode in options.peer_modes or peer_torch.modes(device):
            whole = peer_torch.classifier_training(cfg, ours.data, mode, device)
            whole(2)  # compiles
            functions[f"torch {mode}"] = lambda whole=whole: whole(ours.steps)
    times = common.interleaved(functions, options.rounds)
    median = common.milliseconds(times)
    seconds = {label: round(value / 1e3, 3) for label, value in median.items()}
    result = {
        "steps": ours.steps,
        "compile_s": round(ours.compile, 2),
        "first_call_s": round(first, 3),
        "training_s": seconds["ours"],
        "images_per_s": round(ours.images / seconds["ours"], 1),
        "memory_mb": round(ours.memory(), 2),
        "memory_mb_four_times_as_long": round(four_times, 2),
        "rounds_s": {label: [round(v, 3) for v in values] for label, values in times.items()},
    }
    if len(seconds) > 1:
        peers = {label.removeprefix("torch "): s for label, s in seconds.items() if label != "ours"}
        result["peer_s"] = peers
        result["ratio_to_best_peer"] = round(min(peers.values()) / seconds["ours"], 3)
    return result


def paper(cfg: config.Config) -> dict:
    """Seconds of the whole paper by part, and without compilation."""
    import json
    from pathlib import Path

    size = max(cfg.data.image_size, cfg.gan.image_size)
    data, records = phantom.folder(cfg.data, size)
    with tempfile.TemporaryDirectory() as folder:
        run_paper.paper(cfg, data, records, folder, phantoms=True)
        seconds = json.loads((Path(folder) / "env.json").read_text())["seconds"]
    compiling = sum(value for name, value in seconds.items() if name.endswith("_compile"))
    return seconds | {"total_after_compilation": round(seconds["total"] - compiling, 2)}


def main(options: Options) -> None:
    cfg = configure(options)
    if options.peer == "torch":
        from benchmarks import peer_torch

        peer_torch.refuse_classifier(cfg)
    nets = {name: measure(cfg, name, options) for name in ("classifier", "gan")}
    fields = [field for field in nets["gan"] if field != "rounds_s"]
    rows = [[field, *(nets[name][field] for name in nets)] for field in fields]
    for mode, seconds in nets["classifier"].get("peer_s", {}).items():
        rows.append([f"torch {mode} s", seconds, None])
    if "ratio_to_best_peer" in nets["classifier"]:
        rows.append(["ratio_to_best_peer", nets["classifier"]["ratio_to_best_peer"], None])
    common.table(f"Whole trainings, preset {options.preset}", ["", *nets], rows)
    result = {"preset": options.preset, "compute": options.compute, "nets": nets}
    if options.p0:
        result["p0_s"] = paper(cfg)
        common.table("The whole paper", ["part", "s"], [list(x) for x in result["p0_s"].items()])
    elif jax.default_backend() == "cpu":
        print("on a GPU: --preset paper --peer torch --p0 (bars: 3 x PyTorch's best, P0 in 10 s)")
    common.save(options, result, lambda axes: draw(axes, nets))


def draw(axes, nets: dict) -> None:
    labels, values = [], []
    for name, net in nets.items():
        for label, seconds in net["rounds_s"].items():
            labels.append(f"{name}\n{label}")
            values.append(sorted(seconds)[len(seconds) // 2])
    axes.bar(labels, values)
    axes.set_ylabel("s for a whole training, median")
    axes.tick_params(axis="x", labelrotation=45, labelsize=7)


if __name__ == "__main__":
    common.main(Options, main)
