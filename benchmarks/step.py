"""What does one training step of the classifier and of the GAN cost, and PyTorch's?

Times the CNN-LSTM's end-to-end step and the GAN's step: compilation, the first call,
steady calls from Python, steady steps inside a compiled chunk (what a training runs), and
the share of the roofline. With --peer torch the same nets run in PyTorch in the same
rounds, in every mode its users would try, and the ratio is to the best of them; a mode that
fails, or is not ready in --peer-seconds, is named and left out.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Literal
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from jaxbrain import Batch, ConfigError, config
from jaxbrain.nn import ops
from jaxbrain.training import classifier, gan


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "cpu"
    gan_batch: int = 0  # 0: the preset's
    classifier_batch: int = 0  # 0: the preset's
    compute: Literal["float32", "bfloat16"] = "float32"
    peer: Literal["none", "torch"] = "none"
    peer_modes: tuple[str, ...] = ()  # of PyTorch; none takes all that the device has
    peer_seconds: float = 120.0  # for the first steps of a mode, its compilation among them
    chunk: int = 10  # steps in a compiled chunk
    rounds: int = 5


def configure(options: Options) -> config.Config:
    cfg = common.preset(options.preset)
    cfg = dataclasses.replace(cfg, compute=options.compute)
    # One step of everything: the end-to-end step trains CNN and LSTM at once.
    fields = {"mode": "end_to_end"}
    if options.classifier_batch:
        fields["batch_size"] = options.classifier_batch
    cfg = common.change(cfg, "classifier", **fields)
    return common.change(cfg, "gan", batch_size=options.gan_batch) if options.gan_batch else cfg


def subject(cfg: config.Config, name: str, key):
    """The step of a net, a fresh state and a batch."""
    if name == "gan":
        step, size, count = gan.train_step, cfg.gan.image_size, cfg.gan.batch_size
        state = jax.jit(gan.init, static_argnums=0)(cfg, key)
    else:
        step, size, count = classifier.train_step, cfg.data.image_size, cfg.classifier.batch_size
        state = jax.jit(classifier.init, static_argnums=(0, 2))(cfg, key, 1000)
    image = jax.random.uniform(key, (count, size, size, cfg.data.channels), minval=-1.0)
    label = jnp.arange(count, dtype=jnp.int32) % cfg.data.num_classes
    return step, state, Batch(image, label, jnp.ones((count,)))


def machine() -> dict[str, float]:
    """What the roofline stands on: the rate of a large product and of a large copy."""
    on_cpu = jax.default_backend() == "cpu"
    side = 2048 if on_cpu else 8192
    a = jax.random.normal(jax.random.key(0), (side, side))
    product = jax.jit(lambda a: a @ a)
    copy = jax.jit(lambda a: a * 1.5)
    b = jnp.ones((2**24 if on_cpu else 2**28,))
    jax.block_until_ready((product(a), copy(b)))
    fastest = min(common.seconds(product, a) for _ in range(7))
    # Many at once, so that the time of a launch does not count.
    many = jax.jit(lambda b: jax.lax.fori_loop(0, 8, lambda i, b: b * 1.5, b))
    jax.block_until_ready(many(b))
    moved = min(common.seconds(many, b) for _ in range(5)) / 8
    return {
        "gflop_per_s": round(2 * side**3 / fastest / 1e9, 1),
        "gbyte_per_s": round(2 * b.nbytes / moved / 1e9, 1),
    }


def work(cfg: config.Config, step: Callable, state, batch, key) -> dict[str, float]:
    """FLOPs of a step as stock convolutions count them, and the bytes that it cannot
    avoid: state read and written, batch read."""
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (state, batch, key)
    )
    # Lowered for the processor, whatever runs it: of a GPU's program the compiler counts none.
    processor = jax.default_device(jax.local_devices(backend="cpu")[0])
    with processor, mock.patch.object(ops, "backend", return_value="tpu"):
        # A new function: the trace of the other form must not be found.
        lowered = jax.jit(lambda *args: step(cfg, *args)).lower(*shapes)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return {
        "gflop": lowered.cost_analysis()["flops"] / 1e9,
        "gbyte": (2 * held + batch.image.nbytes) / 1e9,
    }


class Ours:
    """One step compiled by itself and in a chunk, and their times."""

    def __init__(self, cfg: config.Config, name: str, chunk: int, key):
        step, self.state, self.batch = subject(cfg, name, key)
        self.key, self.chunk = key, chunk
        self.work = work(cfg, step, self.state, self.batch, key)

        def steps(state, batch, key, count):
            body = lambda _, state: step(cfg, state, batch, key)[0]  # noqa: E731
            return jax.lax.fori_loop(0, count, body, state)

        one = jax.jit(lambda *args: step(cfg, *args)[0], donate_argnums=0)
        start = time.perf_counter()
        lowered = one.lower(self.state, self.batch, key)
        middle = time.perf_counter()
        self.one = lowered.compile()
        self.trace, self.compile = middle - start, time.perf_counter() - middle
        args = self.state, self.batch, key, jnp.int32(1)
        self.many = jax.jit(steps, donate_argnums=0).lower(*args).compile()
        self.first = self.python()
        self.inside()

    def python(self) -> float:
        start = time.perf_counter()
        self.state = self.one(self.state, self.batch, self.key)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start

    def inside(self) -> float:
        start = time.perf_counter()
        count = jnp.int32(self.chunk)
        self.state = self.many(self.state, self.batch, self.key, count)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / self.chunk

    def memory(self) -> float:
        """MB of the chunk's program at its peak: state, batch, temporaries."""
        found = self.many.memory_analysis()
        if found is None:
            return 0.0
        return (found.argument_size_in_bytes + found.temp_size_in_bytes) / 1e6


def _peers(cfg: config.Config, name: str, options: Options):
    """mode -> a function that returns the seconds of one step; seconds of the first; why a
    mode is left out."""
    from benchmarks import peer_torch

    device = peer_torch.device()
    make = peer_torch.gan_step if name == "gan" else peer_torch.classifier_step
    peers, first, left_out = {}, {}, {}
    for mode in options.peer_modes or peer_torch.modes(device):
        try:
            with common.limit(options.peer_seconds):
                step = make(cfg, mode, device)
                first[mode] = round(peer_torch.timed(step, device), 2)
                peer_torch.timed(step, device, 2)
        except Exception as error:  # A peer's compiler raises almost anything.
            left_out[mode] = common.first_line(error)
            print(f"torch {mode} is left out of {name}: {left_out[mode]}")
            first.pop(mode, None)
            continue
        # On a GPU a step is too short to be timed alone.
        count = 1 if device == "cpu" else 10
        peers[mode] = partial(peer_torch.timed, step, device, count)
    return peers, first, left_out


def precision(options: Options) -> dict[str, str]:
    """How both sides compute products of float32."""
    found = {"ours": jax.config.jax_default_matmul_precision or "default"}
    if jax.default_backend() == "gpu":
        found["ours"] += " (TensorFloat-32 where the GPU has it)"
    if options.peer == "torch":
        from benchmarks import peer_torch

        found["torch"] = peer_torch.like_jax()
    return found


def measure(cfg: config.Config, name: str, options: Options, peaks: dict) -> dict:
    """Everything about one net: times of all rounds, medians, ratios."""
    ours = Ours(cfg, name, options.chunk, jax.random.key(0))
    functions, first, left_out = {"python": ours.python, "chunk": ours.inside}, {}, {}
    if options.peer == "torch":
        peers, first, left_out = _peers(cfg, name, options)
        functions |= {f"torch {mode}": peer for mode, peer in peers.items()}
    times = common.interleaved(functions, options.rounds)
    median = common.milliseconds(times)
    peer_ms = {k.removeprefix("torch "): v for k, v in median.items() if k.startswith("torch ")}
    floor = 1e3 * max(
        ours.work["gflop"] / peaks["gflop_per_s"], ours.work["gbyte"] / peaks["gbyte_per_s"]
    )
    batch = ours.batch.image.shape[0]
    result = {
        "batch": batch,
        "image_size": ours.batch.image.shape[1],
        "trace_s": round(ours.trace, 2),
        "compile_s": round(ours.compile, 2),
        "first_call_s": round(ours.first, 3),
        "python_ms": median["python"],
        "chunk_ms": median["chunk"],
        "images_per_s": round(batch / median["chunk"] * 1e3, 1),
        "memory_mb": round(ours.memory(), 1),
        "gflop": float(f"{ours.work['gflop']:.4g}"),
        "gbyte": float(f"{ours.work['gbyte']:.4g}"),
        "roofline_ms": float(f"{floor:.4g}"),
        "roofline_share": round(floor / median["chunk"], 3),
        "peer_first_s": first,
        "peer_ms": peer_ms,
        "peer_left_out": left_out,
        "rounds_ms": {k: [round(1e3 * v, 2) for v in values] for k, values in times.items()},
    }
    if peer_ms:
        best = min(peer_ms.values())
        result["ratio_to_best_peer"] = round(best / median["chunk"], 3)
        result["ratio_from_python"] = round(best / median["python"], 3)
    return result


def run(options: Options) -> None:
    cfg = configure(options)
    peaks = machine()
    result = {
        "preset": options.preset,
        "compute": options.compute,
        "precision": precision(options),
        "machine": peaks,
    }
    print("float32 products:", ", ".join(f"{k} {v}" for k, v in result["precision"].items()))
    if options.peer == "torch":
        from benchmarks import peer_agreement, peer_torch

        peer_torch.refuse(cfg)
        peer_torch.refuse_modes(options.peer_modes)
        result |= peer_torch.versions()
        result["peer_agreement"] = peer_agreement.agreement(cfg, jax.random.key(1))
        for name, difference in result["peer_agreement"].items():
            if not difference < 1e-3:
                raise ConfigError(
                    f"peer {name}: outputs differ by {difference:.1e}: not the same net"
                )
    nets = {name: measure(cfg, name, options, peaks) for name in ("classifier", "gan")}
    show(nets, options)
    # A step as trainings run it, inside a compiled chunk.
    result["ours_ms"] = {name: net["chunk_ms"] for name, net in nets.items()}
    if options.peer == "torch":
        for field in ("peer_ms", "ratio_to_best_peer", "ratio_from_python"):
            result[field] = {name: net.get(field) for name, net in nets.items()}
    common.save(options, result | {"nets": nets}, lambda axes: draw(axes, nets))


def show(nets: dict, options: Options) -> None:
    names = list(nets)
    fields = [
        "batch", "image_size", "trace_s", "compile_s", "first_call_s", "python_ms", "chunk_ms",
        "images_per_s", "memory_mb", "gflop", "roofline_ms", "roofline_share",
    ]  # fmt: skip
    rows = [[field, *(nets[name][field] for name in names)] for field in fields]
    for mode in dict.fromkeys(mode for net in nets.values() for mode in net["peer_ms"]):
        rows.append([f"torch {mode} ms", *(nets[name]["peer_ms"].get(mode) for name in names)])
    if options.peer != "none":
        for field in ("ratio_to_best_peer", "ratio_from_python"):
            rows.append([field, *(nets[name].get(field) for name in names)])
    common.table(f"One step, preset {options.preset}, {options.compute}", ["", *names], rows)


def draw(axes, nets: dict) -> None:
    series = list(dict.fromkeys(name for net in nets.values() for name in net["rounds_ms"]))
    width = 0.8 / len(series)
    for i, name in enumerate(series):
        values = [np.median(net["rounds_ms"].get(name, [0.0])) for net in nets.values()]
        axes.bar(np.arange(len(nets)) + i * width, values, width, label=name)
    axes.set_xticks(np.arange(len(nets)) + 0.4 - width / 2, list(nets))
    axes.set_ylabel("ms per step, median")
    axes.margins(y=0.35)  # room for the legend
    axes.legend(loc="upper center", ncols=3)


if __name__ == "__main__":
    common.main(Options, run)
