"""A run's networks as a folder: python -m experiments.export RUN DIR [flags].

The same as `jaxbrain export`; jaxbrain/commands/export.py says what it does.

    python -m experiments.export RUN DIR
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("export", sys.argv[1:], "python -m experiments.export")
