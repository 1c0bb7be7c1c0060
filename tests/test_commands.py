"""What entry points share."""

import contextlib
import io
from pathlib import Path

import pytest

from jaxbrain.commands import common, ladder
from jaxbrain.errors import ConfigError


@pytest.mark.parametrize("text, cache", [("off", "off"), ("auto", "auto"), ("x", Path("x"))])
def test_cache_is_a_word_or_a_folder(text, cache):
    got = common.parse(common.Hardware, ["--cache", text], default=common.Hardware())
    assert got.cache == cache


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_a_refusal_is_one_line_whatever_the_terminal(encoding):
    """tyro draws its box of other signs where standard output is not UTF-8."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with contextlib.redirect_stdout(terminal), pytest.raises(ConfigError) as caught:
        common.parse(common.Hardware, ["--devices", "-2"], default=common.Hardware())
    assert str(caught.value) == "devices is -2: expected 0 or more"


def test_the_trainings_of_a_study_are_spread_whole():
    with pytest.raises(ConfigError, match="parallel is 'sharded': expected none, .*--mapping devi"):
        ladder.main(["--parallel", "sharded", "--devices", "2"])
    with pytest.raises(ConfigError, match="devices is 2: expected 1 without --mapping devices"):
        ladder.main(["--devices", "2"])
