"""The benchmarks run, agree with themselves, and write what they promise."""

import dataclasses
import json
import sys
import time
import types

import numpy as np
import pytest
from conftest import change, small

import benchmarks
from benchmarks import (
    accelerator,
    aot,
    common,
    devices,
    input,
    modes,
    scaling,
    seeds,
    step,
    texture,
    training,
)
from jaxbrain import config
from jaxbrain.errors import ConfigError


def tiny() -> config.Config:
    """What `--preset tiny` means in these tests."""
    return change(small(), "classifier", mode="end_to_end")


@pytest.fixture(autouse=True)
def small_preset(monkeypatch):
    monkeypatch.setattr(common, "preset", lambda name: tiny())


def result(path) -> dict:
    found = json.loads(path.read_text())
    for field in ("date", "commit", "command", "backend", "devices", "packages"):
        assert field in found
    assert path.with_suffix(".png").stat().st_size > 1000
    return found


def test_interleaved_runs_all_in_every_round():
    order = []
    functions = {name: lambda name=name: order.append(name) or 0.5 for name in "ab"}
    times = common.interleaved(functions, 3)
    assert order == list("ababab")
    assert common.milliseconds(times) == {"a": 500.0, "b": 500.0}


@pytest.mark.slow
def test_step(tmp_path, capsys):
    options = step.Options(json=tmp_path / "step.json", rounds=2, chunk=2)
    step.run(options)
    found = result(options.json)
    assert set(found["ours_ms"]) == {"classifier", "gan"}
    for net in found["nets"].values():
        assert len(net["rounds_ms"]["python"]) == len(net["rounds_ms"]["chunk"]) == 2
        assert net["compile_s"] > 0 and net["memory_mb"] > 0
    # Counted of stock convolutions, whatever form runs: about three products of each
    # convolution but the gradient of the image.
    cfg = tiny()
    size, (one, two) = cfg.data.image_size, cfg.cnn.filters
    conv1, conv2 = 2 * 9 * size**2 * one, 2 * 9 * (size // 2) ** 2 * one * two
    most = cfg.classifier.batch_size * (2 * conv1 + 3 * conv2) / 1e9
    assert found["nets"]["classifier"]["gflop"] == pytest.approx(most, rel=0.5)
    assert "roofline_share" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("net", ["classifier", "gan"])
def test_seeds(tmp_path, net):
    options = seeds.Options(
        json=tmp_path / "seeds.json", net=net, counts=(1, 2), steps=2, images=12, rounds=1
    )
    seeds.main(options)
    found = result(options.json)["seeds"]
    assert set(found) == {"1", "2"}
    for entry in found.values():
        assert list(entry) == ["loop", "map", "vmap"]
        assert all(one["loss_difference"] < 1e-5 for one in entry.values())
        assert all(one["s"] > 0 and len(one["rounds_ms"]) == 1 for one in entry.values())


@pytest.mark.slow
def test_devices(tmp_path):
    options = devices.Options(
        json=tmp_path / "devices.json", counts=(1, 2), steps=2, batch=4, images=4, rounds=1
    )
    devices.run(options)
    for net in result(options.json)["nets"].values():
        assert set(net) == {"none 1", "pmap 2", "sharded 2"}
        assert all(entry["difference"] < 1e-3 for entry in net.values())


def test_texture(tmp_path):
    pytest.importorskip("skimage", reason="needs jaxbrain[baselines]")
    options = texture.Options(json=tmp_path / "texture.json", images=3, size=32, rounds=2)
    texture.main(options)
    found = result(options.json)
    assert found["images"] == 3
    total = sum(found["texture"][name]["seconds"] for name in texture.NAMES)
    assert found["seconds_of_methods"] == pytest.approx(total, abs=1e-6)
    for entry in found["texture"].values():
        assert len(entry["rounds_s"]) == 2


def test_input(tmp_path):
    options = input.Options(json=tmp_path / "input.json", images=6, size=32, batch=2, rounds=1)
    input.main(options)
    assert result(options.json)["input"]["load_folder, png"]["images_per_s"] > 0


@pytest.mark.slow
def test_modes(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "tiny", tiny)
    options = modes.Options(
        json=tmp_path / "modes.json",
        preset="tiny",
        images=48,
        steps=2,
        samples=50,
        plain=True,
        sheet=tmp_path / "sheets" / "modes.png",
        oracle_images=48,
        oracle_epochs=1,
    )
    modes.main(options)
    found = result(options.json)
    assert found["steps"] == 2 and found["size"] == 32 and len(found["seeds"]) == 1
    assert options.sheet.stat().st_size > 1000
    assert list(found["seeds"][0]) == ["training images", "fresh phantoms", "tiny", "plain"]
    for entry in found["seeds"][0].values():
        for name in ("recall", "precision"):
            low, high = entry[name]["interval"]
            assert 0 <= low <= high <= 1 and 0 <= entry[name]["value"] <= 1
    # Two updates draw nothing yet.
    assert found["seeds"][0]["tiny"]["recall"]["value"] < 0.3
    with pytest.raises(ConfigError, match="seeds is 0, samples is 1000: expected at least 1 and"):
        modes.main(modes.Options(seeds=0))


def test_the_plain_gan_is_the_papers_at_the_same_widths():
    cfg = config.cpu()
    plain = modes.plain(cfg).gan
    same = "image_size", "filters", "projection", "batch_size", "steps"
    for field in dataclasses.fields(plain):
        other = cfg.gan if field.name in same else config.paper().gan
        assert getattr(plain, field.name) == getattr(other, field.name), field.name
    assert plain.loss == "bce" and plain.generator_condition == "concat"


@pytest.mark.slow
def test_training_memory_does_not_depend_on_its_length(tmp_path):
    options = training.Options(json=tmp_path / "training.json", images=10, rounds=1)
    training.main(options)
    for net in result(options.json)["nets"].values():
        # The history of the metrics only.
        grown = net["memory_mb_four_times_as_long"] - net["memory_mb"]
        assert 0 <= grown < 0.01
        assert net["training_s"] > 0


@pytest.mark.slow
def test_scaling(tmp_path):
    options = scaling.Options(
        json=tmp_path / "scaling.json",
        sizes=(16, 32),
        batches=(4, 8),
        num_images=(20, 40),
        side=16,
        steps=3,
        rounds=1,
    )
    scaling.main(options)
    found = result(options.json)
    assert set(found["slopes"]) == {"pixels", "batch", "images, resident", "images, streamed"}
    memory = [entry["memory_mb"] for entry in found["images"].values()]
    assert memory[0] == pytest.approx(memory[1], rel=0.05)
    assert scaling.slope([1, 2, 4], [3, 6, 12]) == 1.0


def test_torch_peers_are_the_same_nets(key, tmp_path):
    pytest.importorskip("torch", reason="torch comes with the peers extra only")
    from benchmarks import peer_agreement, peer_torch

    cfg = tiny()
    half = dataclasses.replace(cfg, compute="bfloat16")
    assert max(peer_agreement.agreement(half, key).values()) < 1e-4
    with pytest.raises(ConfigError, match="gan.loss is 'hinge': expected 'bce'"):
        peer_torch.refuse(change(cfg, "gan", loss="hinge"))
    for make in (peer_torch.classifier_step, peer_torch.gan_step):
        for mode in ("eager", "channels_last"):
            assert np.isfinite(peer_torch.timed(make(cfg, mode, "cpu"), "cpu"))


def test_a_mode_that_fails_or_hangs_is_left_out(monkeypatch):
    """And the others are measured."""
    torch = types.ModuleType("benchmarks.peer_torch")
    torch.device = lambda: "cpu"
    torch.modes = lambda device: ["quick", "broken", "hangs"]
    torch.timed = lambda step, device, count=1: step()

    def make(cfg, mode, device):
        if mode == "broken":
            raise RuntimeError("no kernel for this\nsecond line")
        if mode == "hangs":
            time.sleep(30)
        return lambda: 0.25

    torch.gan_step = make
    monkeypatch.setattr(benchmarks, "peer_torch", torch, raising=False)
    monkeypatch.setitem(sys.modules, "benchmarks.peer_torch", torch)
    peers, first, left_out = step._peers(tiny(), "gan", step.Options(peer_seconds=0.2))
    assert list(peers) == ["quick"] and first == {"quick": 0.25} and peers["quick"]() == 0.25
    assert left_out["broken"] == "RuntimeError: no kernel for this"
    assert left_out["hangs"] == "TimeoutError: stopped after 0 s"


def test_flops_do_not_depend_on_the_backend(key):
    """Counted of a lowering for the processor, which has no word of what runs it."""
    train, state, batch = step.subject(tiny(), "classifier", key)
    first = step.work(tiny(), train, state, batch, key)
    assert first == step.work(tiny(), train, state, batch, key) and first["gflop"] > 0


def test_seeds_stop_at_their_limit(monkeypatch, tmp_path):
    """With what they have; nothing at all is refused."""
    made = []

    class Timed:
        def __init__(self, lanes, steps):
            made.append(lanes)
            if len(made) == 3:
                raise TimeoutError
            self.compile, self.losses, self.steps = 0.5, np.ones(1), 2
            self.lanes = types.SimpleNamespace(batch_size=4)

        def __call__(self):
            return 0.1

    monkeypatch.setattr(seeds, "Timed", Timed)
    monkeypatch.setattr(seeds, "training", lambda cfg, net, data, count, how: (count, how))
    options = seeds.Options(
        json=tmp_path / "seeds.json", counts=(1, 2), how=("loop", "vmap"), rounds=1, images=2
    )
    seeds.main(options)
    found = result(options.json)
    assert list(found["seeds"]) == ["1"] and found["left_out"] == {"2": "--minutes 60 had passed"}
    assert found["seeds"]["1"]["vmap"] == {
        "s": 0.1,
        "runs_per_s": 10.0,
        "images_per_s": 80.0,
        "compile_s": 0.5,
        "loss_difference": 0.0,
        "rounds_ms": [100.0],
    }
    made[:] = [0, 0]
    with pytest.raises(ConfigError, match="nothing was measured"):
        seeds.main(dataclasses.replace(options, counts=(1,)))


def test_every_part_of_an_accelerator_is_done_or_named(monkeypatch, tmp_path):
    """One that writes its file, one that fails, one that hangs, one that is out of time."""

    def parts(options, large):
        assert not large
        script = [sys.executable, "-c"]
        write = f"open({str(options.json / 'good.json')!r}, 'w').write('{{\"ms\": 2.5}}')"
        return [
            accelerator.Part("good", 40.0, [*script, write], dict),
            accelerator.Part("broken", 1.0, [*script, "print('so it is'); exit(3)"], dict),
            accelerator.Part("hangs", 1.0, [*script, "import time; time.sleep(60)"], dict),
            accelerator.Part("late", 1.0, [*script, "pass"], dict),
        ]

    monkeypatch.setattr(accelerator, "parts", parts)
    times = iter([0.0, 0.0, 0.0, 0.0, 0.0, 58.4, 59.0, 100.0, 100.0])
    monkeypatch.setattr(accelerator, "monotonic", lambda: next(times))
    folder = tmp_path / "found"
    accelerator.run(accelerator.Options(json=folder, minutes=1.0))
    found = json.loads((folder / "accelerator.json").read_text())
    assert found["backend"] == "cpu" and "benchmarks.accelerator" in found["command"]
    done = found["parts"]
    assert {name: one["left_out"] for name, one in done.items()} == {
        "good": "",
        "broken": "ended with 3: so it is",
        "hangs": "not done after its 1 s",
        "late": "no time was left",
    }
    assert done["good"]["figures"] == {"ms": 2.5}
    text = (folder / "accelerator.md").read_text()
    assert "| good (0 s) | ms | 2.5 |" in text
    assert "not done after its 1 s" in text
    with pytest.raises(ConfigError, match="parts is 'x': expected some of good, broken"):
        monkeypatch.setattr(accelerator, "monotonic", lambda: 0.0)
        accelerator.run(accelerator.Options(json=folder, parts=("x",)))
    with pytest.raises(ConfigError, match="json is not given"):
        accelerator.run(accelerator.Options())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_accelerator_report_on_a_cpu(tmp_path):
    accelerator.run(accelerator.Options(json=tmp_path, minutes=12.0))
    done = json.loads((tmp_path / "accelerator.json").read_text())["parts"]
    assert [name for name, one in done.items() if one["left_out"]] == []
    assert all(one["figures"] for one in done.values()) and len(done) == 9
    # One device stands against itself here.
    assert set(done["equality"]["figures"].values()) == {0.0}


def test_steps_lower_for_a_gpu_that_is_not_here(monkeypatch, tmp_path):
    """With XLA's own convolutions, and nothing that only a processor can run."""
    monkeypatch.setattr(aot.common, "save", lambda options, found: saved.update(found))
    saved: dict = {}
    aot.run(
        aot.Options(platform="cuda", batch_per_chip=4, how=("one", "lanes", "grouped"), lanes=3)
    )
    found = saved["steps"]
    for net in ("classifier", "gan"):
        assert found[f"{net} one"]["convolution"] >= 5
        assert "grouped convolution" not in found[f"{net} one"]
        # Of lanes the convolutions are products.
        assert "convolution" not in found[f"{net} lanes"]
        assert found[f"{net} lanes"]["dot_general"] > found[f"{net} grouped"]["dot_general"]
        assert found[f"{net} grouped"]["grouped convolution"] > 0
    assert not [name for net in found.values() for name in net if name.startswith("call ")]


def test_what_a_compiled_program_exchanges_is_counted():
    text = """
    %a = f32[3] all-reduce(%x), to_apply=%add
    %b = f32[3] all-reduce-start(%a), to_apply=%add
    %c = f32[3] all-reduce-done(%b)
    %d = f32[6] all-gather(%c), dimensions={0}
    """
    assert aot.collectives(text) == {"all-reduce": 2, "all-gather": 1}


def test_a_slice_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="topology 'v5e:none': .*expected one such as v5e:2x2"):
        aot.run(aot.Options(topology="v5e:none"))


@pytest.mark.slow
def test_steps_compile_for_a_tpu_slice(tmp_path):
    pytest.importorskip("libtpu", reason="needs the TPU's compiler: jaxbrain[aot]")
    options = aot.Options(json=tmp_path / "aot.json", net=("classifier",), how=("one", "sharded"))
    aot.run(options)
    one, sharded = json.loads(options.json.read_text())["steps"].values()
    assert one["collectives"] == {} and sharded["collectives"]["all-reduce"] > 0
    # The same rows a chip: the same work, but for the exchange.
    assert sharded["gflop"] == pytest.approx(one["gflop"], rel=0.05) and one["memory_mb"] > 0


def test_bad_flags_are_one_message(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks/step.py", "--rounds", "0"])
    with pytest.raises(SystemExit) as stop:
        common.main(step.Options, step.run)
    assert stop.value.code == 2
    assert "rounds is 0: expected at least 1" in capsys.readouterr().err
