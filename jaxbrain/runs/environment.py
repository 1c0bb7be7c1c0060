"""What a run's numbers depend on beside its configuration: versions, devices, the code."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import jax


def environment() -> dict:
    """Versions, devices and what else bits depend on."""
    packages = "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow"
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "cpu_count": os.cpu_count(),
        "NPROC": os.environ.get("NPROC"),
        "threefry_partitionable": bool(jax.config.jax_threefry_partitionable),
    }


def device_lines(dtype: str, count: int = 1) -> list[str]:
    """What a run trains on, for its console; on a CPU alone how to get a GPU.

    dtype: of its computations; count: of the devices that it trains on.
    """
    found, cache = jax.devices(), jax.config.jax_compilation_cache_dir
    lines = [
        f"device {jax.default_backend()} x{len(found)} ({found[0].device_kind})  "
        f"jax {jax.__version__}  {dtype}  trains on {count}  cache {cache or 'off'}"
    ]
    # Who named the platform knows.
    if jax.default_backend() == "cpu" and not jax.config.jax_platforms:
        lines.append('note   no accelerator is used: with an NVIDIA GPU, pip install "jax[cuda13]"')
    return lines


def version() -> str | None:
    """jaxbrain's own version, where it is installed."""
    try:
        return importlib.metadata.version("jaxbrain")
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the source tree that runs, where it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None
