"""What the GAN and the LSTM are worth: python -m experiments.ablations [--data DIR] [flags].

The same as `jaxbrain ablations`; jaxbrain/commands/ablations.py says what it does.

    python -m experiments.ablations
    python -m experiments.ablations --data DIR --seeds 3
    python -m experiments.ablations --data DIR --generator linear
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("ablations", sys.argv[1:], "python -m experiments.ablations")
