"""The paper's own figures, each with what it really was (docs/methods.md, Table 4)."""

from typing import NamedTuple

PAPER_ACCURACY = 119 / 120


class Row(NamedTuple):
    """A row of the paper's Table 4.

    title: as printed, with the number of its reference. accuracy: per cent. what: what
    that figure was.
    """

    title: str
    accuracy: float
    what: str


# By the name of the method here that stands for it.
TABLE4 = {
    "glrlm_cslbp_ann": Row(
        "ANN [26]", 94.0, "[26] benign against malignant tumours, segmented, other images"
    ),
    "radiomics_svm": Row(
        "Linear SVM [27]",
        89.6,
        "[27] an AUC of .896, glioblastoma against metastasis, lesion masks",
    ),
    "vgg16_transfer": Row(
        "VGG-16 [28]", 96.0, "[28] validation accuracy on 233 images of this set"
    ),
    "hbtc_mlp": Row(
        "HBTC + MLP [29]", 98.3, "[29] four tumour types, no healthy class, other images"
    ),
    "cnn_lstm": Row(
        "CNN-LSTM, the paper", 99.1, "the paper: 119 of 120, half of them synthetic (P0)"
    ),
}

# The readings of the paper's own method (docs/paper.md); others are ours.
_READINGS = "cnn_lstm_vector", "cnn_lstm_scalar", "cnn_lstm_rows"


def quoted(name: str) -> tuple[float | None, str]:
    """The figure that the paper's Table 4 has for a method, per cent, and what it was.

    Example:
        >>> quoted("cnn_lstm_rows")
        (99.1, 'the paper: 119 of 120, half of them synthetic (P0)')
        >>> quoted("ridge")
        (None, 'not in the paper')
    """
    if name == "vgg16_scratch":
        _, figure, what = TABLE4["vgg16_transfer"]
        return figure, f"{what}, with ImageNet weights; here the same network without them"
    row = TABLE4.get("cnn_lstm" if name in _READINGS else name)
    return (row.accuracy, row.what) if row else (None, "not in the paper")
