"""What the names of class folders mean: which is the normal one, which the positive."""

import os
import re
import unicodedata
from pathlib import Path

from jaxbrain.errors import ConfigError

_NORMAL = {"no", "normal", "healthy", "negative", "control", "controls"} | {
    f"{prefix}{tumor}" for prefix in ("no", "non", "without") for tumor in ("tumor", "tumour")
}
_TUMOUR = {"yes", "positive", "tumor", "tumour", "withtumor", "withtumour"}


def text_of(name: str) -> str:
    """A file's name as the text that it is in UTF-8, whatever the locale takes it for."""
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # It is text already.
        return name


def fold(text: str) -> str:
    """Lower case without accents, so that sağlıklı, SAĞLIKLI and saglikli are one word."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def _vocabulary(text: str) -> set[str]:
    return set(fold(text).split())


# Words that negate what follows them, or what stands before them.
_BEFORE = _vocabulary(
    "no non not none without wo lacking lacks minus sin sans ohne kein keine nicht sem não senza "
    "без нет не 非 无 無 没有 沒有 未"
)
_AFTER = _vocabulary("free frei absent absence negative neg less yok olmayan なし")
# Letters that negate only beside the word itself: asymptomatic and symptomatic.
_BESIDE = ("a", "an", "in", "un", "im")
_HEALTHY = _vocabulary(
    "normal healthy control ctrl ctrls ctl cntrl hc cn nc td tdc unaffected unremarkable clear "
    "clean intact wildtype false nein hayır nie nee sano sana sanos sanas sain saine norm norma "
    "норма здоровый 正常 健康 健常 否 정상"
)
# Beginnings of words that mean healthy, in the languages where they are declined.
_HEALTHY_STEMS = tuple(
    _vocabulary("normal normau control kontrol contrôl sağlık gesund saudav zdrow здоров healthy")
)
_ILL = _vocabulary(
    "yes positive pos true present with abnormal unhealthy affected infected parasitized "
    "pathological pathology patient patients disease diseased sick ill cancer cancerous malignant "
    "malignancy neoplasm lesion lesions mass gbm hgg lgg pituitary adenoma stroke haemorrhage "
    "hemorrhage ischemia ischaemia bleed edema oedema demented dementia alzheimer epilepsy infarct "
    "ja evet да oui sí si tak 是 有 あり hasta 癌 病"
)
_ILL_STEMS = tuple(
    _vocabulary(
        "anormal anormau abnormal tumor tumour tümör tumeur gliom glioblastom meningiom astrocytom "
        "metasta carcinom karzinom sarcom lymphom krebs krank enferm malad опухол глиом боль chor "
        "肿瘤 腫瘤 腫瘍 종양 läsion"
    )
)


def letters_of(name: str) -> str:
    """What is left of a name without case, separators and ways to write an accent."""
    return re.sub(r"[\s_-]", "", unicodedata.normalize("NFC", name).casefold())


def canonical(name: str) -> str:
    """Common spellings of normal and tumour become "no" and "yes"; others stay."""
    letters = letters_of(name)
    if letters in _NORMAL:
        return "no"
    return "yes" if letters in _TUMOUR else name


def words_of(name: str) -> list[str]:
    """The words of a name, folded: "NoGlioma_2" -> no, glioma, 2."""
    spaced = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    plain = re.sub(r"\bw[\s_-]?o(?=[\s_-])", "without", fold(spaced))
    return re.findall(r"[^\W\d_]+|\d+", plain)


def _healthy(word: str) -> bool:
    return word in _HEALTHY or word.startswith(_HEALTHY_STEMS)


def _ill(word: str) -> bool:
    return word in _ILL or word.startswith(_ILL_STEMS)


def _joined(word: str, others: set[str]) -> int | None:
    """The meaning of one word with a negation inside, such as notumor or tumorfree;
    others: what may be negated besides the words that are known."""
    for prefix in sorted(_BEFORE | {"un"}, key=len, reverse=True):
        rest = word.removeprefix(prefix)
        if rest != word and _healthy(rest):
            return 1
        if rest != word and (rest in others or _ill(rest)):
            return -1
    for suffix in sorted(_AFTER, key=len, reverse=True):
        rest = word.removesuffix(suffix)
        if rest != word and (rest in others or _ill(rest)):
            return -1
    # Short names, such as MCI and aMCI, are no such pairs.
    beside = any(word == prefix + one for prefix in _BESIDE for one in others if len(one) > 3)
    return -1 if beside else None


def meaning(name: str, others: tuple[str, ...] = ()) -> int:
    """-1 for a name that negates or means healthy, 1 for one that says ill, 0 for others.

    others: the other classes, which a negation may name (nonenhancing beside enhancing).

    Example:
        >>> meaning("no_glioma"), meaning("Tumor-free"), meaning("abnormal"), meaning("T2")
        (-1, -1, 1, 0)
    """
    if sign := re.search(r"([-+−])\s*(?:ve)?\)?$", name):
        return 1 if sign[1] == "+" else -1
    words = words_of(name)
    known = {word for other in others for word in [*words_of(other), "".join(words_of(other))]}
    known = {word for word in known if not _healthy(word)}
    for before, word in zip(["", *words], words, strict=False):
        if _healthy(word):
            return 1 if before in _BEFORE else -1
    whole = _joined("".join(words), known)
    if whole is not None:
        return whole
    found = [_joined(word, known) for word in words]
    if any(word in _BEFORE | _AFTER for word in words) or -1 in found:
        return -1
    return 1 if 1 in found or any(map(_ill, words)) else 0


def order(names, positive: str = "") -> tuple[str, ...]:
    """The classes by number: those that negate or mean healthy first, those that say ill
    last, each in natural order, so that of two classes the tumour is number 1, the positive
    one.

    positive: of two, which is number 1; "" for the order above.

    Raises:
        ConfigError: unless `positive` is one of two classes.
    """
    names = tuple(names)

    def rank(name: str):
        found = meaning(name, tuple(other for other in names if other != name))
        # Of many classes none is the positive one.
        found = found if len(names) == 2 else min(found, 0)
        return {"no": -2, "yes": 2}.get(name, found), natural(Path(name))

    found = tuple(sorted(names, key=rank))
    if not positive:
        return found
    chosen = [one for one in found if letters_of(one) == letters_of(canonical(positive))]
    if len(found) != 2 or not chosen:
        raise ConfigError(
            f"positive is {positive!r}: expected one of two classes, found {', '.join(found)}"
        )
    return (*(one for one in found if one != chosen[0]), chosen[0])


def why_positive(names: tuple[str, ...], positive: str = "") -> str:
    """Of two classes in order: what made the second the positive one."""
    if positive:
        return "as asked"
    if meaning(names[0], names[1:]) < meaning(names[1], names[:1]):
        return "by its name" if meaning(names[1], names[:1]) > 0 else "the other is the normal one"
    return "the last by name: --positive chooses"


def natural(path: Path) -> list:
    """Sort key with numbers as numbers (y2 before y10), the same on every system."""
    name = text_of(path.name)
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts] + [(2, 0, name)]
