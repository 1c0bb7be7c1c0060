"""A page for a browser: one file that loads nothing, with its pictures in it."""

import base64
import hashlib
import importlib.resources
import mimetypes
from pathlib import Path

from jaxbrain.reports.page import Heading, Page, code_parts, with_pictures

# Of an inch, a little larger than print.
_PIXELS = 120


def html(page: Page, directory: str | Path) -> str:
    """`report.html`: light and dark, for a screen, a phone and print. Tables sort where the
    browser runs scripts, and nothing is lost where it does not.

    directory: of the run, where the page's pictures are; those that are not there are left out.

    Raises:
        OSError: for a picture that cannot be read.
    """
    import jinja2

    def picture(path: str) -> dict:
        """What an <img> needs of a file."""
        from PIL import Image

        own = Path(directory) / path
        data = own.read_bytes()
        kind = mimetypes.guess_type(path)[0] or "image/png"
        shown = {"src": f"data:{kind};base64,{base64.b64encode(data).decode()}"}
        if kind == "image/svg+xml":
            return shown
        with Image.open(own) as opened:
            # A figure as large as it was drawn, at that many pixels an inch; sheets of
            # images name no inches.
            scale = _PIXELS / max(opened.info.get("dpi", (_PIXELS,))[0], _PIXELS)
            sides = {"width": opened.width, "height": opened.height}
        return shown | {name: round(side * scale) for name, side in sides.items()}

    loader = jinja2.PackageLoader("jaxbrain.reports", "templates")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"kind": lambda block: type(block).__name__, "parts": code_parts}
    environment.filters |= {"picture": picture, "number": lambda block: numbers[id(block)]}
    own = importlib.resources.files("jaxbrain.reports") / "templates"
    inline = {name: (own / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    hashes = {f"{name}_hash": _hash(text) for name, text in inline.items()}
    page = with_pictures(page, Path(directory))
    sections = [block for block in page.blocks if isinstance(block, Heading) and block.level == 2]
    numbers = {id(block): number for number, block in enumerate(sections, start=1)}
    template = environment.get_template("report.html")
    return template.render(page=page, sections=sections, **inline, **hashes)


def _hash(text: str) -> str:
    """Of an inline style or script, as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
