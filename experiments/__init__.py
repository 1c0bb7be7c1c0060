"""`jaxbrain VERB` from a checkout, as `python -m experiments.VERB`; and results in `results/`."""
