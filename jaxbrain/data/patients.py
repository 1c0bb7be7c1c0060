"""Whose an image is: ids that files carry, and ids in their names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from jaxbrain.data.layout import shown
from jaxbrain.errors import ConfigError

# Names of patients as data sets write them: sub-01, patient_12, TCGA_CS_4941, and one case
# in several sequences: X_flair.nii.gz, X-t1n.nii.gz.
_IN_NAMES = {
    "BIDS": r"(?<![a-z0-9])sub-([a-z0-9]+)",
    "patient": r"(?<![a-z0-9])(?:patient|subject|subj|pat)[ _-]?(?:id|no)?[ _-]?0*(\d+)",
    "TCGA": r"(?<![a-z0-9])(tcga[_-][a-z0-9]{2}[_-][a-z0-9]{4})(?![a-z0-9])",
    "BraTS": r"^(.+)[ _-](?:flair|t1|t1ce|t1gd|t1c|t1n|t1w|t2|t2w|t2f)(?:\.nii)?(?:\.\w+)?$",
}
# What is known of a file's patient, by where it says so.
IDS = ("PatientID", "PID", "file names", "--group-by")
_REMEDY = {
    "series": "--group-by REGEX groups by file names instead",
    "--group-by": "another expression tells them apart",
}


def pattern(group_by: str) -> re.Pattern | None:
    """The regular expression of `--group-by`, compiled; None without one.

    Raises:
        ConfigError: if it is none.
    """
    if not group_by:
        return None
    try:
        return re.compile(group_by)
    except re.error as error:
        raise ConfigError(f"group_by {group_by!r}: no regular expression: {error}") from error


def of_name(relative: str, group_by: re.Pattern | None) -> str:
    """The patient that a file's name tells, or "".

    Args:
        relative: path within the data set; `group_by` is searched in all of it, the known
            spellings in the file's own name.
        group_by: its groups, joined, are the id, or the whole match without any; where it
            does not match nothing is known. None looks for the known spellings.

    Example:
        >>> of_name("yes/patient_07_slice3.png", None), of_name("yes/Y12.jpg", None)
        ('7', '')
        >>> of_name("yes/s3_12.png", re.compile(r"s(\\d+)_"))
        '3'
    """
    if group_by is not None:
        found = group_by.search(relative)
        parts = found.groups() or (found[0],) if found else ()
        return "/".join(part or "" for part in parts)
    named = spelled(relative)
    return named[1] if named else ""


def spelled(relative: str) -> tuple[str, str] | None:
    """(spelling, id) of the patient that a file's own name tells in a known spelling. One
    number in two spellings may be two patients.

    Example:
        >>> spelled("yes/sub-7_T1w.png"), spelled("yes/patient_7.png"), spelled("yes/7.png")
        (('BIDS', '7'), ('patient', '7'), None)
    """
    name = PurePosixPath(relative).name
    for spelling, expression in _IN_NAMES.items():
        if found := re.search(expression, name, re.IGNORECASE):
            return spelling, found[1].lower()
    return None


COVERS = "one id ("


def warnings(rows: Sequence[tuple[str, int, int, str]], class_names: Sequence[str]) -> list[str]:
    """What of patients would spoil a split: one that all files of a class have, and those
    with images of several classes.

    rows: (file, label, patient or -1, where the id is from) of every image.
    """
    files: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    own: dict[int, set[str]] = defaultdict(set)
    source = {}
    for file, label, patient, where in rows:
        own[label].add(file)
        if patient >= 0 and where in (*IDS, "series"):
            files[patient][label].add(file)
            source[patient] = where
    found = []

    def remedy(patient: int) -> str:
        return _REMEDY.get(source[patient], "--patients ignore leaves ids out")

    total = len(set().union(*own.values()))
    for patient, labels in files.items():
        count = len(set().union(*labels.values()))
        if count == total > 1:
            return [f"{COVERS}{source[patient]}) covers all {total} files: {remedy(patient)}"]
        for label, having in labels.items():
            if having == own[label] and len(having) > 1:
                found.append(
                    f"{COVERS}{source[patient]}) covers all {len(having)} files of class "
                    f"{class_names[label]}: {remedy(patient)}"
                )
    several = [patient for patient, labels in files.items() if len(labels) > 1]
    if several:
        first = min(min(having) for having in files[several[0]].values())
        found.append(
            f"{len(several)} ids ({source[several[0]]}) have files of several classes, the first "
            f"is that of {shown(first)}: they are taken for one patient each; "
            f"{remedy(several[0])}"
        )
    return found
