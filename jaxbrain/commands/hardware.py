"""Where an entry point runs: devices, the cache, flags of XLA's, a home that may be missing."""

import atexit
import contextlib
import dataclasses
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from jaxbrain.errors import ConfigError

NO_HOME = "the home directory is not known here"


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where an entry point runs."""

    # how many devices a training is spread over, of all hosts, with --parallel; 0 takes all; on a
    # CPU as many are made
    devices: int = 0
    # how a training is spread over devices; none trains on one
    parallel: Literal["none", "pmap", "sharded"] = "none"
    coordinator: str | None = None  # where process 0 is, of a run of several processes
    num_processes: int | None = None  # how many processes the run has
    process_id: int | None = None  # which of the processes this is, from 0
    cluster: bool = False  # several processes that the cluster knows of (TPU, SLURM)
    # folder of compiled programs and decoded images, for later runs; auto:
    # JAX_COMPILATION_CACHE_DIR or ~/.cache/jaxbrain
    cache: Literal["auto", "off"] | Path = "auto"
    # auto: flags of XLA's for a GPU are set, beside those in XLA_FLAGS
    xla_flags: Literal["auto", "off"] = "auto"

    def __post_init__(self):
        if self.devices < 0:
            raise ConfigError(f"devices is {self.devices}: expected 0 or more")

    def cache_folder(self) -> tuple[Path | None, str]:
        """(where compiled programs and decoded images are kept or None, a note why not).

        Raises:
            ConfigError: if a folder that the user named cannot be written.
        """
        if self.cache == "off":
            return None, ""
        named = os.environ.get("JAX_COMPILATION_CACHE_DIR") if self.cache == "auto" else self.cache
        path = Path(named or "~/.cache/jaxbrain")
        problem = unwritable(path)
        if not problem:
            return path.expanduser(), ""
        if named:
            raise ConfigError(f"cache {path}: cannot be written: {problem}")
        note = f"note   no cache: {path} cannot be written ({problem}); --cache DIR names another"
        return None, f"{note} place"

    def start(self, mapping: str | None = None) -> None:
        """Set JAX up; before anything else of it runs.

        mapping: of a study, whose trainings may be spread over devices; None where only the
            batches of one are.
        """
        import jax

        from jaxbrain.training import devices

        spread = mapping == "devices"
        if mapping and self.parallel != "none":
            raise ConfigError(
                f"parallel is {self.parallel!r}: expected none, since the trainings of a study "
                "are spread whole: --mapping devices"
            )
        if self.devices > 1 and self.parallel == "none" and not spread:
            how = "--mapping devices" if mapping else "--parallel pmap or sharded"
            raise ConfigError(f"devices is {self.devices}: expected 1 without {how}")
        _do_without_home()
        if self.xla_flags == "auto":
            _set_xla_flags()
        path, note = self.cache_folder()
        if note:
            print(note)
        if path:
            jax.config.update("jax_compilation_cache_dir", str(path))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        else:
            jax.config.update("jax_enable_compilation_cache", False)
        if (self.parallel != "none" or spread) and self.devices:
            # Of a CPU backend only; others have the devices they have.
            own = -(-self.devices // (self.num_processes or 1))
            # Where JAX runs already, `devices.devices` says what there is.
            with contextlib.suppress(RuntimeError):
                jax.config.update("jax_num_cpu_devices", own)
        given = (self.coordinator, self.num_processes, self.process_id) != (None, None, None)
        if self.cluster or given:
            devices.start(self.coordinator, self.num_processes, self.process_id)
        # Not earlier: processes meet before JAX looks for devices.
        start_devices()


# So that what is launched in a training's loop goes to a GPU as graphs, short ones too. A
# flag that XLA does not know ends the process: jax 0.10 to 0.12 know this one.
_GPU_FLAGS = ("--xla_gpu_graph_min_graph_size=1",)


def _set_xla_flags() -> None:
    """Set, where a GPU's plugin is installed, the flags that the user has not set, and say so;
    before JAX looks for devices."""
    import jax

    plugins = "jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13", "jax_plugins.xla_rocm"
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
    if (platforms or "").startswith("cpu") or not any(map(_installed, plugins)):
        return
    given = os.environ.get("XLA_FLAGS", "")
    own = [flag for flag in _GPU_FLAGS if flag.split("=")[0] not in given]
    if own:
        os.environ["XLA_FLAGS"] = " ".join([given, *own]).strip()
        print(f"note   XLA_FLAGS {' '.join(own)} (--xla-flags off sets none)")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _do_without_home() -> None:
    """A temporary folder for matplotlib and its fonts where there is no home: they would warn
    line after line, and older ones fail when the figures are drawn."""
    if "MPLCONFIGDIR" in os.environ or not unwritable(Path("~/.cache")):
        return
    folder = tempfile.mkdtemp(prefix="jaxbrain-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
    os.environ.setdefault("XDG_CACHE_HOME", folder)


def unwritable(folder: Path) -> str:
    """Why no file can be made in a folder, which is made if missing; empty if one can."""
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        # The folder may be there and be another user's.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
    except RuntimeError:
        return NO_HOME


def start_devices() -> None:
    """Have JAX find its devices.

    Raises:
        ConfigError: if it finds none, or not those that JAX_PLATFORMS names.
    """
    import jax

    try:
        jax.devices()
    # Of a GPU that is not there JAX says no more than an assertion.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or "there is no such device").splitlines()[0]
        reason = reason.partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        if names := jax.config.jax_platforms:  # type: ignore[attr-defined]
            raise ConfigError(
                f"JAX_PLATFORMS is {names!r}: JAX cannot start it here ({reason}): install its "
                'plugin, e.g. pip install -U "jax[cuda13]", or unset JAX_PLATFORMS'
            ) from error
        raise ConfigError(
            f"JAX cannot start here ({reason}): JAX_PLATFORMS=cpu takes the processor"
        ) from error
