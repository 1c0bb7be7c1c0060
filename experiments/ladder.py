"""The honest ladder: python -m experiments.ladder [--data DIR] [flags].

The same as `jaxbrain ladder`; jaxbrain/commands/ladder.py says what it does.

    python -m experiments.ladder
    python -m experiments.ladder --data DIR --split kfold --seeds 5
    python -m experiments.ladder --data DIR --generators cgan none \\
        --classifiers cnn_lstm_rows --seeds 3
    python -m experiments.ladder --verify RUN
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("ladder", sys.argv[1:], "python -m experiments.ladder")
