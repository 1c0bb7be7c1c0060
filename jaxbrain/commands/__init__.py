"""Entry points: `jaxbrain VERB`, a module each; nothing of the library imports them."""

import difflib
import importlib

from jaxbrain.commands import process
from jaxbrain.errors import ConfigError

VERBS = {
    "inspect": "what a set of images is, before anything is trained",
    "paper": "the paper from images to tables, by its own protocol",
    "ladder": "the protocols P0 to P4 beside each other: what each leak is worth",
    "folds": "the fits of a study as folders, for generators of any kind",
    "table4": "the methods of the paper's Table 4 on the same folds",
    "ablations": "what the GAN and the LSTM are worth",
    "search": "arms chosen inside training folds, and what choosing by test folds adds",
    "train_gan": "the GAN alone, on all images but a held-out share",
    "predict": "what a finished run says of new images, and what that rests on",
    "sample": "synthetic images from a GAN of a run",
    "audit": "what a generator draws, and what it copies: of a run, or of folders",
    "compare": "finished runs side by side, with paired tests where their folds match",
    "export": "a run's networks as a folder that needs no jaxbrain, with model and data cards",
}


def run(verb: str, arguments: list[str], prog: str) -> None:
    """Do what a verb is for, as a whole process: see `process.main`.

    Args:
        verb: as it was typed.
        arguments: what came after it.
        prog: what came before them, such as "jaxbrain paper", for `--help` and `config.json`.
    """

    def chosen():
        if verb not in VERBS:
            near = difflib.get_close_matches(verb, VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help lists the verbs"
            if verb.startswith("-"):
                hint = "a verb comes first, as in jaxbrain paper --data DIR; --help lists them"
            raise ConfigError(f"unknown verb {verb}: {hint}")
        importlib.import_module(f"jaxbrain.commands.{verb}").main(arguments, prog)

    process.main(chosen)


def usage(prog: str) -> str:
    """The verbs, a line each."""
    lines = [f"  {verb:<11}{text}" for verb, text in VERBS.items()]
    head = f"usage: {prog} VERB [flags]"
    last = f"{prog} VERB --help shows the main flags of a verb, --help-all every flag."
    return "\n".join([head, "", *lines, "", last])
