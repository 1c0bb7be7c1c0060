"""What a run's numbers depend on beside its configuration: versions, devices, the code."""

import importlib.metadata
import os
import platform
import subprocess
import tomllib
from pathlib import Path

# The source tree, or the folder of installed packages.
_ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict:
    """Versions, devices and what else bits depend on."""
    import jax

    threefry = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    packages = "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow"
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "cpu_count": os.cpu_count(),
        "NPROC": os.environ.get("NPROC"),
        "threefry_partitionable": bool(threefry),
    }


def device_lines(dtype: str, count: int = 1) -> list[str]:
    """What a run trains on, for its console; on a CPU alone how to get a GPU.

    dtype: of its computations; count: of the devices that it trains on.
    """
    import jax

    found, cache = jax.devices(), jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    lines = [
        f"device {jax.default_backend()} x{len(found)} ({found[0].device_kind})  "
        f"jax {jax.__version__}  {dtype}  trains on {count}  cache {cache or 'off'}"
    ]
    # Who named the platform knows.
    if jax.default_backend() == "cpu" and not jax.config.jax_platforms:  # type: ignore[attr-defined]
        lines.append('note   no accelerator is used: with an NVIDIA GPU, pip install "jax[cuda13]"')
    return lines


def version() -> str:
    """jaxbrain's own version: of the source tree that runs, else of the installed package, else
    "unknown"."""
    project = _project()
    if project.get("name") == "jaxbrain" and "version" in project:
        return project["version"]
    try:
        return importlib.metadata.version("jaxbrain")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def code() -> dict:
    """Which code runs, as `config.json` records it."""
    return {"jaxbrain": version(), "commit": commit()}


def commit() -> str | None:
    """The commit of the source tree that runs, followed by "+changes" where a file of the package
    is not as committed; None where the package is no checkout of ours.

    An installed copy may stand inside another project's repository, whose commit says nothing of
    this code.
    """
    top, _, head = _git("rev-parse", "--show-toplevel", "HEAD").partition("\n")
    ours = top and Path(top).resolve() == _ROOT and _project().get("name") == "jaxbrain"
    if not ours or not _git("ls-files", "jaxbrain/__init__.py"):
        return None
    return head + ("+changes" if _git("status", "--porcelain", "--", "jaxbrain") else "")


def _project() -> dict:
    """What the pyproject.toml beside the package says of its project."""
    try:
        text = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text).get("project", {})
    except (OSError, ValueError):
        return {}


def _git(*arguments: str) -> str:
    """What git prints of the folder that holds the package; empty where it refuses."""
    # A hook of git's that runs us has set these, for another repository.
    hooks = "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"
    own = {name: value for name, value in os.environ.items() if name not in hooks}
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, env=own)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
