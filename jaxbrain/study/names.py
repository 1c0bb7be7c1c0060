"""Names of generators in a study: who draws, and what its images are for.

    cgan            real images train, and as many synthetic ones as the protocol says
    cgan@50         50 synthetic images of each class
    cgan@only       synthetic images alone train, real ones are tested (TSTR)
    cgan@filtered   near-copies of the images that the generator saw give way to others that it
                    draws (`filtering`)
    none            no synthetic images

Behind the last `@` stand a number, `only` and `filtered`, those that are wanted, in this order and
with commas between: cgan@50,only,filtered. Before it stands a generator's own name; where methods
are chosen also module:object, or folder:DIR, whose path may hold `@` and commas itself.
"""

from typing import NamedTuple

from jaxbrain.config.studies import NONE
from jaxbrain.errors import ConfigError

FOLDER = "folder:"


class Modes(NamedTuple):
    """dose: synthetic images of each class, None for the protocol's number. only: no real image
    trains. filtered: no near-copy does."""

    dose: int | None = None
    only: bool = False
    filtered: bool = False


def _modes(text: str) -> Modes | None:
    words = text.split(",")
    dose = int(words.pop(0)) if words[0].isdecimal() else None
    if dose == 0 or [word for word in Modes._fields[1:] if word in words] != words:
        return None
    return Modes(dose, *(word in words for word in Modes._fields[1:]))


def parted(generator: str) -> tuple[str, Modes]:
    """What a name says: the generator's own name, and its modes.

    A path may hold `@`: of a folder's name what is no mode belongs to the path.

    Raises:
        ConfigError: for modes that are none, for two of a kind, for modes of "none".

    Example:
        >>> parted("cgan@50,filtered")
        ('cgan', Modes(dose=50, only=False, filtered=True))
    """
    name, at, text = generator.rpartition("@")
    if not at:
        return generator, Modes()
    found, is_folder = _modes(text), name.startswith(FOLDER)
    if found is None and is_folder:
        return generator, Modes()
    if found is None or name in ("", NONE) or ("@" in name and not is_folder):
        raise ConfigError(
            f"generators has {generator!r}: expected a name such as cgan@50, cgan@only or "
            "cgan@50,only,filtered: a number from 1, only, filtered, in this order"
        )
    return name, found


def base(generator: str) -> str:
    """ "cgan@50" -> "cgan"."""
    return parted(generator)[0]


def dose(generator: str) -> int | None:
    """Synthetic images per class that a name asks for ("cgan@50" -> 50), or None."""
    return parted(generator)[1].dose


def unfiltered(generator: str) -> str:
    """The same without its filter: "cgan@50,filtered" -> "cgan@50"; others as they are."""
    if not parted(generator)[1].filtered:
        return generator
    return generator.removesuffix("filtered").rstrip(",").removesuffix("@")
