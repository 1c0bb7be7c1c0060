"""How much faster is a training on several devices, and does it stay the same training?

Runs the first updates of a GAN's and a classifier's training on 1, 2, ... devices by pmap
and by a sharded program, interleaved, at the same batch in all (strong scaling), and the
largest difference of the state from one device's. On a CPU the devices are virtual and
share the cores, so that only the cost of the exchange is seen: speed is for GPUs and TPUs.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from jaxbrain import config, phantom
from jaxbrain.training import devices, loops


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "tiny"
    counts: tuple[int, ...] = (1, 2, 4, 8)
    steps: int = 8  # updates in a timed call
    batch: int = 32  # of both nets, whatever the number of devices
    images: int = 64  # phantoms per class
    rounds: int = 3


def configure(options: Options) -> config.Config:
    """SGD and no dropout, so that any number of devices is the same training."""
    cfg = common.preset(options.preset)
    sgd = config.OptimConfig(learning_rate=1e-3)
    batch = {"batch_size": options.batch}
    cfg = common.change(cfg, "classifier", mode="end_to_end", optim=sgd, **batch)
    cfg = common.change(cfg, "hybrid", dropout=0.0)
    optimisers = {"generator_optim": sgd, "discriminator_optim": sgd}
    return common.change(cfg, "gan", dropout=0.0, **optimisers, **batch)


def subjects(cfg: config.Config, options: Options) -> dict:
    """name -> (training, its data, its fresh state)."""
    key = jax.random.key(0)
    images = [
        phantom.dataset(key, options.images, size, cfg.data.difficulty)
        for size in (cfg.data.image_size, cfg.gan.image_size)
    ]
    states = loops.init_classifier(cfg, images[0], key), loops.init_gan(cfg, key)
    runs = {"classifier": loops.train_classifier, "gan": loops.train_gan}
    found = {}
    for (name, run), data, state in zip(runs.items(), images, states, strict=True):

        def training(state, data, key, stop, axis_name, run=run):
            return run(cfg, data, key, state=state, stop=stop, axis_name=axis_name)[0]

        found[name] = training, data, jax.device_get(state)
    return found


class Training:
    """The first updates of a training, on some devices."""

    def __init__(self, training, data, state, how: str, count: int, steps: int):
        self.args = data, jax.random.key(0), jnp.int32(steps)
        self.start, self.steps = state, steps
        step = devices.training(training, how, count)
        began = time.perf_counter()
        self.step = step.lower(self.state(), *self.args).compile()
        self.compile = time.perf_counter() - began
        self.result = jax.device_get(self.step(self.state(), *self.args))

    def state(self):
        return jax.tree.map(jnp.asarray, self.start)

    def seconds(self) -> float:
        state = self.state()
        return common.seconds(self.step, state, *self.args) / self.steps


def apart(case: Training, one: Training) -> float:
    """How far two trainings ended apart, over how far they went from their start."""

    def norm(a, b) -> float:
        leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return float(np.sqrt(sum(np.square(x - y, dtype=np.float64).sum() for x, y in leaves)))

    def params(state):
        nets = [state.generator, state.discriminator] if hasattr(state, "generator") else []
        return [net.params for net in nets or [state.cnn, state.hybrid]]

    got, want = params(case.result), params(one.result)
    return norm(got, want) / norm(want, params(one.start))


def run(options: Options) -> None:
    if jax.config.jax_num_cpu_devices < max(options.counts):
        jax.config.update("jax_num_cpu_devices", max(options.counts))
    cfg = configure(options)
    counts = [count for count in options.counts if count <= len(jax.devices())]
    if missing := set(options.counts) - set(counts):
        print(f"there are {len(jax.devices())} devices here: {sorted(missing)} not measured")
    result, rows = {}, []
    for net, (training, data, state) in subjects(cfg, options).items():
        cases = [("none", 1)]
        cases += [(how, n) for n in counts for how in ("pmap", "sharded") if n > 1]
        runs = {
            f"{how} {n}": Training(training, data, state, how, n, options.steps) for how, n in cases
        }
        functions = {name: case.seconds for name, case in runs.items()}
        times = common.interleaved(functions, options.rounds)
        median = common.milliseconds(times)
        for name, case in runs.items():
            entry = {
                "compile_s": round(case.compile, 2),
                "ms_per_step": median[name],
                "speedup": round(median["none 1"] / median[name], 3),
                "difference": float(f"{apart(case, runs['none 1']):.1e}"),
                "rounds_ms": [round(1e3 * value, 2) for value in times[name]],
            }
            result.setdefault(net, {})[name] = entry
            rows.append([f"{net} {name}", *list(entry.values())[:4]])
    columns = ["devices", "compile_s", "ms_per_step", "speedup", "difference"]
    common.table(f"Batch of {options.batch} on several devices, {options.preset}", columns, rows)
    result = {"preset": options.preset, "batch": options.batch, "nets": result}
    common.save(options, result, lambda axes: draw(axes, result["nets"]))


def draw(axes, nets: dict) -> None:
    for net, cases in nets.items():
        for how in ("pmap", "sharded"):
            points = [(1, 1.0)]
            for name, entry in cases.items():
                if name.startswith(how):
                    points.append((int(name.split()[1]), entry["speedup"]))
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{net}, {how}")
    axes.set_xlabel("devices")
    axes.set_ylabel("speed over one device, same batch")
    axes.legend()


if __name__ == "__main__":
    common.main(Options, run)
