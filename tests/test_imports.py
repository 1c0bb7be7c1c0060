"""The import arrows: a module imports only what stands below it."""

import ast
from pathlib import Path

import jaxbrain

ROOT = Path(jaxbrain.__file__).parents[1]
BELOW = {"errors": set(), "types": {"errors"}}
BELOW["config"] = {"types", "errors"}
BASE = {"types", "errors", "config"}
for name in ("nn", "losses", "metrics", "optim", "augment", "data"):
    BELOW[name] = set(BASE)
for name in ("gan", "classifier"):
    BELOW[name] = BASE | {"nn", "losses", "metrics", "optim", "augment"}
BELOW["train"] = BELOW["gan"] | {"gan", "classifier"}
BELOW["stream"] = BELOW["train"] | {"train"}
BELOW["baselines"] = BELOW["train"] | {"train", "data"}
BELOW["audit"] = BELOW["train"] | {"train", "data"}
BELOW["pooled"] = BELOW["train"] | {"train", "data"}
BELOW["protocols"] = BASE | {"data"}
BELOW["lab"] = BELOW["pooled"] | {"pooled", "protocols", "baselines"}
BELOW["study"] = BELOW["lab"] | {"lab"}
BELOW["stats"] = BASE | {"metrics"}
BELOW["report"] = BELOW["stats"] | {"stats"}
BELOW["record"] = BELOW["report"] | {"report"}
BELOW["inspection"] = BELOW["baselines"] | {"baselines", "metrics", "stats", "report"}
BELOW["scores"] = BELOW["stats"] | {"stats"}
BELOW["report_ladder"] = BELOW["report"] | {"report"}
BELOW["checkpoint"] = BELOW["parallel"] = {"types", "errors"}
BELOW["workdir"] = BELOW["record"] | {"record"}
BELOW["loop"] = BELOW["stream"] | BELOW["workdir"] | {"stream", "workdir"}
BELOW["loop"] |= {"checkpoint", "parallel"}
BELOW["fit"] = BELOW["loop"] | {"loop", "audit"}
BELOW["run"] = BELOW["pooled"] | BELOW["fit"] | {"pooled", "fit"}
BELOW["ladder"] = BELOW["study"] | BELOW["workdir"] | {"study", "workdir", "parallel"}
BELOW["ladder"] |= {"scores", "report_ladder"}
BELOW["ablations"] = BELOW["ladder"] | {"ladder"}
BELOW["report_table4"] = BELOW["report_ladder"] | {"report_ladder"}
BELOW["table4"] = BELOW["ladder"] | {"ladder", "report_table4"}
BELOW["commands"] = set(BELOW)
BELOW["__main__"] = {"commands"}
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
    "tensorflow_datasets",
    "sklearn",
    "skimage",
    "pydicom",
    "nibabel",
    "h5py",
}


def imported(path: Path):
    """(dotted name, whether at module level) of every import of a file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in top


def files(package: str):
    return sorted((ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return path.relative_to(ROOT / "jaxbrain").parts[0].removesuffix(".py")


def test_arrows_point_down():
    seen = set()
    for path in files("jaxbrain"):
        name = module(path)
        if name == "__init__":
            continue
        assert name in BELOW, f"{path}: give {name} its place in this test"
        seen.add(name)
        for dotted, _ in imported(path):
            parts = dotted.split(".")
            if parts[0] == "jaxbrain":
                target = parts[1]
                allowed = target == name or target in BELOW[name]
                assert allowed, f"{path.name}: {name} imports {target}"
    assert seen == set(BELOW)


def test_the_order_has_no_cycle():
    for name, below in BELOW.items():
        for other in below:
            assert name not in BELOW[other], f"{name} and {other} import each other"


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
    assert {"jaxbrain.ladder", "jaxbrain.table4", "jaxbrain.nn.ops", "jaxbrain.data.tfds"} <= seen
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
