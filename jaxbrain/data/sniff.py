"""What a file is, by its first bytes."""

import gzip
import io
import zlib

# As much of a file as `kind` looks at.
HEAD = 2**16
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *_TIFF)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def kind(head: bytes) -> str | None:
    """ "picture", "DICOM", "NIfTI" or "MAT" by the first `HEAD` bytes of a file, or None."""
    if head[128:132] == b"DICM" or bare_dicom(head):
        return "DICOM"
    if _HDF5 in (head[512:520], head[:8]):
        return "MAT"
    if _nifti(head):
        return "NIfTI"
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    # Two letters alone would take any text for a bitmap.
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return "picture" if webp or bitmap or head.startswith(_PICTURES) else None


_REPRESENTATIONS = b"AE AS CS DA DS DT IS LO LT OB PN SH ST TM UI UL UN US UT".split()
# Of the elements that stand at the beginning of an image.
_GROUPS = (2, 8, 16, 24, 32, 40)


def bare_dicom(head: bytes) -> bool:
    """Whether a file begins with DICOM's elements, without the preamble that says so: a
    first element of group 2, 8 or 16, and one that may follow it where it ends."""
    if len(head) < 12:
        return False
    explicit = head[4:6] in _REPRESENTATIONS
    if explicit and head[:2] in (b"\0\x08", b"\0\x10"):
        return True

    def number(start: int, size: int) -> int:
        return int.from_bytes(head[start : start + size], "little")

    start, length = 8, number(4, 4)
    if explicit:
        long = head[4:6] in (b"OB", b"UN", b"UT")
        start, length = (12, number(8, 4)) if long else (8, number(6, 2))
    first = number(0, 2), number(2, 2)
    after = number(start + length, 2), number(start + length + 2, 2)
    fits = length % 2 == 0 and start + length + 4 <= len(head)
    return fits and first[0] in (2, 8, 16) and first < after and after[0] in _GROUPS


def _nifti(head: bytes) -> bool:
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(head)) as file:
                head = file.read(352)
        except (OSError, EOFError, zlib.error):
            return False
    sizes = (348).to_bytes(4, "little"), (348).to_bytes(4, "big")
    return head[:4] in sizes and head[344:348] in (b"n+1\0", b"ni1\0")
