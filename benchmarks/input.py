"""What do decoding, a cache of decoded images and the way to the device cost?

Draws phantoms into temporary folders of PNG and JPEG files and times `load_folder`; beside
it reading the same `Dataset` from one NumPy file (what a cache would reach), and what a
training step reads: a gather of bytes on the device, and blocks of them sent from the host.
"""

import dataclasses
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks import common
from jaxbrain import load_folder, phantom
from jaxbrain.data import preprocess


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    images: int = 200  # in all
    size: int = 256  # side of the files
    image_size: int = 64  # side that they are loaded at
    batch: int = 16
    rounds: int = 5


def write(folder: Path, data, suffix: str) -> None:
    for i, (image, label) in enumerate(zip(data.image, data.label, strict=True)):
        path = folder / ("yes" if label else "no") / f"{i:04d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image)[:, :, 0]).save(path)


def main(options: Options) -> None:
    drawn = phantom.dataset(jax.random.key(0), options.images // 2, options.size)
    count = len(drawn.label)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        functions = {}
        for suffix in ("png", "jpg"):
            write(root / suffix, jax.device_get(drawn), suffix)
            functions[f"load_folder, {suffix}"] = lambda suffix=suffix: common.seconds(
                lambda: load_folder(root / suffix, image_size=options.image_size)[0].image
            )
        data, _ = load_folder(root / "png", image_size=options.image_size)
        np.save(root / "image.npy", data.image)
        functions["one .npy file"] = lambda: common.seconds(
            lambda: np.load(root / "image.npy", allow_pickle=False)
        )
        functions["host to device"] = lambda: common.seconds(jnp.array, data.image)
        resident = jnp.asarray(data.image)
        gather = jax.jit(lambda image, index: preprocess.to_float(image[index], 1))
        index = jnp.arange(options.batch) * 7 % count
        jax.block_until_ready(gather(resident, index))
        functions["batch on the device"] = lambda: common.seconds(gather, resident, index)
        rows = np.asarray(index)
        functions["batch from the host"] = lambda: common.seconds(
            lambda: gather(jax.device_put(data.image[rows]), jnp.arange(options.batch))
        )
        times = common.interleaved(functions, options.rounds)
    median = common.milliseconds(times)
    images = dict.fromkeys(median, count) | dict.fromkeys(
        ("batch on the device", "batch from the host"), options.batch
    )
    result = {
        name: {
            "ms": ms,
            "images_per_s": round(images[name] / ms * 1e3),
            "rounds_ms": [round(1e3 * value, 3) for value in times[name]],
        }
        for name, ms in median.items()
    }
    table = [[name, entry["ms"], entry["images_per_s"]] for name, entry in result.items()]
    title = f"Input: {count} files of {options.size} px at {options.image_size} px"
    common.table(title, ["", "ms", "images/s"], table)
    common.save(options, {"images": count, "input": result}, lambda axes: draw(axes, result))


def draw(axes, result: dict) -> None:
    axes.barh(list(result), [entry["images_per_s"] for entry in result.values()])
    axes.set_xscale("log")
    axes.set_xlabel("images per second")


if __name__ == "__main__":
    common.main(Options, main)
