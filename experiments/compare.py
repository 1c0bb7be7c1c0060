"""Finished runs side by side: python -m experiments.compare RUN RUN... [--out DIR].

The same as `jaxbrain compare`; jaxbrain/commands/compare.py says what it does.

    python -m experiments.compare runs/A runs/B
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("compare", sys.argv[1:], "python -m experiments.compare")
