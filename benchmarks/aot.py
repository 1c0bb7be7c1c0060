"""What would a TPU slice, or a GPU, make of the training steps? Without having one.

`--platform tpu` compiles the classifier's and the GAN's step for one chip and for the whole
slice that --topology names (`sharded_step` and `pmap_step`) with the TPU compiler of
`pip install -e ".[aot]"`, which runs on any Linux processor, and prints of each what a chip
holds, computes and moves, the collectives, and the compiler's own estimate of its time.
`lanes` is one chip's step of --lanes trainings side by side with the convolutions of a GPU,
`grouped` with XLA's own, as a TPU takes them. `--platform cuda` lowers the steps for a GPU,
without compiling them: which operations reach its compiler. Nothing is run: these are a
compiler's words, not measurements.
"""

import dataclasses
import os
import re
import time
from collections import Counter
from functools import partial
from typing import Literal
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import common
from jaxbrain import Batch, ConfigError, config
from jaxbrain.nn import ops
from jaxbrain.training import classifier, devices, gan

How = Literal["one", "sharded", "pmap", "lanes", "grouped"]


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    platform: Literal["tpu", "cuda"] = "tpu"
    topology: str = "v5e:2x2"
    preset: common.Preset = "paper"
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    batch_per_chip: int = 16
    net: tuple[Literal["classifier", "gan"], ...] = ("classifier", "gan")
    how: tuple[How, ...] = ("one", "sharded", "pmap")
    lanes: int = 64  # trainings side by side, where `how` has lanes or grouped


def configure(options: Options) -> config.Config:
    cfg = dataclasses.replace(common.preset(options.preset), compute=options.compute)
    return common.change(cfg, "classifier", mode="end_to_end")


def shapes(cfg: config.Config, net: str, count: int):
    """The step of a net, and the shapes of its state, a batch of `count` images and a key."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    if net == "gan":
        step, size = gan.train_step, cfg.gan.image_size
        state = jax.eval_shape(partial(gan.init, cfg), key)
    else:
        step, size = classifier.train_step, cfg.data.image_size
        state = jax.eval_shape(lambda key: classifier.init(cfg, key, 1000), key)
    image = jax.ShapeDtypeStruct((count, size, size, cfg.data.channels), jnp.float32)
    label = jax.ShapeDtypeStruct((count,), jnp.int32)
    weight = jax.ShapeDtypeStruct((count,), jnp.float32)
    return partial(step, cfg), state, Batch(image, label, weight), key


def topology(name: str) -> list:
    """The chips of a TPU slice that need not be here.

    Raises:
        ConfigError: without the TPU compiler, or for a name that it does not know.
    """
    # It looks for a machine's metadata else, for minutes.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name)
    except Exception as error:  # Of a missing plugin and of a wrong name alike.
        raise ConfigError(
            f"topology {name!r}: {common.first_line(error)}: expected one such as v5e:2x2, and "
            'the TPU compiler: pip install -e ".[aot]"'
        ) from error
    return list(found.devices)


def side_by_side(step, args, lanes: int):
    """The step of so many trainings in one program, and the shapes of all of them."""
    many = lambda leaf: jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype)  # noqa: E731
    # Of one chip, on which there is no axis.
    all_lanes = lambda *args, axis_name=None: jax.vmap(step)(*args)  # noqa: E731
    return all_lanes, *jax.tree.map(many, args)


def convolutions(platform: str, how: str):
    """Traced as an accelerator's program, whatever this machine is."""
    own = {"tpu": "tpu", "cuda": "gpu"}[platform]
    forms = {"lanes": "gpu", "grouped": "tpu"}.get(how, own)
    return mock.patch.object(ops, "backend", return_value=forms)


def lowered(step, state, batch, key, how: str, chips: list):
    """A step lowered for one chip of a slice, or for all of them."""
    if how == "pmap":
        mapped = jax.pmap(
            partial(step, axis_name=devices.AXIS),
            devices.AXIS,
            in_axes=(None, 0, None),
            out_axes=None,
            devices=chips,
        )
        rows = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                (len(chips), leaf.shape[0] // len(chips), *leaf.shape[1:]), leaf.dtype
            ),
            batch,
        )
        return mapped.lower(state, rows, key)
    over = Mesh(np.array(chips), (devices.AXIS,))

    def placed(tree, spec):
        sharding = NamedSharding(over, spec)
        put = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
        return jax.tree.map(put, tree)

    args = placed(state, P()), placed(batch, P(devices.AXIS)), placed(key, P())
    return devices.step_over(step, over).lower(*args)


_COLLECTIVES = "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"


def collectives(text: str) -> dict[str, int]:
    """How often a compiled program exchanges what between chips."""
    found = Counter(re.findall(rf" ({'|'.join(_COLLECTIVES)})(?:-start)?\(", text))
    return dict(found)


def compiled(low) -> dict:
    """What the compiler says of one chip's part of a program."""
    start = time.perf_counter()
    program = low.compile()
    seconds = time.perf_counter() - start
    cost, memory = program.cost_analysis() or {}, program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    # A negative number stands for "not known": of a loop whose end is not, for one.
    estimate = cost.get("optimal_seconds", -1.0)
    return {
        "compile_s": round(seconds, 1),
        "memory_mb": round(held / 1e6, 1),
        "gflop": float(f"{cost.get('flops', 0.0) / 1e9:.4g}"),
        "gbyte": float(f"{cost.get('bytes accessed', 0.0) / 1e9:.4g}"),
        "estimate_ms": float(f"{1e3 * estimate:.4g}") if estimate > 0 else None,
        "collectives": collectives(program.as_text()),
    }


def operations(text: str) -> dict[str, int]:
    """The operations of a lowered program that cost, and what it calls outside of XLA."""
    names = re.findall(r"stablehlo\.(convolution|dot_general|while|reduce_window)\b", text)
    groups = re.findall(r"(feature|batch)_group_count = (?!1\b)\d+", text)
    calls = re.findall(r"custom_call @(\w+)", text)
    found = Counter(names) + Counter(f"call {name}" for name in calls)
    return dict(found + Counter({"grouped convolution": len(groups)}))


def on_tpu(options: Options, cfg: config.Config) -> tuple[dict, list]:
    """What the TPU compiler says of every step, and the rows of the table."""
    chips, result, rows = topology(options.topology), {}, []
    for net in options.net:
        for how in options.how:
            used = chips if how in ("sharded", "pmap") else chips[:1]
            step, *args = shapes(cfg, net, len(used) * options.batch_per_chip)
            if how in ("lanes", "grouped"):
                step, *args = side_by_side(step, args, options.lanes)
            try:
                with convolutions(options.platform, how):
                    found = compiled(lowered(step, *args, how, used))
            except Exception as error:  # A way that this compiler refuses is a result too.
                found = {"error": common.first_line(error)}
            result[f"{net} {how}"] = found
            print(f"{net} {how}: {found}", flush=True)
            values = [value for name, value in found.items() if name != "collectives"]
            exchanged = ", ".join(f"{n} {k}" for k, n in found.get("collectives", {}).items())
            rows.append([f"{net} {how} x{len(used)}", *values, *[exchanged] * (len(found) > 1)])
    return result, rows


def on_cuda(options: Options, cfg: config.Config) -> tuple[dict, list]:
    """The operations of every step that one GPU runs, and the rows of the table."""
    result, rows = {}, []
    for net in options.net:
        for how in [how for how in options.how if how not in ("sharded", "pmap")]:
            step, *args = shapes(cfg, net, options.batch_per_chip)
            if how != "one":
                step, *args = side_by_side(step, args, options.lanes)
            with convolutions(options.platform, how):
                low = jax.jit(step).trace(*args).lower(lowering_platforms=("cuda",))
            found = result[f"{net} {how}"] = operations(low.as_text())
            rows += [[f"{net} {how}", name, count] for name, count in sorted(found.items())]
    return result, rows


def run(options: Options) -> None:
    result, rows = (on_tpu if options.platform == "tpu" else on_cuda)(options, configure(options))
    if options.platform == "tpu":
        columns = ["step", "compile s", "MB", "GFLOP", "GB", "estimate ms", "exchanges"]
        common.table(f"A chip of {options.topology}, {options.preset}", columns, rows)
    else:
        common.table(f"Lowered for CUDA, {options.preset}", ["step", "operation", ""], rows)
    names = "platform", "topology", "preset", "compute", "batch_per_chip", "lanes"
    about = {name: getattr(options, name) for name in names}
    common.save(options, about | {"steps": result})


if __name__ == "__main__":
    common.main(Options, run)
