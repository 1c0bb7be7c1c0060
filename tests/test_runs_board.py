"""TensorBoard's files, read back; and the networks as text."""

import builtins
import dataclasses
import io

import jax
import pytest
from conftest import change, scalars, small
from rich.console import Console

from jaxbrain import config
from jaxbrain.errors import ConfigError
from jaxbrain.runs.board import Board
from jaxbrain.runs.log import Log
from jaxbrain.training import classifier, gan
from jaxbrain.training.summary import tabulated


def row(step: int, loss: float) -> dict:
    return {"lane": "a/b", "seed": 0, "training": "gan", "step": step, "loss": loss}


def test_a_run_that_goes_on_has_no_step_twice(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")

    def opened():
        return Log(tmp_path, Console(file=io.StringIO()))

    def board():
        return Board(tmp_path, lambda event: "seed0/gan")

    with opened() as log:
        log.show_on(board())
        for step in (1, 2, 3):
            log.event(row(step, step / 2))
    place = tmp_path / "tensorboard" / "seed0" / "gan"
    assert scalars(place) == [("gan/loss", step, step / 2) for step in (1, 2, 3)]
    # The last that was saved was step 2: of 3 nothing is known any more.
    with opened() as log:
        log.show_on(board())
        log.restore("a/b", [row(1, 0.5), row(2, 1.0)])
        log.event(row(3, 7.0))
    assert scalars(place) == [("gan/loss", 1, 0.5), ("gan/loss", 2, 1.0), ("gan/loss", 3, 7.0)]


def test_without_the_extra_a_message(tmp_path, monkeypatch):
    imported = builtins.__import__

    def missing(name, *rest, **more):
        if name == "tensorboardX":
            raise ImportError("No module named 'tensorboardX'")
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"tensorboard: .*pip install 'jaxbrain\[tensorboard\]'"):
        Board(tmp_path, str)


@pytest.mark.parametrize("mode", ["end_to_end", "cnn"])
def test_the_networks_as_text(mode):
    cfg = change(small(), "classifier", mode=mode)
    text = tabulated(cfg)
    key = jax.random.key(0)
    nets = jax.eval_shape(lambda: (gan.init(cfg, key), classifier.init(cfg, key, 1)))
    nets = {"Generator": nets[0].generator, "CNN": nets[1].cnn, "Hybrid": nets[1].hybrid}
    for name, net in nets.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(net.params))
        assert (f"{name} Summary" in text) == (count > 0)
        if count and not net.batch_stats:
            assert f"Total Parameters: {count:,} " in text
    assert "Discriminator Summary" in text and "0x" not in text
    again = dataclasses.replace(cfg)
    tabulated.cache_clear()
    assert tabulated(again) == text
    assert "CNN Summary" not in tabulated(cfg, classifier=False)
    assert isinstance(cfg, config.Config)
