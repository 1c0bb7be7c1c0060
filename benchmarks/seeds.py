"""How many trainings a second, by the way a study's lanes are mapped and by their number?

A study of 1, 2, 4, ... seeds hands its trainings out as lanes of one program
(`training.lanes`). The first updates of them are timed as the study would run them, in every
way asked for, interleaved: one after another through the program of one (loop), one after
another inside one program (map), side by side (vmap). Beside the times: how far the losses
are from those of the first way. At --minutes it stops, with what it has.
"""

import dataclasses
import time
from typing import Literal

import jax
import numpy as np

from benchmarks import common
from jaxbrain import ConfigError, config, phantom
from jaxbrain.study import study
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.training import Finished, Training

How = Literal["loop", "map", "vmap"]


@dataclasses.dataclass(frozen=True)
class Options(common.Output):
    preset: common.Preset = "tiny"
    net: Literal["classifier", "gan"] = "classifier"
    counts: tuple[int, ...] = (1, 2, 4, 8)
    how: tuple[How, ...] = ("loop", "map", "vmap")
    steps: int = 20  # updates of each training
    images: int = 50  # phantoms per class
    rounds: int = 5
    minutes: float = 60.0  # a number of lanes whose turn comes later is left out


def training(cfg: config.Config, net: str, data, count: int, how: str) -> Training:
    """What a study of `count` seeds gives its loop to run."""
    found = []

    def caught(training: Training) -> Finished:
        found.append(training)
        return Finished(training.start(), {i: "not trained" for i in range(count)})

    options = StudyConfig(
        seeds=count,
        protocols=("P2",),
        generators=("cgan" if net == "gan" else "none",),
        classifiers=("cnn_lstm_rows",),
        shuffled=False,
        mapping=how,
        chunk=count,
    )
    unanswered = []
    how_run = {"train": caught, "skip": lambda name, why: unanswered.append(name)}
    assert not list(study(cfg, data, jax.random.key(0), options=options, **how_run))
    assert len(unanswered) == count
    return found[0]


class Timed:
    """The first updates of a training's lanes, from their start."""

    def __init__(self, lanes: Training, steps: int):
        self.lanes, self.steps = lanes, min(steps, lanes.total)
        self.compile = round(lanes.compile(lanes.start(), lambda: None), 2)
        self.losses = None
        self()

    def __call__(self) -> float:
        states = jax.block_until_ready(self.lanes.start())
        everyone = list(range(len(self.lanes.lanes)))

        def run():
            new, metrics = self.lanes.advance(states, everyone, 0, self.steps)
            name = "generator_loss" if self.lanes.kind == "gan" else "loss"
            self.losses = np.asarray(metrics[name])[:, self.steps - 1]
            return new

        return common.seconds(run)


def main(options: Options) -> None:
    cfg = common.preset(options.preset)
    cfg = common.change(cfg, "classifier", mode="end_to_end")
    cfg = common.change(cfg, "data", n_per_class=options.images)
    size = max(cfg.gan.image_size, cfg.data.image_size)
    data = phantom.dataset(jax.random.key(1), options.images, size, cfg.data.difficulty)
    rows, result, left_out = [], {}, {}
    end = time.monotonic() + 60 * options.minutes
    for count in options.counts:
        timed = {}
        try:
            for how in options.how:
                with common.limit(end - time.monotonic()):
                    one = training(cfg, options.net, data, count, how)
                    timed[how] = Timed(one, options.steps)
                print(f"{count} by {how}: compiled in {timed[how].compile} s")
        except TimeoutError:
            left_out[count] = f"--minutes {options.minutes:g} had passed"
            print(f"{count} by {how} is left out: {left_out[count]}")
        if not timed:
            continue
        times = common.interleaved(dict(timed), options.rounds)
        median = common.milliseconds(times)
        result[count] = {}
        first = next(iter(timed.values())).losses
        for how, one in timed.items():
            seconds = median[how] / 1e3
            gap = float(np.max(np.abs(one.losses - first) / np.abs(first)))
            result[count][how] = {
                "s": round(seconds, 3),
                "runs_per_s": round(count / seconds, 3),
                "images_per_s": round(count * one.steps * one.lanes.batch_size / seconds, 1),
                "compile_s": one.compile,
                "loss_difference": float(f"{gap:.1e}"),
                "rounds_ms": [round(1e3 * value, 2) for value in times[how]],
            }
            rows.append([f"{count} by {how}", *list(result[count][how].values())[:5]])
    columns = ["lanes", "s", "runs/s", "images/s", "compile s", "difference"]
    title = f"Lanes: {options.steps} updates of the {options.net}, {options.preset}"
    common.table(title, columns, rows)
    if jax.default_backend() == "cpu":
        print("on a GPU: --preset cpu --counts 1 8 64 (bar: vmap 10 x loop at 64)")
    if not result:
        raise ConfigError(f"minutes is {options.minutes:g}: expected more: nothing was measured")
    result = {"preset": options.preset, "net": options.net, "seeds": result, "left_out": left_out}
    common.save(options, result, lambda axes: draw(axes, result["seeds"]))


def draw(axes, seeds: dict) -> None:
    for how in next(iter(seeds.values())):
        own = {count: entry[how]["runs_per_s"] for count, entry in seeds.items() if how in entry}
        axes.plot(list(own), list(own.values()), "o-", label=how)
    axes.set_xlabel("lanes")
    axes.set_ylabel("trainings per second")
    axes.set_ylim(bottom=0)
    axes.legend()


if __name__ == "__main__":
    common.main(Options, main)
