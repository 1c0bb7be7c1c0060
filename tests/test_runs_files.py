"""Files of a run: whole or not there, cells of tables, names."""

import csv
import json

import pytest

from jaxbrain.runs import files


def test_a_file_is_whole_or_what_was_there_before(tmp_path):
    path = tmp_path / "results.json"
    files.write_json(path, {"x": [0.1, None]})
    assert json.loads(path.read_text()) == {"x": [0.1, None]}
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), files.whole(path) as file:
        file.write("half of")
        file.flush()
        assert path.read_bytes() == before
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    with pytest.raises(ZeroDivisionError):
        files.write_csv(path, ["a"], ([1 / i] for i in (2, 1, 0)))
    assert path.read_bytes() == before
    with pytest.raises(KeyboardInterrupt), files.whole(tmp_path / "new", "wb") as file:
        file.write(b"half of")
        raise KeyboardInterrupt
    assert not (tmp_path / "new").exists()
    with files.whole(path, "wb") as file:
        file.write(b"\0\n")
    assert path.read_bytes() == b"\0\n"


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"accuracy": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_cells_of_csv_files():
    """Formulas, and names that are no UTF-8; numbers stay."""
    assert files.cell("=cmd.jpg") == "'=cmd.jpg"
    assert files.cell("@x") == "'@x"
    assert files.cell("-0.5") == "-0.5"
    assert files.cell("no/=cmd.jpg") == "no/=cmd.jpg"
    assert files.cell("bad\udcff.jpg") == "bad\\udcff.jpg"
    assert files.cell(3) == 3


def test_names_of_files_and_headers(tmp_path):
    assert files.file_name("glioma (1)", 2) == "glioma (1)"
    for name in ("HGG/LGG", "../../x", "x" * 255, "b\udcff", ""):
        assert files.file_name(name, 2) == "class2"
    files.write_csv(tmp_path / "x.csv", ["p_b\udcff", "=p"], [[1, 2]])
    assert (tmp_path / "x.csv").read_text().splitlines()[0] == r"p_b\udcff,'=p"
    files.write_csv(tmp_path / "x.csv", ["a", "b"], [["x,y", 'say "no"\n'], ["=1", 0.5]])
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["x,y", 'say "no"\n'], ["'=1", "0.5"]]
