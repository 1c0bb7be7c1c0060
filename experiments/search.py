"""A search that looks at no test fold: python -m experiments.search [--data DIR] [flags].

The same as `jaxbrain search`; jaxbrain/commands/search.py says what it does.

    python -m experiments.search --data DIR --preset recommended
    python -m experiments.search --data DIR --preset recommended --arms FILE.json --seeds 2
    python -m experiments.search --verify RUN
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("search", sys.argv[1:], "python -m experiments.search")
