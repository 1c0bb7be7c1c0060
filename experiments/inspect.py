"""What a set of images is, before anything is trained: python -m experiments.inspect DIR.

The same as `jaxbrain inspect`; jaxbrain/commands/inspect.py says what it does.

    python -m experiments.inspect DIR
    python -m experiments.inspect SET.zip --json
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("inspect", sys.argv[1:], "python -m experiments.inspect")
