"""What --help and --help-all print, and that printing needs no JAX."""

import dataclasses
import importlib
import subprocess
import sys

import pytest
import tyro

from jaxbrain import commands, config
from jaxbrain.commands import flags, help, paper

pytestmark = pytest.mark.smoke


def default(verb: str, **fields):
    """The arguments of a verb with nothing given but what must be."""
    kind = importlib.import_module(f"jaxbrain.commands.{verb}").Arguments
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING:
            fields[field.name] = tyro.MISSING
    return kind(**fields)


@pytest.mark.parametrize("verb", commands.VERBS)
def test_every_flag_has_a_text_of_its_own(verb):
    found = list(flags.flags(default(verb)))
    for flag in found:
        assert len(flag.text) > 5, flag.name
        # A comment that stands right below another field, and speaks of that one.
        same = [one.name for one in found if one.text == flag.text and one.section == flag.section]
        assert same == [flag.name]


def test_a_text_is_of_its_field_alone():
    told = flags.texts(config.ClassifierConfig)
    assert told["mode"].startswith("two_stage: the CNN, then the hybrid on its features.")
    assert told["epochs"] == "passes over the training images, of each stage"
    assert told["batch_size"] == "images of an update"
    # Inherited, and of a class beside it.
    assert flags.texts(paper.Arguments)["fresh"].startswith("keep what is there")


@pytest.mark.parametrize("verb", commands.VERBS)
def test_help_is_one_page_and_says_where_the_rest_is(verb):
    arguments = default(verb)
    text = help.page(arguments, f"jaxbrain {verb}")
    lines = text.splitlines()
    assert len(lines) <= 42 and max(map(len, lines)) <= 80
    assert lines[0].startswith(f"usage: jaxbrain {verb} ")
    number = len(list(flags.flags(arguments)))
    shown = sum(line[:4].strip() != "" and line.startswith("  ") for line in lines)
    left = [line for line in lines if "--help-all has the other" in line]
    assert left or shown >= number


def test_what_matters_first_of_paper():
    text = help.page(paper.Arguments(preset="cpu", cfg=config.cpu()), "jaxbrain paper")
    for flag in "data preset seeds workdir fresh cache devices gan.steps classifier.epochs".split():
        assert f"  --{flag}" in text
    assert "updates of a training (default: 2400)" in text
    assert "Defaults are those of the preset cpu." in text
    assert "momentum" not in text


@pytest.mark.parametrize("verb", commands.VERBS)
def test_help_all_has_every_flag_with_its_default(verb):
    found = list(flags.flags(default(verb)))
    text = help.page(default(verb), f"jaxbrain {verb}", everything=True)
    # The examples of a docstring may be wider.
    options = [line for line in text.splitlines() if line.startswith("  ")]
    for flag in found:
        name = flag.name if not flag.section.endswith("optim") else flag.last
        head, dot, last = name.rpartition(".")
        names = f"--{name}", f"--{head}{dot}[no-]{last}", f"  {name} ", f"  {flag.value}"
        assert any(name in line for line in options for name in names), flag.name
    if verb == "paper":
        assert text.count("of sgdm: share of the last step that is kept") == 1
        assert "--cnn.[no-]mirror" in text and "(defaults: 0.0002, 0.0002, 0.01)" in text


def test_a_preset_that_is_typed_gives_the_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        paper.main(["--preset", "paper", "--help"])
    assert stop.value.code == 0
    assert "(default: 500)" in capsys.readouterr().out


PROBE = """
import contextlib, io, sys
from jaxbrain import commands
for line in {lines!r}:
    words = line.split()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            commands.run(words[0], words[1:], "jaxbrain")
    heavy = {{"jax", "numpy", "scipy", "matplotlib", "rich", "PIL"}} & {{*sys.modules}}
    assert not heavy, (line, heavy)
"""


def test_help_and_refusals_import_no_jax():
    lines = [f"{verb} --help" for verb in commands.VERBS]
    lines += ["papr", "paper --epochs 3", "ladder --preset cpuu", "sample", "paper --seeds 0"]
    command = [sys.executable, "-c", PROBE.format(lines=lines)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
