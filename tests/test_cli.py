"""What entry points share."""

from pathlib import Path

import pytest

from experiments import cli


@pytest.mark.parametrize("text, cache", [("off", "off"), ("auto", "auto"), ("x", Path("x"))])
def test_cache_is_a_word_or_a_folder(text, cache):
    got = cli.parse(cli.Hardware, ["--cache", text], default=cli.Hardware())
    assert got.cache == cache
