"""What the names of class folders mean: which is the normal one, which the positive."""

import re
import unicodedata
from pathlib import Path

from jaxbrain.errors import ConfigError

_NORMAL = {"no", "normal", "healthy", "negative", "control", "controls"} | {
    f"{prefix}{tumor}" for prefix in ("no", "non", "without") for tumor in ("tumor", "tumour")
}
_TUMOUR = {"yes", "positive", "tumor", "tumour", "withtumor", "withtumour"}
# Words that negate what follows them, or what stands before them.
_BEFORE = set("no non not none without wo lacking minus sin sans ohne kein keine sem senza".split())
_AFTER = set("free absent absence negative neg less yok olmayan".split())
# Letters that negate only beside the word itself: asymptomatic and symptomatic.
_BESIDE = ("a", "an", "in", "un", "im")
_HEALTHY = set(
    "normal normals healthy control controls ctrl ctl hc cn nc unaffected unremarkable clear "
    "clean intact false sağlıklı gesund sain saine sano sana saudável saudavel normale zdrowy "
    "норма здоровый 正常 健康".split()
)
_ILL = set(
    "yes positive pos true present with abnormal unhealthy affected pathological pathology "
    "patient patients disease diseased sick ill tumor tumors tumour tumours tümör tumeur cancer "
    "cancerous malignant malignancy neoplasm lesion lesions mass glioma gliomas glioblastoma gbm "
    "hgg lgg meningioma meningiomas pituitary adenoma astrocytoma metastasis metastases carcinoma "
    "sarcoma lymphoma stroke haemorrhage hemorrhage ischemia ischaemia bleed edema oedema "
    "demented dementia alzheimer epilepsy infarct".split()
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
    """The words of a name in lower case: "NoGlioma_2" -> no, glioma, 2."""
    spaced = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    plain = re.sub(r"\bw[\s_-]?o(?=[\s_-])", "without", spaced.casefold())
    return re.findall(r"[^\W\d_]+|\d+", plain)


def _joined(word: str, others: set[str]) -> int | None:
    """The meaning of one word with a negation inside, such as notumor or tumorfree;
    others: what may be negated besides the words that are known."""
    for prefix in sorted(_BEFORE, key=len, reverse=True):
        rest = word.removeprefix(prefix)
        if rest != word and rest in _HEALTHY:
            return 1
        if rest != word and rest in _ILL | others:
            return -1
    for suffix in sorted(_AFTER, key=len, reverse=True):
        rest = word.removesuffix(suffix)
        if rest != word and rest in _ILL | others:
            return -1
    return None


def meaning(name: str, others: tuple[str, ...] = ()) -> int:
    """-1 for a name that negates or means healthy, 1 for one that says ill, 0 for others.

    others: the other classes, which a negation may name (nonenhancing beside enhancing).

    Example:
        >>> meaning("no_glioma"), meaning("Tumor-free"), meaning("abnormal"), meaning("T2")
        (-1, -1, 1, 0)
    """
    words = words_of(name)
    known = {letters_of(other) for other in others} - _HEALTHY
    if name.endswith(("-", "+")):
        return 1 if name.endswith("+") else -1
    if any(letters_of(name) == prefix + other for prefix in _BESIDE for other in known):
        return -1
    whole = _joined(letters_of(name), known)
    if whole is not None:
        return whole
    for before, word in zip(["", *words], words, strict=False):
        if word in _HEALTHY:
            return 1 if before in _BEFORE else -1
    found = [_joined(word, known) for word in words]
    if any(word in _BEFORE | _AFTER for word in words) or -1 in found:
        return -1
    return 1 if 1 in found or any(word in _ILL for word in words) else 0


def order(names, positive: str = "") -> tuple[str, ...]:
    """The classes by number: those that negate or mean healthy first, those that say ill
    last, each in natural order, so that of two classes the tumour is number 1, the positive
    one.

    Args:
        names: of all classes.
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
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts] + [(2, 0, path.name)]
