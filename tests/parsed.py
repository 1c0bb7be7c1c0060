"""Reports as a parser reads them."""

import html.parser
from pathlib import Path

from jaxbrain.reports.page import Page
from jaxbrain.runs import pages

EVIL = "<script>alert(1)</script>"
# What a report is made of; the one script and the one style are its own.
TAGS = set(
    "html head meta title link style body a header h1 h2 h3 p nav ol ul li main dl div dt dd span "
    "table caption thead tbody tr th td figure img figcaption code pre details summary footer "
    "script".split()
)


class Read(html.parser.HTMLParser):
    """Tags with their attributes, and the texts between."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


def written(directory: Path, page: Page, name: str) -> Read:
    """Write a page, and read its `report.html`: a name in it is nothing but text, in its other
    files too."""
    pages.write(directory, page)
    text = (directory / pages.HTML).read_text(encoding="utf-8")
    read = Read(text)
    assert {tag for tag, _ in read.tags} <= TAGS
    assert len(read.of("script")) == len(read.of("style")) == 1
    assert any(name in one for one in read.texts)
    bare = name.replace("<", "&lt;").replace(">", "&gt;")
    assert name not in text and bare in text
    assert name not in (directory / pages.MARKDOWN).read_text(encoding="utf-8")
    for path in (directory / pages.TABLES).glob("*.tex"):
        assert name not in path.read_text(encoding="utf-8")
    return read
