"""Judging what a GAN draws."""
