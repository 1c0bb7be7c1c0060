"""Synthetic images from a GAN of a run: python -m experiments.sample RUN [flags].

The same as `jaxbrain sample`; jaxbrain/commands/sample.py says what it does.

    python -m experiments.sample RUN
    python -m experiments.sample RUN --n 16 --class yes --out DIR
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("sample", sys.argv[1:], "python -m experiments.sample")
