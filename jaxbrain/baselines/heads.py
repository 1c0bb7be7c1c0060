"""Training of a baseline's own network, by the step that every classifier here takes."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import OptimConfig
from jaxbrain.training import classifier, loops, optim
from jaxbrain.types import Array, NetState, Params


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained; every epoch is reshuffled, partial batches are padded."""

    epochs: int
    batch_size: int
    optim: OptimConfig


@partial(jax.jit, static_argnums=(0, 1))
def fit(module: nn.Module, recipe: Recipe, inputs: Array, label: Array, key: Array) -> Params:
    """The parameters of `module` after `recipe.epochs` epochs.

    Args:
        module: `module(inputs, train) -> logits [B, K]`; training draws from "dropout".
        inputs: [N, ...], what it reads; label: [N] int32.
        key: of the whole training.
    """
    init_key, plan_key, step_key = loops.split_key(key)
    params = module.init(init_key, inputs[:1], False)["params"]
    net = NetState(params, {}, optim.make(recipe.optim).init(params))
    plan = loops.Plan(len(label), recipe.batch_size, recipe.batch_size, "every_epoch", "pad")
    total = recipe.epochs * plan.steps()

    def update(state, index, weight):
        step, net = state
        rngs = {"dropout": jax.random.fold_in(step_key, step)}

        def logits(params):
            answers = module.apply({"params": params["net"]}, inputs[index], True, rngs=rngs)
            return answers, {"net": {}}

        nets, sums = classifier.descend(
            recipe.optim, {"net": net}, logits, label[index], weight, step, total
        )
        return (step + 1, nets["net"]), sums

    history = loops.empty_history(loops.CLASSIFIER_METRICS, total)
    carry = (jnp.int32(0), net), history
    (_, net), _ = loops.run_plan(plan, plan_key, update, carry, 0, total)
    return net.params


@partial(jax.jit, static_argnums=0)
def probability(module: nn.Module, params: Params, inputs: Array) -> Array:
    """[N, ...] -> [N, K] float32, rows sum to 1, in bounded memory."""

    def some(part):
        return jax.nn.softmax(module.apply({"params": params}, part, False))

    return loops.map_batches(some, inputs, 16)


def fit_predict(
    module: nn.Module, recipe: Recipe, train_inputs, label, test_inputs, key: Array
) -> np.ndarray:
    """Train on [N, ...] and predict [T, ...]: [T, K] float64, K logits of `module`."""
    params = fit(module, recipe, jnp.asarray(train_inputs), jnp.asarray(label, jnp.int32), key)
    return np.float64(probability(module, params, jnp.asarray(test_inputs)))
