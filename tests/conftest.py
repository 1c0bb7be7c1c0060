"""Strict numerics for every test, a compilation cache, small shared configurations."""

import contextlib
import csv
import dataclasses
import importlib.util
import io
import os
import socket
from pathlib import Path
from unittest import mock

import jax
import pytest

from jaxbrain import config
from jaxbrain.commands import paper, train_gan
from jaxbrain.runs import pages

# Implicit promotions hide mistakes; goldens of random draws rest on these defaults.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_prng_impl", "threefry2x32")
jax.config.update("jax_threefry_partitionable", True)
# Two devices, where a test asks for them (the CPU is one device otherwise).
jax.config.update("jax_num_cpu_devices", 2)
# Accelerators round float32 products by default; parity is tested in full precision.
jax.config.update("jax_default_matmul_precision", "highest")
# One cache per worker: two processes must not read what the other is still writing.
CACHE = os.environ.get("JAXBRAIN_TEST_CACHE", Path(__file__).parents[1] / ".cache" / "jax")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
jax.config.update("jax_compilation_cache_dir", str(Path(CACHE) / WORKER))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


# Most of the suite's time is compilation of programs that run for milliseconds.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop a file's compiled programs after it. A process that kept those of the whole
    suite was once killed by a segmentation fault while XLA compiled the next."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """The library fetches nothing: a connection to another machine fails the test."""
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "localhost", "::1"):
            return connect(self, address)
        raise AssertionError(f"a connection to {address}")

    with mock.patch.object(socket.socket, "connect", refuse):
        yield


@pytest.fixture
def optimised():
    """For the few tests that compute for long."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def small() -> config.Config:
    """The paper's setting with every size cut down; compiles in a second or two."""
    base = config.paper()
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, image_size=16, n_per_class=12),
        gan=dataclasses.replace(
            base.gan,
            image_size=32,
            latent_size=6,
            embedding_size=3,
            filters=4,
            projection=8,
            kernel_size=3,
            batch_size=8,
            steps=6,
        ),
        cnn=config.CNNConfig(filters=(3, 4), features=5),
        hybrid=config.HybridConfig(hidden_size=4, fc2=6, fc4=5, fc10=3),
        classifier=config.ClassifierConfig(epochs=2, batch_size=5),
        intervals=2,
    )


@pytest.fixture
def cfg() -> config.Config:
    return small()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


def change(cfg: config.Config, section: str, **fields) -> config.Config:
    """A copy of `cfg` with fields of one section replaced."""
    part = dataclasses.replace(getattr(cfg, section), **fields)
    return dataclasses.replace(cfg, **{section: part})


# A run of seconds: the tiny preset with every size cut down.
SMALL = (
    "--data.n-per-class 12 --data.image-size 16 --gan.image-size 32 --gan.steps 6 "
    "--gan.filters 4 --gan.projection 8 --gan.kernel-size 3 --gan.batch-size 8 "
    "--classifier.epochs 2 --classifier.batch-size 8 --cnn.filters 3 4 --intervals 2"
).split()


def command(*arguments, workdir) -> str:
    """`jaxbrain paper` in this process; returns what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        cache = jax.config.jax_compilation_cache_dir
        paper.main([*SMALL, "--workdir", str(workdir), "--cache", cache, *arguments])
    return out.getvalue()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of two seeds (to be copied before it is changed), and its output."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    board = ["--tensorboard"] if importlib.util.find_spec("tensorboardX") else []
    flags = ["--seeds", "2", "--save-every", "0", "--figures", "svg", *board]
    return workdir, command(*flags, workdir=workdir)


GAN = (
    "--data.n-per-class 40 --data.image-size 16 --gan.image-size 32 --gan.steps 6 "
    "--gan.filters 4 --gan.projection 8 --gan.kernel-size 3 --gan.batch-size 8 --intervals 2"
).split()


def trained_gan(workdir: Path, *arguments) -> str:
    """`jaxbrain train_gan` in this process, in seconds; returns what it printed."""
    out = io.StringIO()
    cache = jax.config.jax_compilation_cache_dir
    with contextlib.redirect_stdout(out):
        train_gan.main([*GAN, "--workdir", str(workdir), "--cache", cache, *arguments])
    return out.getvalue()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run of two GANs with held-out images (to be copied before it is changed), and
    its output."""
    workdir = tmp_path_factory.mktemp("train_gan") / "run"
    return workdir, trained_gan(workdir, "--seeds", "2", "--save-every", "0")


def said(path: Path):
    """What a file of a run says: its bytes; of a report what follows from its numbers, since
    each run's directory has a command and a date of its own."""
    if path.name == pages.MARKDOWN:
        return of_numbers(path.read_text())
    return path.read_bytes()


def of_numbers(text: str) -> list[str]:
    """The lines of a report that follow from its numbers."""
    return [line for _, line in pages.numbers(text)]


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar in a folder of event files, in their order."""
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            # Length, its checksum, the event, its checksum.
            size = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                found.append((value.tag, event.step, value.simple_value if kind != "image" else -1))
    return found


def rows(path: Path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def kaggle() -> Path:
    """The folder of real images, where the environment names one."""
    root = os.environ.get("JAXBRAIN_DATA")
    if not root:
        pytest.skip("JAXBRAIN_DATA does not name the folder of the Kaggle images")
    return Path(root)
