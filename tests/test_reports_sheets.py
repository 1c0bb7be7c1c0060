"""Sheets: images where they belong, labels that fit, names of any kind."""

import numpy as np
from PIL import Image

from jaxbrain.reports import letters, sheets


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_images_stand_in_their_cells(tmp_path):
    image = np.zeros((2, 48, 48, 1), np.uint8)
    image[1] = 200
    sheets.sheet(tmp_path / "a.png", [("first", image), ("second\nline", image[::-1])])
    pixels = opened(tmp_path / "a.png")
    margin = pixels.shape[1] - 2 * 98
    # Cells of 2 x 48 pixels and 2 of gap, right of the labels.
    assert pixels.shape[0] == 2 + 2 * 98
    centres = pixels[[50, 148]][:, [margin + 48, margin + 98 + 48]]
    assert centres.tolist() == [[0, 200], [200, 0]]
    # Each label is dark on white, around the middle of its row.
    for row in (0, 1):
        rows, columns = np.nonzero(pixels[2 + row * 98 : 98 + row * 98, :margin] < 128)
        assert abs(rows.mean() - 48) < 8 and columns.max() < margin - 4


def test_captions_stay_under_their_images(tmp_path):
    """However long a name, it ends before the next one begins."""
    image = np.full((3, 96, 96, 1), 255, np.uint8)
    names = ["W" * 80 + ".png", "b.png", "new\nline\udcff"]
    sheets.sheet(tmp_path / "a.png", [("", image)], [names])
    pixels = opened(tmp_path / "a.png")
    assert pixels.shape == (2 + 98 + 17, 2 + 3 * 98)
    below = pixels[2 + 98 :]
    for c in range(3):
        own = below[:, 2 + c * 98 : 2 + c * 98 + 96]
        assert (own < 128).any()
        assert (below[:, 2 + c * 98 + 96 : 2 + c * 98 + 98] == 255).all()


def test_names_are_shortened_in_the_middle():
    assert letters.shortened("short.png", lambda text: len(text) <= 9) == "short.png"
    short = letters.shortened("patient_0001_slice_0017.png", lambda text: len(text) <= 12)
    assert short == "patie…17.png"


def test_what_the_font_lacks_is_escaped():
    assert letters.drawable("Größe, мозг, α") == "Größe, мозг, α"
    assert letters.drawable("a\nb\udcff\u80bf") == "a\\nb\\udcff\\u80bf"
    assert letters.label("$x$") == r"\$x\$"
