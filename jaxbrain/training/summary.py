"""The networks of a configuration as text: layers, shapes, parameters."""

import functools
import re

import flax.linen as nn
import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator

# Columns of the text.
_WIDTH = 140


@functools.lru_cache(maxsize=8)
def tabulated(cfg: Config, gan: bool = True, classifier: bool = True) -> str:
    """The layers of the GAN's networks, of the classifier's, or of both, with the shapes of what
    goes in and comes out for one image, and their parameters. Nothing is compiled.

    Example:
        >>> from jaxbrain import config
        >>> text = tabulated(config.tiny(), classifier=False)
        >>> "Generator Summary" in text, "CNN Summary" in text
        (True, False)
    """
    label = np.zeros((1,), np.int32)
    side, channels = cfg.gan.image_size, cfg.data.channels
    texts = []

    def add(module: nn.Module, *inputs, **how) -> None:
        console = {"width": _WIDTH, "force_terminal": False, "color_system": None}

        def trace() -> None:
            table = nn.tabulate(module, jax.random.key(0), console_kwargs=console, **how)
            texts.append(table(*inputs, False))

        # Inside it not even the key is computed.
        jax.eval_shape(trace)

    if gan:
        add(Generator(cfg), np.zeros((1, cfg.gan.latent_size), np.float32), label)
        add(Discriminator(cfg), np.zeros((1, side, side, channels), np.float32), label)
    if classifier:
        size = cfg.data.image_size
        image = np.zeros((1, size, size, channels), np.float32)
        method = {"method": "features"} if cfg.classifier.mode == "end_to_end" else {}
        add(CNN(cfg), image, **method)
        if cfg.classifier.mode != "cnn":

            def features():
                key = jax.random.key(0)
                return CNN(cfg).init_with_output(key, image, False, method="features")[0]

            read = jax.eval_shape(features)
            add(Hybrid(cfg), np.zeros(read.shape, read.dtype))
    text = "\n".join(text.strip("\n") + "\n" for text in texts)
    # Addresses of functions: the same networks have the same text.
    return re.sub(r"0x[0-9a-f]+", lambda found: "".ljust(len(found[0])), text)
