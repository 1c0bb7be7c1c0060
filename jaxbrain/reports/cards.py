"""The cards of an export: what a model is, what it was measured on, what its data were."""

from jaxbrain.reports import drawing
from jaxbrain.reports.drawing import number
from jaxbrain.reports.page import escaped, markdown_table

_NOTICE = "**For research. Not a medical device: no diagnosis, no decision about a patient.**"
_P0_ALONE = (
    "**P0 is no estimate for new patients.** Under it, synthetic images and copies of training "
    "images are tested too. No honest number (P3, or P4 on another source) was measured for this "
    "export: `jaxbrain ladder` on the same images measures one, and `jaxbrain export --evaluated` "
    "puts it here."
)
_PROTOCOLS = (
    "P0 is the paper's protocol: real and synthetic images are pooled and split, so that it tests "
    "synthetic images and copies of training images. Under P3 nothing of a test set, and no copy "
    "of it, is seen in training. P4 tests images of another source. Both were measured on networks "
    "of the same kind, trained anew for each test, not on this one. Intervals are 95 %."
)
_HOW = """\
Files of this folder need `jax`, `flatbuffers` and `numpy`; reading pictures needs `pillow`.
jaxbrain is not needed.

```
pip install jax flatbuffers pillow scipy
python load.py IMAGE...
```

```python
import load  # with this folder on the path
{lines}
```"""
_FILES = {
    "classifier.jaxexport": "images to probabilities: a serialised `jax.export` program",
    "generator.jaxexport": "classes and a key to images: a serialised `jax.export` program",
    "classifier.safetensors": "the classifier's arrays, float32",
    "generator.safetensors": "the generator's arrays, float32",
    "config.json": "every setting of the training",
    "metadata.json": "classes, sizes, how images are read, versions",
    "load.py": "runs the programs, and reads pictures",
    "DATA_CARD.md": "what the training images were",
    "SHA256SUMS": "checksums: `sha256sum -c SHA256SUMS`",
}


def model_card(about: dict) -> str:
    """`README.md`, with a head that Hugging Face reads.

    about: see `runs.export`; every number in it was measured.
    """
    nets = " and ".join(name for name in ("classifier", "generator") if name in about["parts"])
    parts = [
        _head(about),
        f"# {_images(about)}: a {nets}",
        _NOTICE,
        _made(about),
        "## Intended use",
        "Research on classifiers and generators of brain MR slices: to repeat a result, to compare "
        "methods, to teach. Images must be of the kind that it was trained on (DATA_CARD.md).",
        "## Limitations",
        "\n".join(f"- {text}" for text in _limits(about)),
        "## Training data",
        "DATA_CARD.md says what is known. No image, no file name and no patient's id is in this "
        "folder.",
        "## Evaluation",
        *_evaluation(about),
        "## How to run",
        _HOW.format(lines="\n".join(_lines(about))),
        "## Files",
        "\n".join(f"- `{name}`: {text}" for name, text in _FILES.items() if name in about["files"]),
        "The programs run on " + ", ".join(about["platforms"]) + f" and were written by jax "
        f"{about['versions']['jax']}; newer versions read them for at least six months.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(about: dict) -> str:
    tags = ["jax", "mri", "brain", "research"]
    classifies = "classifier" in about["parts"]
    task = "image-classification" if classifies else "unconditional-image-generation"
    lines = [
        "---",
        # Of the weights: it depends on whose images they were.
        "license: unknown",
        "library_name: jax",
        f"pipeline_tag: {task}",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "---",
    ]
    return "\n".join(lines)


def _images(about: dict) -> str:
    """What was learned from."""
    return "Phantoms, not brain images" if about["data"]["phantoms"] else "Brain MR slices"


def _made(about: dict) -> str:
    classes = ", ".join(escaped(name) for name in about["classes"])
    positive = about["positive"]
    known = f" (positive: {escaped(positive)})" if positive else ""
    sizes = [f"{count:,} parameters of the {name}" for name, count in about["parts"].items()]
    versions = about["versions"]
    code = f"jaxbrain {versions['jaxbrain'] or 'of a source tree'}"
    if versions["commit"]:
        code += f", commit {versions['commit'][:12]}"
    return (
        f"Classes: {classes}{known}. Trained by `jaxbrain {about['kind']}`, seed {about['seed']}: "
        f"{', '.join(sizes)}. Written by {code}. The licence is that which the owners of the "
        "training images allow: it is not known here."
    )


def _limits(about: dict) -> list[str]:
    found = []
    if "classifier" in about["parts"]:
        found += [
            "The probabilities are not calibrated.",
            "Every image gets a class, also one that is no brain MR slice.",
            "Slices of other scanners, sequences or orientations than the training images' were "
            "not measured" + (", but those of P4 below." if _has(about, "P4") else "."),
        ]
    if "generator" in about["parts"]:
        found.append(
            "Synthetic images are not anonymous: they may copy training images. `jaxbrain audit` "
            "measures that; it is not part of this export."
        )
    return [*found, "Nothing is known of the patients' age, sex or origin."]


def _has(about: dict, protocol: str) -> bool:
    return any(cell["protocol"] == protocol for cell in about["cells"])


def _evaluation(about: dict) -> list[str]:
    parts = []
    if about["cells"]:
        parts += [_PROTOCOLS, markdown_table(*_table(about))]
    if "classifier" in about["parts"] and not (_has(about, "P3") or _has(about, "P4")):
        parts.append(_P0_ALONE)
    if about["differences"]:
        shown = "; ".join(escaped(text) for text in about["differences"])
        parts.append(f"The evaluated run had other settings than this model: {shown}.")
    if about["gan"]:
        parts.append("\n".join(f"- {escaped(text)}" for text in about["gan"]))
    return [*parts, *about["check"]]


def _table(about: dict) -> tuple[list[str], list[list[str]]]:
    header = ["protocol", "of", "trained beside", "accuracy, %", "AUROC", "recall", "specificity"]
    rows = [
        [
            cell["protocol"],
            f"{cell['of']}, {_count(cell['num_seeds'], 'seed')}",
            "real images alone" if cell["generator"] == "none" else cell["generator"],
            drawing.accuracy(cell),
            *(number(cell["metrics"].get(k), 3) for k in ("auroc", "recall", "specificity")),
            f"{cell['n']} in {_count(cell['num_tests'], 'test')}",
        ]
        for cell in about["cells"]
    ]
    return [*header, "n"], rows


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _lines(about: dict) -> list[str]:
    side, last = about["image_size"], repr(about["classes"][-1])
    found = []
    if "classifier" in about["parts"]:
        found += [
            'load.classify(["scan.png"])  # [1, K] float32, in the order of the classes',
            f"load.classify(images)  # [N, {side}, {side}, 1] uint8",
        ]
    if "generator" in about["parts"]:
        found.append(f"load.draw([{last}] * 4, seed=0)  # [4, S, S, 1] uint8")
    return found


def data_card(about: dict) -> str:
    """`DATA_CARD.md`."""
    data, read = about["data"], about["reading"]
    rows = [[name, str(count)] for name, count in data["images"].items()]
    parts = [
        "# The training images",
        _NOTICE,
        f"Source: {'phantoms, drawn by jaxbrain' if data['phantoms'] else 'a folder of images'}. "
        f"{data['distinct']} distinct pictures in {data['groups']} groups of near-duplicates.",
        markdown_table(["class", "images"], rows),
        *map(escaped, data["used"]),
        "## How they are read",
        f"Grey levels in 0 to 255, upright; crop: {read['crop']}; to a square by: "
        f"{read['square']}; resized to {about['image_size']} pixels a side by an antialiased "
        "bicubic filter.",
        "## Not known here",
        "Who took the images, of whom, with which scanners, whether the labels are right, who gave "
        "consent, and under which licence they may be used: say it here before you share this.",
        "No image, no file name and no patient's id is in this folder.",
    ]
    return "\n\n".join(parts) + "\n"
