"""The fits of a study as folders: python -m experiments.folds --out DIR [--data DIR] [flags].

The same as `jaxbrain folds`; jaxbrain/commands/folds.py says what it does.

    python -m experiments.folds --data DIR --split kfold --seeds 1 --no-shuffled --out FOLDS
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("folds", sys.argv[1:], "python -m experiments.folds")
