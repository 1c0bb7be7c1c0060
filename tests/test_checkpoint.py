"""States survive the disk exactly; what cannot be restored is an error."""

import gc

import chex
import jax
import pytest
from conftest import change, small

from jaxbrain import checkpoint, gan
from jaxbrain.errors import CheckpointError

INIT = jax.jit(gan.init, static_argnums=0)


def test_round_trip(tmp_path, key):
    cfg = change(small(), "gan", average_half_life=3.0)
    state = INIT(cfg, key)
    checkpoint.save(tmp_path / "gan", state)
    # Only shapes of the target matter.
    like = jax.eval_shape(lambda: gan.init(cfg, key))
    back = checkpoint.restore(tmp_path / "gan", like)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    chex.assert_trees_all_equal(back, state)
    chex.assert_trees_all_equal_dtypes(back, state)


# Orbax leaves a closed event loop behind when a restore fails; it must not reach the
# tests that come after, so it is collected here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_refuses(tmp_path, key):
    cfg = small()
    state = INIT(cfg, key)
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'none'}: no checkpoint there"):
        checkpoint.restore(tmp_path / "none", state)
    checkpoint.save(tmp_path / "gan", state)
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "gan", state)
    wider = jax.eval_shape(lambda: gan.init(change(cfg, "gan", filters=8), key))
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'gan'}: cannot be restored"):
        checkpoint.restore(tmp_path / "gan", wider)
    (tmp_path / "gan" / "_METADATA").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be restored"):
        checkpoint.restore(tmp_path / "gan", state)
    gc.collect()
