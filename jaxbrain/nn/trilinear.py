"""Convolutions closed under differentiation.

A convolution y = conv(x, w), its transpose x = transpose(y, w) and its kernel's gradient
w = outer(x, y) are the three partial derivatives of one trilinear form <y, conv(x, w)>,
so each one's gradients are the other two. Where each is computed in a form that is fast,
gradients of any order are. (Forward-mode differentiation is not defined.)

Here `pads` is ((top, bottom), (left, right)) and `size` the (height, width) of x.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax


class Trilinear(NamedTuple):
    """conv(x, kernel, stride, pads): [B, H, W, C_in], [k, k, C_in, C_out] -> [B, H', W', C_out]
    transpose(y, kernel, stride, pads, size): [B, H', W', C_out] -> [B, *size, C_in]
    outer(x, y, k, stride, pads): -> [k, k, C_in, C_out]
    """

    conv: Callable
    transpose: Callable
    outer: Callable


def closed(conv: Callable, transpose: Callable, outer: Callable) -> Trilinear:
    """The three, computed as the arguments compute them, with one another for gradients."""
    conv = jax.custom_vjp(conv, nondiff_argnums=(2, 3))
    transpose = jax.custom_vjp(transpose, nondiff_argnums=(2, 3, 4))
    outer = jax.custom_vjp(outer, nondiff_argnums=(2, 3, 4))
    # The forward rules call the three themselves, so that they can be differentiated again.
    conv.defvjp(
        lambda x, kernel, *how: (conv(x, kernel, *how), (x, kernel)),
        lambda stride, pads, saved, g: (
            transpose(g, saved[1], stride, pads, saved[0].shape[1:3]),
            outer(saved[0], g, saved[1].shape[0], stride, pads),
        ),
    )
    transpose.defvjp(
        lambda y, kernel, *how: (transpose(y, kernel, *how), (y, kernel)),
        lambda stride, pads, size, saved, g: (
            conv(g, saved[1], stride, pads),
            outer(g, saved[0], saved[1].shape[0], stride, pads),
        ),
    )
    outer.defvjp(
        lambda x, y, *how: (outer(x, y, *how), (x, y)),
        lambda k, stride, pads, saved, g: (
            transpose(saved[1], g, stride, pads, saved[0].shape[1:3]),
            conv(saved[0], g, stride, pads),
        ),
    )
    return Trilinear(conv, transpose, outer)
