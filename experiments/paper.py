"""The paper from images to tables: python -m experiments.paper [--data DIR] [flags].

The same as `jaxbrain paper`; jaxbrain/commands/paper.py says what it does.

    python -m experiments.paper
    python -m experiments.paper --data DIR --preset cpu --seeds 5
    python -m experiments.paper --gan.steps 1000
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("paper", sys.argv[1:], "python -m experiments.paper")
