"""Flax Linen modules: they know shapes, not training."""
