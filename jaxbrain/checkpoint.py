"""States on disk, by Orbax."""

from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from jaxbrain.errors import CheckpointError


def _checkpointer() -> ocp.StandardCheckpointer:
    # Each process by itself: what is saved here is held whole by every one.
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def save(path: str | Path, state) -> None:
    """Write a tree of arrays to a new directory, complete or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(Path(path).absolute(), jax.device_get(state))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


def restore(path: str | Path, like):
    """Read a tree of arrays.

    Args:
        path: a directory that `save` wrote.
        like: a state of the same structure, shapes and dtypes (its values are not used),
            such as `gan.init(cfg, key)` or `jax.eval_shape(...)` of it.

    Raises:
        CheckpointError: if it is missing, damaged, or of other shapes.
    """
    path = Path(path).absolute()
    if not path.is_dir():
        raise CheckpointError(f"{path}: no checkpoint there")
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        with _checkpointer() as checkpointer:
            state = checkpointer.restore(path, target)
    except Exception as error:  # Orbax and TensorStore raise many types, Exception too.
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path}: cannot be restored: {first}") from error
    # Orbax takes arrays of other shapes and types as they are.
    for (name, wanted), leaf in zip(
        jax.tree.leaves_with_path(target), jax.tree.leaves(state), strict=True
    ):
        if (leaf.shape, leaf.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(
                f"{path}: cannot be restored: {jax.tree_util.keystr(name)} is {leaf.dtype} "
                f"{leaf.shape}: expected {wanted.dtype} {wanted.shape}"
            )
    return jax.tree.map(jnp.asarray, state)
