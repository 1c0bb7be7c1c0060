"""Names of generators: what stands behind the last `@`."""

import pytest

from jaxbrain.errors import ConfigError
from jaxbrain.study import choose
from jaxbrain.study.methods import Generator
from jaxbrain.study.names import Modes, base, dose, parted, unfiltered


@pytest.mark.parametrize(
    ("name", "own", "modes", "without"),
    [
        ("cgan", "cgan", Modes(), "cgan"),
        ("none", "none", Modes(), "none"),
        ("cgan@50", "cgan", Modes(50), "cgan@50"),
        ("cgan@only", "cgan", Modes(only=True), "cgan@only"),
        ("cgan@filtered", "cgan", Modes(filtered=True), "cgan"),
        ("cgan@50,filtered", "cgan", Modes(50, filtered=True), "cgan@50"),
        ("cgan@only,filtered", "cgan", Modes(None, True, True), "cgan@only"),
        ("a.b:c@7,only,filtered", "a.b:c", Modes(7, True, True), "a.b:c@7,only"),
        ("folder:/a@b/c,d", "folder:/a@b/c,d", Modes(), "folder:/a@b/c,d"),
        ("folder:/a@b/c,d@only", "folder:/a@b/c,d", Modes(only=True), "folder:/a@b/c,d@only"),
        ("folder:a@5,filtered", "folder:a", Modes(5, filtered=True), "folder:a@5"),
    ],
)
def test_a_name_in_its_parts(name, own, modes, without):
    assert parted(name) == (own, modes)
    assert (base(name), dose(name), unfiltered(name)) == (own, modes.dose, without)


@pytest.mark.parametrize(
    "wrong",
    "cgan@ cgan@0 cgan@-1 cgan@x cgan@only@50 cgan@50@only none@only none@5 @50 cgan@only,50 "
    "cgan@filtered,only cgan@50,50 cgan@only,only cgan@50, cgan@,only a:b@c".split(),
)
def test_what_is_no_mode(wrong):
    with pytest.raises(
        ConfigError, match=f"generators has '{wrong}': .*such as cgan@50, cgan@only"
    ):
        parted(wrong)
    with pytest.raises(ConfigError, match="expected a name such as"):
        choose.generators((wrong,))


def test_a_method_keeps_its_modes():
    own = Generator("own", lambda cfg, train, label, key: None)
    names, found = choose.generators(("linear@3,only", "none", own, "own@only", "linear"))
    assert names == ("linear@3,only", "none", "own", "own@only", "linear")
    assert list(found) == ["linear", "own"] and found["own"] is own
    with pytest.raises(ConfigError, match="expected each once"):
        choose.generators(("linear@only", "linear@only"))
