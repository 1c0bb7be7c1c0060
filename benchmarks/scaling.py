"""How does the cost of training the classifier grow: with pixels, batch, number of images?

A step inside a compiled chunk against image size and against batch (slopes of the logs: 1
is proportional), and the time per image of a training against the number of images in its
data, resident on the device and streamed from the host (0 is flat).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, step
from jaxbrain import Dataset, config
from jaxbrain.training import loops, streamed


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "tiny"
    sizes: tuple[int, ...] = (32, 48, 64, 96)
    batches: tuple[int, ...] = (8, 16, 32, 64)
    num_images: tuple[int, ...] = (200, 2000, 20000)
    side: int = 32  # of the images whose number grows
    steps: int = 64  # of a timed training
    rounds: int = 3


def slope(x, y) -> float:
    """Of log y against log x."""
    return round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3)


def sweep(configs: dict[int, config.Config], rounds: int) -> dict[int, float]:
    """ms of a step inside a chunk of each configuration, interleaved."""
    key = jax.random.key(0)
    subjects = {name: step.Ours(cfg, "classifier", 20, key) for name, cfg in configs.items()}
    functions = {name: ours.inside for name, ours in subjects.items()}
    return common.milliseconds(common.interleaved(functions, rounds))


class Whole:
    """The first steps of a training on `count` random images."""

    def __init__(self, cfg: config.Config, count: int, steps: int):
        rng = np.random.default_rng(0)
        size = cfg.data.image_size
        image = rng.integers(0, 256, (count, size, size, 1), np.uint8)
        label = (np.arange(count) % 2).astype(np.int32)
        self.host = Dataset(image, label, np.arange(count, dtype=np.int32))
        self.device = jax.tree.map(jnp.asarray, self.host)
        self.cfg, self.steps, self.key = cfg, steps, jax.random.key(0)
        self.state = jax.device_get(streamed.init_classifier(cfg, self.host, self.key))

        def run(state, data, key, stop):
            return loops.train_classifier(cfg, data, key, state=state, stop=stop)

        lowered = jax.jit(run, donate_argnums=0).lower(
            self.state, self.device, self.key, jnp.int32(0)
        )
        self.program = lowered.compile()
        found = self.program.memory_analysis()
        # Beside the images themselves.
        self.memory = (found.temp_size_in_bytes + found.output_size_in_bytes) / 1e6
        self.resident(), self.streamed()

    def _seconds(self, function, *args) -> float:
        state = jax.tree.map(jnp.array, self.state)
        return common.seconds(function, state, *args) / self.steps

    def resident(self) -> float:
        return self._seconds(self.program, self.device, self.key, jnp.int32(self.steps))

    def streamed(self) -> float:
        def run(state):
            return streamed.train_classifier(
                self.cfg, self.host, self.key, state=state, stop=self.steps
            )

        return self._seconds(run)


def per_image(cfg: config.Config, options: Options) -> dict[int, dict]:
    """ms per image of a training against the number of images in its data."""
    wholes = {count: Whole(cfg, count, options.steps) for count in options.num_images}
    functions = {}
    for count, whole in wholes.items():
        functions |= {f"{count} resident": whole.resident, f"{count} streamed": whole.streamed}
    median = common.milliseconds(common.interleaved(functions, options.rounds))
    batch = cfg.classifier.batch_size
    return {
        count: {
            "resident_ms": round(median[f"{count} resident"] / batch, 4),
            "streamed_ms": round(median[f"{count} streamed"] / batch, 4),
            "memory_mb": round(whole.memory, 1),
        }
        for count, whole in wholes.items()
    }


def main(options: Options) -> None:
    base = common.change(common.preset(options.preset), "classifier", mode="end_to_end")
    by_size = sweep(
        {n: common.change(base, "data", image_size=n) for n in options.sizes}, options.rounds
    )
    by_batch = sweep(
        {n: common.change(base, "classifier", batch_size=n) for n in options.batches},
        options.rounds,
    )
    by_number = per_image(common.change(base, "data", image_size=options.side), options)
    pixels = [n * n for n in by_size]
    slopes = {
        "pixels": slope(pixels, list(by_size.values())),
        "batch": slope(list(by_batch), list(by_batch.values())),
    }
    for how in ("resident", "streamed"):
        values = [entry[f"{how}_ms"] for entry in by_number.values()]
        slopes[f"images, {how}"] = slope(list(by_number), values)
    title = f"Classifier, preset {options.preset}"
    common.table(f"{title}: a step against image size", ["side", "ms"], list(by_size.items()))
    common.table(f"{title}: a step against batch", ["batch", "ms"], list(by_batch.items()))
    rows = [[count, *entry.values()] for count, entry in by_number.items()]
    columns = ["images", "resident ms per image", "streamed ms per image", "program MB"]
    common.table(f"{title}, {options.side} px: number of images", columns, rows)
    common.table("Slopes of the logs", ["against", "slope"], list(slopes.items()))
    result = {"size_ms": by_size, "batch_ms": by_batch, "images": by_number, "slopes": slopes}
    result = {"preset": options.preset} | result
    common.save(options, result, lambda axes: draw(axes, result))


def draw(axes, result: dict) -> None:
    for name in ("size_ms", "batch_ms"):
        first = next(iter(result[name].values()))
        x = np.array(list(result[name]), float)
        x = x**2 if name == "size_ms" else x
        label = "ms a step against " + ("pixels" if name == "size_ms" else "batch")
        axes.plot(x / x[0], [ms / first for ms in result[name].values()], "o-", label=label)
    counts = np.array(list(result["images"]), float)
    for how in ("resident", "streamed"):
        values = np.array([entry[f"{how}_ms"] for entry in result["images"].values()])
        label = f"ms an image against images, {how}"
        axes.plot(counts / counts[0], values / values[0], "s--", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("times the first")
    axes.set_ylabel("times the first")
    axes.legend(fontsize=7)


if __name__ == "__main__":
    common.main(Options, main)
