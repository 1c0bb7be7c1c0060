"""What do the features of Table 4's methods cost?

Times the features of each texture method (`jaxbrain.baselines.methods`, on the host) on
phantoms, or on the images of --data, and the matrices that they rest on, batched.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from jaxbrain import load_data, phantom
from jaxbrain.baselines import methods, radiomics, texture

NAMES = "glrlm_cslbp_ann", "radiomics_svm", "hbtc_mlp"


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    data: Path | None = None  # folder, zip or tar of images; phantoms without it
    images: int = 200
    size: int = 224  # pixels a side
    rounds: int = 3


def load(options: Options) -> np.ndarray:
    """[N, S, S, 1] uint8, N at most `options.images`."""
    if options.data is None:
        image = phantom.dataset(jax.random.key(0), -(-options.images // 2), options.size).image
    else:
        image = load_data(options.data, image_size=options.size, crop="head", square="pad")[0].image
    return np.asarray(image)[: options.images]


def main(options: Options) -> None:
    image = load(options)
    levels = texture.quantise(image[..., 0], texture.regions(image), 128)

    def runs():
        return [radiomics.sizes(texture.glrlm(levels, angle)) for angle in texture.ANGLES]

    functions = {name: lambda name=name: methods.METHODS[name].features(image) for name in NAMES}
    functions |= {
        "the head's region": lambda: texture.regions(image),
        "GLCM, 128 levels": lambda: [texture.glcm(one[None], 128) for one in levels],
        "GLRLM, 128 levels": runs,
        "GLSZM, 128 levels": lambda: radiomics.sizes(texture.glszm(levels)),
        "NGTDM, 128 levels": lambda: [texture.ngtdm(one[None], 128) for one in levels],
    }
    timed = {
        name: lambda function=function: common.seconds(function)
        for name, function in functions.items()
    }
    times = common.interleaved(timed, options.rounds)
    result = {
        name: {
            "seconds": round(float(np.median(values)), 3),
            "images_per_s": round(len(image) / float(np.median(values)), 1),
            "rounds_s": [round(value, 3) for value in values],
        }
        for name, values in times.items()
    }
    total = round(sum(result[name]["seconds"] for name in NAMES), 3)
    source = "phantoms" if options.data is None else "images"
    table = [[name, entry["seconds"], entry["images_per_s"]] for name, entry in result.items()]
    table.append(["the three methods", total, round(len(image) / total, 1)])
    title = f"Texture: {len(image)} {source} of {options.size} px"
    common.table(title, ["", "s", "images/s"], table)
    found = {"images": len(image), "size": options.size, "source": source, "texture": result}
    common.save(options, found | {"seconds_of_methods": total}, lambda axes: draw(axes, result))


def draw(axes, result: dict) -> None:
    axes.barh(list(result), [entry["seconds"] for entry in result.values()])
    axes.set_xlabel("seconds")


if __name__ == "__main__":
    common.main(Options, main)
