"""How many trainings a second, against the number of seeds in one call?

One program trains 1, 2, 4, ... seeds on the same data; beside it, in the same rounds, as
many calls of the program of one seed. On an accelerator the seeds run side by side
(`vmap`); on a CPU two at a time (`lax.map(..., batch_size=2)`): two fill its cores, and
more fill its caches.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from jaxbrain import config, phantom
from jaxbrain.training import loops


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "tiny"
    net: Literal["classifier", "gan"] = "classifier"
    counts: tuple[int, ...] = (1, 2, 4, 8)
    steps: int = 20  # updates of each training
    images: int = 50  # phantoms per class
    map: Literal["auto", "vmap", "pairs"] = "auto"
    rounds: int = 5


def one(cfg: config.Config, net: str, data, steps: int):
    """key -> what a training leaves: (params, last loss)."""

    def run(key):
        if net == "gan":
            state, history = loops.train_gan(cfg, data, key, stop=steps)
            return state.generator.params, history.metrics["generator_loss"][steps - 1]
        state, history = loops.train_classifier(cfg, data, key, stop=steps)
        return state.cnn.params, history.metrics["loss"][steps - 1]

    return run


def main(options: Options) -> None:
    cfg = common.preset(options.preset)
    cfg = common.change(cfg, "classifier", mode="end_to_end")
    size = cfg.gan.image_size if options.net == "gan" else cfg.data.image_size
    batch = cfg.gan.batch_size if options.net == "gan" else cfg.classifier.batch_size
    data = phantom.dataset(jax.random.key(1), options.images, size, cfg.data.difficulty)
    how = options.map
    if how == "auto":
        how = "pairs" if jax.default_backend() == "cpu" else "vmap"
    function = one(cfg, options.net, data, options.steps)

    def pairs(keys):
        # A pair with one seed in it would be slower than no pair.
        return jax.lax.map(function, keys, batch_size=2 if keys.size > 1 else None)

    mapped = jax.jit(jax.vmap(function) if how == "vmap" else pairs)
    single = jax.jit(function)
    rows, result = [], {}
    for count in options.counts:
        keys = jax.random.split(jax.random.key(0), count)

        def calls(keys=keys):
            return [single(key) for key in keys]

        together, apart = mapped(keys), calls()
        # That they are the same trainings.
        difference = max(
            float(np.abs(together[1][i] - apart[i][1]) / np.abs(apart[i][1])) for i in range(count)
        )
        functions = {
            "one call": lambda keys=keys: common.seconds(mapped, keys),
            "calls": lambda calls=calls: common.seconds(calls),
        }
        times = common.interleaved(functions, options.rounds)
        median = common.milliseconds(times)
        seconds = median["one call"] / 1e3
        result[count] = {
            "one_call_s": round(seconds, 3),
            "calls_s": round(median["calls"] / 1e3, 3),
            "ratio": round(median["calls"] / median["one call"], 3),
            "runs_per_s": round(count / seconds, 3),
            "images_per_s": round(count * options.steps * batch / seconds, 1),
            "loss_difference": float(f"{difference:.1e}"),
            "rounds_ms": {k: [round(1e3 * v, 2) for v in values] for k, values in times.items()},
        }
        rows.append([count, *list(result[count].values())[:6]])
    columns = ["seeds", "one call s", "calls s", "ratio", "runs/s", "images/s", "difference"]
    title = f"Seeds by {how}: {options.steps} updates of the {options.net}, {options.preset}"
    common.table(title, columns, rows)
    if jax.default_backend() == "cpu":
        print("on a GPU: --preset cpu --counts 1 8 64 (bar: 10 x one after another at 64)")
    result = {"preset": options.preset, "net": options.net, "map": how, "seeds": result}
    common.save(options, result, lambda axes: draw(axes, result["seeds"]))


def draw(axes, seeds: dict) -> None:
    counts = jnp.asarray(list(seeds))
    axes.plot(counts, [entry["runs_per_s"] for entry in seeds.values()], "o-", label="one call")
    apart = [count / entry["calls_s"] for count, entry in seeds.items()]
    axes.plot(counts, apart, "s--", label="one call a seed")
    axes.set_xlabel("seeds")
    axes.set_ylabel("trainings per second")
    axes.set_ylim(bottom=0)
    axes.legend()


if __name__ == "__main__":
    common.main(Options, main)
