"""Natural mistakes: each gets one message, on standard error, that says what to do."""

import shlex

import pytest
from PIL import Image

from jaxbrain import commands
from jaxbrain.errors import ConfigError
from jaxbrain.study import choose

pytestmark = pytest.mark.smoke

FLAGS = {
    # Names.
    "pape": "unknown verb pape: did you mean paper?",
    "train": "unknown verb train: did you mean train_gan?",
    "paper --epochs 3": "unknown argument --epochs: did you mean --classifier.epochs?",
    "paper --num-epochs 3": "unknown argument --num-epochs: did you mean --classifier.epochs?",
    "paper --steps 9": "unknown argument --steps: did you mean --gan.steps?",
    "paper --gan-steps 9": "unknown argument --gan-steps: did you mean --gan.steps?",
    "paper --classifier.lr 1e-3": "unknown argument --classifier.lr: did you mean "
    "--classifier.optim.learning-rate?",
    "paper --batch-size 4": "unknown argument --batch-size: did you mean --gan.batch-size or "
    "--classifier.batch-size?",
    "paper --lr 1": "unknown argument --lr: did you mean --gan.generator-optim.learning-rate, "
    "--gan.discriminator-optim.learning-rate or --classifier.optim.learning-rate?",
    "paper --image_size 32": "unknown argument --image_size: did you mean --data.image-size or "
    "--gan.image-size?",
    "paper --output x": "unknown argument --output: did you mean --workdir?",
    "paper -seeds 2": "unknown argument -seeds: did you mean --seeds?",
    "paper --xyzzy": "unknown argument --xyzzy: --help-all lists the flags",
    # Values.
    "paper --preset cpuu": "--preset is 'cpuu': expected one of tiny, cpu, recommended, paper; "
    "did you mean cpu?",
    "paper --hybrid.sequence row": "--hybrid.sequence is 'row': expected one of vector, scalar, "
    "rows, both, bidirectional, mirrored; did you mean rows?",
    "paper --seeds 1.5": "--seeds is '1.5': expected a whole number, such as 1",
    "paper --hybrid.dropout lots": "--hybrid.dropout is 'lots': expected a number, such as 0.2",
    "paper --cnn.filters 8 x": "--cnn.filters is 'x': expected a whole number, such as 32",
    "paper --seeds 0": "seeds is 0: expected at least 1",
    "paper --save-every -1": "save_every is -1.0: expected seconds, 0 or more",
    "paper --classifier.epochs=-1": "classifier.epochs is -1: expected a whole number of at least "
    "1",
    "paper --classifier.optim.learning-rate 0": "classifier.optim.learning_rate is 0.0: expected "
    "a number above 0",
    "paper --gan.generator-optim.learning-rate -0.1": "gan.generator_optim.learning_rate is -0.1: "
    "expected a number above 0",
    "paper --data.test-fraction 1": "data.test_fraction is 1.0: expected a number from 0.01 to "
    "below 1",
    "ladder --protocols P5": "protocols is ('P5',): expected some of P0, P1, P2, P3, P4",
    "audit x --features txture": "features is 'txture': expected texture | pixels | classifier | "
    "pretrained; did you mean texture?",
    # Too little, too much.
    "paper --data": "--data has no value: expected --data DIR: folder, zip or tar of images, or "
    "tfds:NAME[:SPLIT]; phantoms without it",
    "paper --workdir --seeds 3": "--workdir has no value: expected --workdir DIR: what the run "
    "writes; runs/<date>_<time>_<verb> without it; an unfinished run there goes on",
    "paper brains": "unknown argument brains: did you mean --data brains?",
    "paper --data my brains": "unknown argument brains: --data takes one value; a path or name "
    "that holds spaces stands in quotes",
    "paper --fresh yes": "--fresh takes no value, found 'yes': expected --fresh alone",
    "ladder --shuffled no": "--shuffled takes no value, found 'no': expected --shuffled alone, or "
    "--no-shuffled to switch it off",
    "sample": "RUN is missing: expected jaxbrain sample RUN, a run of train_gan or paper: its "
    "directory",
    "inspect": "DIR is missing: expected jaxbrain inspect DIR, folder, zip or tar, or "
    "tfds:NAME[:SPLIT]",
    "folds": "out is missing: expected --out DIR, a new or empty folder",
    "audit": "expected a run of train_gan, or --synthetic, --training and --held-out, all three",
    "audit --synthetic x": "expected a run of train_gan, or --synthetic, --training and "
    "--held-out, all three",
}


def refused(line: str, capsys) -> str:
    """What a command line that is refused writes: to standard error alone."""
    verb, *arguments = shlex.split(line)
    with pytest.raises(SystemExit) as stop:
        commands.run(verb, arguments, f"jaxbrain {verb}")
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ")
    return err.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("line", FLAGS)
def test_a_command_line(line, capsys):
    assert refused(line, capsys) == FLAGS[line]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders that are named for others: a class's, one of one class, an empty one, a run's."""
    root = tmp_path_factory.mktemp("places")
    for name in ("two/no", "two/yes", "one/yes"):
        (root / name).mkdir(parents=True)
        Image.new("L", (32, 32)).save(root / name / "a.png")
    (root / "empty").mkdir()
    (root / "run" / "yes").mkdir(parents=True)
    for name in ("notes.txt", "run/config.json", "run/images.csv"):
        (root / name).write_text("{}")
    return root


LAYOUTS = "accepted layouts (images directly inside the class folders, at most one\n"
RUN = "expected the directory of a run, the --workdir of jaxbrain train_gan or paper"
PATHS = {
    "paper --data {}/nowhere": "nowhere: does not exist: expected a folder of images, or a zip or "
    "tar archive of one\n" + LAYOUTS,
    "paper --data {}/notes.txt": "notes.txt: is a file: expected a folder of images, or a zip or "
    "tar archive of one\n" + LAYOUTS,
    "paper --data {}/empty": "empty: no images and no class folders in it\n" + LAYOUTS,
    "paper --data {}/two/yes": "two/yes: 1 images outside any class folder: if it is the folder of "
    "one class, name the folder around it\n" + LAYOUTS,
    "paper --data {}/one": "one: one class only: yes: expected two or more, each in a folder of "
    "its own\n" + LAYOUTS,
    "paper --data {}/run": "run: is the directory of a run: expected a folder of images; sample "
    "and audit take runs",
    "paper --data {}/two --positive maybe": "positive is 'maybe': expected one of two classes, "
    "found no, yes",
    "sample {}/two": f"two: holds no config.json: {RUN}",
    "audit {}/nowhere": f"nowhere: does not exist: {RUN}",
    "ladder --verify {}/nowhere": "nowhere/ladder.json: missing: expected the directory of a "
    "ladder run",
    "search --arms {}/nowhere.json": "cannot be read: [Errno 2] No such file or directory",
    "paper --cache {}/notes.txt": "notes.txt: cannot be written: File exists",
}


@pytest.mark.parametrize("line", PATHS)
def test_a_path(line, places, capsys):
    message = refused(line.format(places), capsys)
    assert PATHS[line] in message
    # Of a path, what is wrong stands in the first line.
    assert message.splitlines()[0].count(": ") >= 1


def test_a_method_that_is_nearly_spelt():
    with pytest.raises(ConfigError) as caught:
        choose.classifiers(["ridg"])
    text = str(caught.value)
    assert text.startswith("classifiers has 'ridg': expected some of cnn_lstm_vector, ")
    assert text.endswith("or module:object; did you mean ridge?")
    with pytest.raises(ConfigError, match="or folder:DIR; did you mean cgan\\?$"):
        choose.generators(["cgn"])
