"""Where a command may run: other projects, no login name, no home, other encodings, no GPU."""

import fnmatch
import getpass
import io
import os
import runpy
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import numpy as np
import pytest
from conftest import SMALL
from rich.console import Console

from jaxbrain import __main__ as program
from jaxbrain import commands, errors
from jaxbrain.commands import common, hardware, paper, process
from jaxbrain.errors import ConfigError
from jaxbrain.reports import paper as report
from jaxbrain.runs import environment as about
from jaxbrain.runs import paper as runs_paper
from jaxbrain.runs import workdir
from jaxbrain.training import devices

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def environment():
    """What a test or a command changes of the environment is undone."""
    with mock.patch.dict(os.environ):
        for name in ("JAX_COMPILATION_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
            os.environ.pop(name, None)
        yield os.environ


def no_entry(*_):
    raise KeyError("getpwuid(): uid not found: 12345")


def arguments(*given) -> list[str]:
    return [*given, "--cache", str(jax.config.jax_compilation_cache_dir)]


def start(monkeypatch, *typed) -> int:
    """The exit status of `jaxbrain` or, after "-m", of `python -m jaxbrain`."""
    name = "/lib/jaxbrain/__main__.py" if typed[:1] == ("-m",) else "/bin/jaxbrain"
    monkeypatch.setattr(sys, "argv", [name, *typed[typed[:1] == ("-m",) :]])
    with pytest.raises(SystemExit) as stop:
        program.main()
    return stop.value.code


def test_only_the_library_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    include = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*.py")}
    assert {"jaxbrain", "experiments", "benchmarks", "tests"} <= folders
    installed = {one for one in folders if any(fnmatch.fnmatch(one, two) for two in include)}
    assert installed == {"jaxbrain"}
    assert settings["project"]["scripts"] == {"jaxbrain": "jaxbrain.__main__:main"}
    for path in (ROOT / "jaxbrain").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path


def test_a_project_with_experiments_of_its_own(tmp_path, environment):
    """And, in the same two processes, an ASCII terminal and devices that are not there."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise RuntimeError('of the user')")
    command = [sys.executable, "-m", "jaxbrain", "paper"]
    changed = environment | {"PYTHONIOENCODING": "ascii", "JAX_PLATFORMS": "gramophone"}

    def run(*flags):
        return subprocess.run(
            [*command, *flags], cwd=tmp_path, env=changed, capture_output=True, check=False
        )

    done = run("--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"usage: python -m jaxbrain paper ") and b"--gan.steps" in (
        done.stdout
    )
    done = run("--cache", "off")
    assert (done.returncode, done.stdout) == (2, b"")
    first, second, end = done.stderr.split(b"\n")
    assert (first, end) == (b"paper  loads JAX", b"")
    assert second.startswith(b"error: JAX_PLATFORMS is 'gramophone': JAX cannot start it here")
    assert {path.name for path in tmp_path.iterdir()} == {"experiments"}


def test_every_verb_has_a_module_and_a_file_in_the_checkout():
    shared = set("common flags hardware help mistakes onward parsing process telling".split())
    examples = {"example_classifier", "example_generator"}
    for folder, others in (("jaxbrain/commands", shared), ("experiments", examples)):
        found = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"} - others
        assert found == set(commands.VERBS)


@pytest.mark.parametrize("verb", commands.VERBS)
def test_the_files_of_the_checkout_run_the_verbs(verb, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "experiments" / f"{verb}.py"), run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m experiments.{verb} ")


def test_the_verbs_are_listed(monkeypatch, capsys):
    assert start(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: jaxbrain VERB [flags]\n")
    for verb, text in commands.VERBS.items():
        assert f"  {verb:<11}{text}\n" in out
    assert start(monkeypatch, "-m") == 2
    assert capsys.readouterr() == ("", out.replace("jaxbrain VERB", "python -m jaxbrain VERB"))
    assert start(monkeypatch, "--version") == 0
    assert capsys.readouterr() == (f"jaxbrain {about.version()}\n", "")
    assert start(monkeypatch, "papr") == 2
    assert capsys.readouterr() == ("", "error: unknown verb papr: did you mean paper?\n")
    assert start(monkeypatch, "--seeds", "2") == 2
    said = "a verb comes first, as in jaxbrain paper --data DIR; --help lists them"
    assert capsys.readouterr().err == f"error: unknown verb --seeds: {said}\n"
    assert start(monkeypatch, "ladder", "--sedes", "2") == 2
    assert capsys.readouterr().err == "error: unknown argument --sedes: did you mean --seeds?\n"


def test_the_command_is_kept_as_it_was_typed(monkeypatch):
    kept = []
    monkeypatch.setattr(runs_paper, "paper", lambda *_, command, **__: kept.append(command))
    flags = arguments(*SMALL, "--workdir", "a b")
    for argv in (["/bin/jaxbrain", "paper"], ["/lib/jaxbrain/__main__.py", "paper"]):
        monkeypatch.setattr(sys, "argv", [*argv, *flags])
        program.main()
    monkeypatch.setattr(sys, "argv", ["/x/experiments/paper.py", *flags])
    runpy.run_path(str(ROOT / "experiments" / "paper.py"), run_name="__main__")
    assert kept == [
        f"{prog} {shlex.join(flags)} --preset tiny"
        for prog in ("jaxbrain paper", "python -m jaxbrain paper", "python -m experiments.paper")
    ]
    assert "--workdir 'a b'" in kept[0]


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_a_user_without_a_name(error, monkeypatch, tmp_path):
    monkeypatch.setattr(getpass, "getuser", mock.Mock(side_effect=error("no entry")))
    monkeypatch.setattr(os, "getuid", lambda: 12345, raising=False)
    assert errors.user() == "uid 12345"
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "run"
    with pytest.raises(ConfigError) as caught:
        workdir.opened(path, "paper", {}, [], say=print).__enter__()
    reason = "cannot be written by user uid 12345: Not a directory"
    assert str(caught.value) == f"workdir {path}: {reason}"
    monkeypatch.delattr(os, "getuid")
    assert errors.user() == "unknown"
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert errors.user() == "ada"


def no_home(kind: str, tmp_path: Path, monkeypatch) -> str:
    """Have no home, one under a file, or one of another user; returns the reason to be given."""
    if kind == "none":
        pwd = pytest.importorskip("pwd")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", no_entry)
        return "the home directory is not known here"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if kind == "file":
        (tmp_path / "home").write_text("x")
        return "Not a directory"
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setattr(tempfile, "TemporaryFile", mock.Mock(side_effect=refused))
    return "Permission denied"


@pytest.mark.parametrize("kind", ["none", "file", "refused"])
def test_without_a_home_there_is_no_cache_and_one_note(kind, tmp_path, monkeypatch, capsys):
    reason = no_home(kind, tmp_path, monkeypatch)
    changed = {}
    monkeypatch.setattr(jax.config, "update", changed.__setitem__)
    caches = []

    def load(source, *, cache_folder, **_):
        caches.append(cache_folder)
        return None, None

    monkeypatch.setattr("jaxbrain.data.load_data", load)
    monkeypatch.setattr(runs_paper, "paper", lambda *_, **__: None)
    paper.main(["--data", "set"])
    assert capsys.readouterr().out == (
        f"note   no cache: ~/.cache/jaxbrain cannot be written ({reason}); "
        "--cache DIR names another place\n"
    )
    assert changed == {"jax_enable_compilation_cache": False}
    assert caches == [None]
    # What matplotlib keeps goes to a folder of this process.
    assert os.environ["MPLCONFIGDIR"] == os.environ["XDG_CACHE_HOME"]
    assert Path(os.environ["MPLCONFIGDIR"]).is_dir()


def test_a_home_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cache" / "jaxbrain"
    assert hardware.Hardware().cache_folder() == (path, "")
    assert list(path.iterdir()) == []
    hardware.Hardware(cache=Path("~/other")).cache_folder()
    assert (tmp_path / "other").is_dir()
    changed = {}
    monkeypatch.setattr(jax.config, "update", changed.__setitem__)
    hardware.Hardware().start()
    assert changed["jax_compilation_cache_dir"] == str(path)
    assert "MPLCONFIGDIR" not in os.environ
    got = common.parse(paper.Arguments, ["--workdir=~/run"], default=paper.Arguments())
    assert got.workdir == tmp_path / "run"


def test_a_cache_that_was_named_must_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path, reason in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "x", "Not a directory"),
        (Path("~no-such-user/x"), "the home directory is not known here"),
    ):
        message = f"cache {path}: cannot be written: {reason}"
        with pytest.raises(ConfigError) as caught:
            hardware.Hardware(cache=path).start()
        assert str(caught.value) == message
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(path))
        with pytest.raises(ConfigError) as caught:
            hardware.Hardware().start()
        assert str(caught.value) == message
    # It is there, and another user's.
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setattr(tempfile, "TemporaryFile", mock.Mock(side_effect=refused))
    with pytest.raises(ConfigError, match="cache .*: cannot be written: Permission denied"):
        hardware.Hardware(cache=tmp_path).cache_folder()


def test_a_home_of_nobody_is_refused():
    with pytest.raises(ConfigError) as caught:
        paper.main(arguments("--workdir", "~no-such-user/x"))
    message = "workdir ~no-such-user/x: the home directory is not known here"
    assert str(caught.value) == message


@pytest.fixture
def terminal(monkeypatch):
    """Standard output and error of an encoding; returns what was written there."""

    def use(encoding: str):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])

        def written() -> list[str]:
            for stream in streams:
                stream.flush()
            return [stream.buffer.getvalue().decode(encoding) for stream in streams]

        return written

    return use


@pytest.mark.parametrize(
    "encoding, healthy, tumour",
    [
        ("ascii", r"sa\u011fl\u0131kl\u0131", r"t\xfcm\xf6r"),
        ("cp1252", r"sa\u011fl\u0131kl\u0131", "tümör"),
        ("utf-8", "sağlıklı", "tümör"),
    ],
)
def test_names_that_a_terminal_cannot_show(encoding, healthy, tumour, terminal):
    written = terminal(encoding)

    def run():
        print("sağlıklı")
        report.confusion_table(Console(), np.eye(2, dtype=int), ("sağlıklı", "tümör"))
        # A byte of a file's name that is no UTF-8.
        raise ConfigError("workdir /tümör/\udcff")

    with pytest.raises(SystemExit) as stop:
        process.main(run)
    assert stop.value.code == 2
    out, err = written()
    assert out.splitlines()[0] == healthy
    assert healthy in out[len(healthy) :] and tumour in out
    assert ("┃" in out) == (encoding == "utf-8")
    assert err == f"error: workdir /{tumour}/\\udcff\n"


def test_git_may_say_anything(tmp_path, monkeypatch):
    """Its messages come in the locale's encoding, with names of folders."""
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nprintf 'fatal: /t\\374m\\366r' >&2\nexit 128\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert about.commit() is None


def without(error: Exception, platforms: str | None):
    """A JAX whose devices cannot be started."""
    found = mock.Mock(side_effect=error)
    return SimpleNamespace(devices=found, config=SimpleNamespace(jax_platforms=platforms))


@pytest.mark.parametrize(
    "error, platforms, message",
    [
        (
            RuntimeError("Unable to initialize backend 'cuda': none. (set JAX_PLATFORMS='')\nx"),
            "cuda",
            "JAX_PLATFORMS is 'cuda': JAX cannot start it here (Unable to initialize backend "
            "'cuda': none): install its plugin, e.g. pip install -U \"jax[cuda13]\", or unset "
            "JAX_PLATFORMS",
        ),
        (
            AssertionError(),
            "cuda",
            "JAX_PLATFORMS is 'cuda': JAX cannot start it here (there is no such device): install "
            'its plugin, e.g. pip install -U "jax[cuda13]", or unset JAX_PLATFORMS',
        ),
        (
            RuntimeError("the TPU is in use"),
            None,
            "JAX cannot start here (the TPU is in use): JAX_PLATFORMS=cpu takes the processor",
        ),
    ],
)
def test_devices_that_are_not_there(error, platforms, message, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jax", without(error, platforms))
    with pytest.raises(SystemExit) as stop:
        process.main(hardware.start_devices)
    assert stop.value.code == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_a_fault_of_ours_is_no_message():
    def fault():
        raise RuntimeError("Unable to initialize backend")

    with pytest.raises(RuntimeError, match="Unable to initialize"):
        process.main(fault)


def test_processes_meet_before_jax_looks_for_devices(monkeypatch):
    calls = mock.Mock()
    monkeypatch.setattr(devices, "start", calls.meet)
    monkeypatch.setattr(hardware, "start_devices", calls.devices)
    cache = Path(jax.config.jax_compilation_cache_dir)
    hardware.Hardware(coordinator="a:1", num_processes=2, process_id=1, cache=cache).start()
    assert calls.mock_calls == [mock.call.meet("a:1", 2, 1), mock.call.devices()]


def test_flags_for_a_gpu_are_set_where_one_may_be_and_said(environment, monkeypatch, capsys):
    """A known flag is added to those of the user, of whom an own value stands."""
    flag = "--xla_gpu_graph_min_graph_size"
    installed = ["jax_plugins.xla_cuda13"]
    monkeypatch.setattr(hardware, "_installed", lambda module: module in installed)
    without_gpu = SimpleNamespace(config=SimpleNamespace(jax_platforms=None))
    monkeypatch.setitem(sys.modules, "jax", without_gpu)
    environment["XLA_FLAGS"] = "--xla_dump_to=x"
    hardware._set_xla_flags()
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=x {flag}=1"
    assert capsys.readouterr().out == f"note   XLA_FLAGS {flag}=1 (--xla-flags off sets none)\n"
    environment["XLA_FLAGS"] = f"{flag}=7"
    hardware._set_xla_flags()
    del installed[0]
    hardware._set_xla_flags()
    assert environment["XLA_FLAGS"] == f"{flag}=7" and not capsys.readouterr().out
    # Of the processor alone none is set; XLA, which ends at flags it does not know, knows these.
    installed.append("jax_plugins.xla_cuda13")
    del environment["XLA_FLAGS"]
    without_gpu.config.jax_platforms = "cpu"
    hardware._set_xla_flags()
    assert "XLA_FLAGS" not in environment
    known = os.environ | {"XLA_FLAGS": " ".join(hardware._GPU_FLAGS), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; print(jax.device_count())"]
    assert subprocess.run(command, env=known, capture_output=True, check=True).stdout
