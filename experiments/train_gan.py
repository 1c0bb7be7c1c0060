"""The conditional GAN with held-out images: python -m experiments.train_gan [--data DIR] [flags].

The same as `jaxbrain train_gan`; jaxbrain/commands/train_gan.py says what it does.

    python -m experiments.train_gan
    python -m experiments.train_gan --data DIR --preset cpu --held-out 0.25 --seeds 3
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("train_gan", sys.argv[1:], "python -m experiments.train_gan")
