"""`progress.png`: how the trainings of a run go, from the rows of `metrics.jsonl`."""

from typing import NamedTuple

from jaxbrain.reports import canvas


class _Panel(NamedTuple):
    """What a panel draws: values of reports by name -> what they are called; a value that is
    constant, of real images, as the line to compare with."""

    training: str
    title: str
    unit: str
    values: dict[str, str]
    reference: str = ""
    of_reference: str = ""
    log: bool = False
    scale: float = 1.0


_PANELS = (
    _Panel(
        "gan",
        "GAN: losses",
        "loss, nats",
        {"discriminator_loss": "discriminator", "generator_loss": "generator"},
    ),
    _Panel(
        "gan",
        "GAN: mean answers of the discriminator",
        "probability of being real",
        {"real_score": "to real images", "fake_score": "to synthetic images"},
    ),
    _Panel(
        "gan",
        "GAN: thumbnail Frechet distance",
        "distance to training images",
        {"frechet_thumbnail": "synthetic images"},
        "frechet_halves",
        "real images: one half to the other",
        log=True,
    ),
    _Panel(
        "gan",
        "GAN: spread within a class",
        "standard deviation of grey\nvalues in [0, 1]",
        {"sample_spread": "synthetic images"},
        "real_spread",
        "real images",
    ),
    _Panel(
        "gan",
        "GAN: KID of texture",
        "distance to held-out images",
        {"kid_held_out": "synthetic images"},
        "real_kid",
        "training images",
    ),
    _Panel("classifier", "Classifier: loss", "loss, nats", {"loss": "training images"}),
    _Panel(
        "classifier",
        "Classifier: accuracy",
        "accuracy, %",
        {"accuracy": "training images"},
        scale=100.0,
    ),
)


def progress_figure(events: list[dict], tests: dict[int, float] | None = None):
    """The figure; None before anything was reported.

    Args:
        events: rows of `metrics.jsonl`, each with seed, training ("gan", "classifier") and step.
        tests: seed -> accuracy on its test set, a share in [0, 1], where it is known.
    """
    panels = [
        panel
        for panel in _PANELS
        if any(e["training"] == panel.training and panel.values.keys() & e.keys() for e in events)
    ]
    if not panels:
        return None
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    rows = -(-len(panels) // columns)
    figure, axes = canvas.new_figure(3.7 * columns, 3.1 * rows, columns, rows)
    for axis, panel in zip(axes, panels, strict=False):
        own = [e for e in events if e["training"] == panel.training]
        _draw(axis, panel, own)
        if "accuracy" in panel.values and tests:
            _draw_tests(axis, own, tests)
        _make_room(axis, panel.log)
        axis.legend(fontsize=8, loc="upper right", frameon=False)
    for axis in axes[len(panels) :]:
        axis.remove()
    if len(seeds := {event["seed"] for event in events}) > 1:
        figure.suptitle(f"A line for each of {len(seeds)} seeds", fontsize=10)
    return figure


def _draw(axis, panel: _Panel, events: list[dict]) -> None:
    seeds = sorted({event["seed"] for event in events})
    for turn, (name, text) in enumerate(panel.values.items()):
        for seed in seeds:
            rows = [e for e in events if e["seed"] == seed and name in e]
            axis.plot(
                [row["step"] for row in rows],
                [panel.scale * row[name] for row in rows],
                color=canvas.COLOURS[turn],
                ls=("-", "--")[turn],
                marker="." if len(rows) < 30 else None,
                alpha=1.0 if len(seeds) == 1 else 0.6,
                label=text if seed == seeds[0] else None,
            )
    for seed in seeds if panel.reference else ():
        # Seeds see other images, so each has its own.
        known = [e[panel.reference] for e in events if e["seed"] == seed and panel.reference in e]
        if known:
            first = axis.get_legend_handles_labels()[1].count(panel.of_reference) == 0
            text = panel.of_reference if first else None
            axis.axhline(known[-1], color="0.35", lw=1, ls=":", label=text)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel("step", fontsize=9)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel(panel.unit, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)


def _make_room(axis, log: bool) -> None:
    """Room above the curves, for the legend."""
    # Of a set with itself the distance is 0, which has no logarithm.
    if log and min(axis.dataLim.minposy, axis.dataLim.y0) > 0:
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        axis.set_ylim(top=low * (high / low) ** 1.35)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}" if high < 20 * low else "")
        axis.tick_params(which="minor", labelsize=8)
    else:
        low, high = axis.get_ylim()
        ticks = [tick for tick in axis.get_yticks() if low <= tick <= high]
        axis.set_ylim(top=high + 0.3 * (high - low))
        axis.set_yticks(ticks)


def _draw_tests(axis, events: list[dict], tests: dict[int, float]) -> None:
    last = {e["seed"]: e["step"] for e in sorted(events, key=lambda event: event["step"])}
    known = [seed for seed in tests if seed in last]
    axis.plot(
        [last[seed] for seed in known],
        [100 * tests[seed] for seed in known],
        "D",
        color=canvas.COLOURS[1],
        mec="black",
        ms=6,
        label="test images",
    )
