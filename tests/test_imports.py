"""The import arrows: a module imports only what stands below it."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import jaxbrain

ROOT = Path(jaxbrain.__file__).parents[1]
# From the top: a room may import from the rooms of the lines below its own, and from its own.
FLOORS = (
    {"__main__"},
    {"commands"},
    {"runs"},
    {"study", "audit"},
    {"baselines"},
    {"training"},
    {"nn", "data"},
    {"scoring", "reports", "config"},
    {"types", "errors", "quoted"},
)
# Rooms of one line know nothing of each other, but these.
BESIDE = {("types", "errors")}
# What a user of the library must not be made to import, or only inside a function.
FORBIDDEN = {
    "experiments",
    "benchmarks",
    "tests",
    "argparse",
    "tyro",
    "torch",
    "tensorflow",
    "pickle",
}
LAZY = {
    "rich",
    "matplotlib",
    "jinja2",
    "tensorflow_datasets",
    "sklearn",
    "skimage",
    "pydicom",
    "nibabel",
    "h5py",
    "tensorboardX",
}


def imported(path: Path):
    """(dotted name, whether at module level) of every import of a file, wherever it stands."""
    tree = ast.parse(path.read_text())
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        top = id(node) not in inner
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", top
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            # Its name is made up as it runs: what stands at its beginning tells the room.
            first = ast.unparse(node.args[0]).lstrip("f").strip("\"'")
            yield first.split("{")[0].rstrip("."), top


def files(package: str):
    return sorted((ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return path.relative_to(ROOT / "jaxbrain").parts[0].removesuffix(".py")


def test_arrows_point_down():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    seen = set()
    for path in files("jaxbrain"):
        room = module(path)
        if room == "__init__":
            continue
        assert room in floor, f"{path}: give {room} its place in this test"
        seen.add(room)
        for dotted, _ in imported(path):
            parts = dotted.split(".")
            # `import jaxbrain` alone imports no room.
            if parts[0] == "jaxbrain" and len(parts) > 1:
                other = parts[1]
                down = other == room or (room, other) in BESIDE or floor[other] > floor[room]
                assert down, f"{path}: {room} imports {other}"
    assert seen == set(floor)


def test_modules_of_a_room_make_no_circle():
    below = {}
    for path in files("jaxbrain"):
        if path.name != "__init__.py":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            below[name] = {dotted for dotted, _ in imported(path)}
    below = {
        name: {other for other in below for dotted in found if f"{dotted}.".startswith(f"{other}.")}
        for name, found in below.items()
    }
    order = graphlib.TopologicalSorter({name: found - {name} for name, found in below.items()})
    assert len(list(order.static_order())) == len(below)


def test_only_some_rooms_name_devices_and_touch_files():
    for path in files("jaxbrain"):
        text, room = path.read_text(), module(path)
        if path.name != "devices.py":
            for name in ("jax.pmap(", "jax.shard_map(", "NamedSharding", "jax.distributed"):
                assert name not in text, f"{path}: {name}"
        # Data reads its inputs and keeps what it decoded; baselines read weights.
        if room in ("study", "audit", "training", "nn", "scoring", "reports"):
            for name in (".write_text", ".write_bytes", "os.replace", ".mkdir"):
                assert name not in text, f"{path}: {name}"


def test_nothing_forbidden_and_heavy_imports_are_lazy():
    for path in files("jaxbrain"):
        for dotted, top in imported(path):
            package = dotted.split(".")[0]
            allowed = package == "tyro" and module(path) == "commands"
            assert allowed or package not in FORBIDDEN, f"{path}: imports {package}"
            assert not (top and package in LAZY), f"{path}: {package} at module level"


def test_the_library_imports_no_entry_point():
    """What `import jaxbrain` imports, followed from file to file."""
    seen, waiting = set(), ["jaxbrain"]
    while waiting:
        name = waiting.pop()
        path = ROOT / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        for dotted, _ in imported(path):
            assert dotted.split(".")[0] != "tyro", path
            parts = dotted.split(".")
            waiting += [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    assert {
        "jaxbrain.runs",
        "jaxbrain.study.study",
        "jaxbrain.nn.ops",
        "jaxbrain.data.tfds",
    } <= seen
    assert not {name for name in seen if name.startswith("jaxbrain.commands")}


def test_no_code_is_ever_loaded():
    """No eval, no exec, no arrays of objects, nothing fetched."""
    loads = 0
    for package in ("jaxbrain", "experiments", "benchmarks"):
        for path in files(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "compile", "yaml.load"), path
                assert "urlopen" not in name and not name.startswith("requests."), path
                if name in ("np.load", "numpy.load"):
                    loads += 1
                    given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert given.get("allow_pickle") == "False", path
    assert loads >= 3


def test_public_names_exist_and_files_are_short():
    for name in jaxbrain.__all__:
        assert hasattr(jaxbrain, name)
    for package in ("jaxbrain", "experiments", "benchmarks"):
        for path in files(package):
            assert len(path.read_text().splitlines()) <= 400, path


IMPORTED = """
import sys
import jaxbrain

def loaded():
    return {name.split(".")[0] for name in sys.modules} & {"jax", "flax", "numpy", "scipy", "PIL"}

assert not loaded(), loaded()
for name in jaxbrain.__all__:
    getattr(jaxbrain, name)
assert jaxbrain.study.study.__name__ == "study" and jaxbrain.train_gan.__name__ == "train_gan"
assert "jax" in loaded()
heavy = "matplotlib sklearn skimage scipy.stats rich.live jinja2 tyro tensorflow_datasets pydicom"
heavy = {*heavy.split(), "nibabel", "h5py", "safetensors", "tensorboardX", "pytest"}
assert not heavy & {*sys.modules}, heavy & {*sys.modules}
"""


def test_importing_jaxbrain_imports_nothing_else_and_all_its_names_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_lazy_name_is_where_type_checkers_see_it():
    tree = ast.parse(Path(jaxbrain.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(jaxbrain.__all__)
    assert set(dir(jaxbrain)) >= seen
