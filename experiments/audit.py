"""What a generator draws, and what it copies: python -m experiments.audit [RUN] [flags].

The same as `jaxbrain audit`; jaxbrain/commands/audit.py says what it does.

    python -m experiments.audit RUN
    python -m experiments.audit --synthetic DIR --training DIR --held-out DIR --workdir W
    python -m experiments.audit --verify W
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("audit", sys.argv[1:], "python -m experiments.audit")
