"""Table 4 on one footing: python -m experiments.table4 [--data DIR] [flags].

The same as `jaxbrain table4`; jaxbrain/commands/table4.py says what it does.

    python -m experiments.table4
    python -m experiments.table4 --data DIR --rows glrlm_cslbp_ann radiomics_svm hbtc_mlp
    python -m experiments.table4 --data DIR --generator cgan --weights vgg16.safetensors
"""

import sys

from jaxbrain import commands

if __name__ == "__main__":
    commands.run("table4", sys.argv[1:], "python -m experiments.table4")
