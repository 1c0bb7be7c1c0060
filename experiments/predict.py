"""What a finished run says of new images: python -m experiments.predict RUN IMAGE... [flags].

The same as `jaxbrain predict`; jaxbrain/commands/predict.py says what it does.

    python -m experiments.predict RUN scan.png
    python -m experiments.predict RUN DIR --explain
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("predict", sys.argv[1:], "python -m experiments.predict")
