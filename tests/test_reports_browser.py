"""Reports in a real browser: drawn, sorted, readable on a phone, silent; names are text.

JAXBRAIN_BROWSER may name a Chromium, JAXBRAIN_SHOTS a folder for the pictures that are taken.
"""

import dataclasses
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxbrain import config
from jaxbrain.data import phantom
from jaxbrain.reports import page as blocks
from jaxbrain.runs import pages
from jaxbrain.runs.ladder import ladder
from jaxbrain.study.protocols import StudyConfig

EVIL = "<script>alert(1)</script>"
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"
# Width in pixels, colours.
SCREENS = ((1200, "light"), (1200, "dark"), (360, "light"), (360, "dark"))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    own = os.environ.get("JAXBRAIN_BROWSER")
    path = own or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium was found: name one in JAXBRAIN_BROWSER")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A real study of phantoms whose first class has a hostile name."""
    tiny = config.tiny()
    cfg = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, n_per_class=12))
    data, records = phantom.folder(cfg.data, 32)
    records = dataclasses.replace(records, class_names=(EVIL, "yes"))
    options = StudyConfig(
        split="kfold",
        seeds=1,
        folds=2,
        protocols=("P3",),
        generators=("linear", "none"),
        classifiers=("ridge", "majority"),
        shuffled=False,
        probe=False,
    )
    path = tmp_path_factory.mktemp("study") / "run"
    ladder(cfg, data, records, path, options=options, command=f"jaxbrain ladder --data '{EVIL}'")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page made by hand: every block, numbers that sort as text otherwise."""
    path = tmp_path_factory.mktemp("made")
    noise = np.random.default_rng(0).integers(0, 255, (400, 1400), np.uint8)
    Image.fromarray(noise).save(path / "wide.png")
    rows = [["10", "b"], ["-", "c"], ["9.5 (1..20)", "a"], ["< .001", EVIL], ["+11", ""]]
    many = [[f"column {i}" for i in range(12)], [["a word or two", *["1.25"] * 11]] * 3]
    own = (
        blocks.Facts((("Accuracy", "94.2 %", "95 %: 90.1 to 97.0"), ("x", EVIL, EVIL))),
        blocks.Heading("Warnings"),
        blocks.Warnings((f"careful with {EVIL}", "a" * 200)),
        blocks.Heading(EVIL),
        blocks.new_table(EVIL, (["number", EVIL], rows), "numbers"),
        blocks.new_table("Wide", many, "wide"),
        blocks.Figure("wide.png", EVIL),
        blocks.Heading("More"),
        blocks.Details("Configuration", (blocks.Code("long " * 100),)),
    )
    pages.write(path, blocks.Page(EVIL, (EVIL, "summary"), own))
    return path


@pytest.fixture
def opened(browser, request, tmp_path):
    """Opens a report; says what it logged and asked for when it is closed."""
    contexts = []

    def visit(directory: Path, width: int, colours: str):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=colours
        )
        contexts.append(context)
        tab = context.new_page()
        tab.logged, tab.asked = [], []
        tab.on("console", lambda message: tab.logged.append(message.text))
        tab.on("pageerror", lambda error: tab.logged.append(str(error)))
        tab.on("dialog", lambda dialog: (tab.logged.append("a dialog"), dialog.dismiss()))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto((directory / pages.HTML).as_uri())
        shots = Path(os.environ.get("JAXBRAIN_SHOTS") or tmp_path)
        name = re.sub(r"\W+", "_", request.node.name)
        tab.screenshot(path=shots / f"{name}_{width}_{colours}.png", full_page=True)
        return tab

    yield visit
    for context in contexts:
        context.close()


def silent(tab, directory: Path) -> None:
    """Nothing was logged, nothing but the file was asked for."""
    asked = [url for url in tab.asked if not url.startswith("data:")]
    assert asked == [(directory / pages.HTML).as_uri()] and tab.logged == []


@pytest.mark.parametrize("report", ["study", "made"])
def test_a_report_is_whole_and_silent(opened, request, report):
    directory = request.getfixturevalue(report)
    for width, colours in SCREENS:
        tab = opened(directory, width, colours)
        pictures = tab.evaluate(
            "[...document.images].map((one) => [one.complete, one.naturalWidth, one.alt])"
        )
        assert pictures and all(done and wide > 0 and alt for done, wide, alt in pictures)
        tables = tab.evaluate(
            "[...document.querySelectorAll('table')].map((one) => one.tBodies[0].rows.length)"
        )
        assert len(tables) >= 2 and min(tables) > 0
        # Tables scroll in their own box.
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert dark == (colours == "dark")
        assert tab.evaluate("document.scripts.length") == 1
        assert EVIL in tab.inner_text("body")
        silent(tab, directory)


def column(tab, number: int) -> list[str]:
    return tab.eval_on_selector_all(
        f"table >> nth=0 >> tbody td:nth-child({number})", "all => all.map((one) => one.innerText)"
    )


def test_tables_sort_by_click_and_by_key(opened, made):
    tab = opened(made, 1200, "light")
    as_it_was = column(tab, 1)
    head = tab.locator("th").first
    head.locator("button").click()
    assert column(tab, 1) == ["< .001", "9.5 (1..20)", "10", "+11", "-"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert column(tab, 1) == ["+11", "10", "9.5 (1..20)", "< .001", "-"]
    assert head.get_attribute("aria-sort") == "descending"
    tab.locator("th >> nth=1").locator("button").press("Space")
    assert column(tab, 2) == [EVIL, "a", "b", "c", ""]
    assert head.get_attribute("aria-sort") == "none"
    for _ in range(2):
        tab.locator("th >> nth=1").locator("button").press("Space")
    assert column(tab, 1) == as_it_was
    silent(tab, made)


def test_a_report_without_scripts_and_on_paper(browser, made, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((made / pages.HTML).as_uri())
    assert tab.locator("button").count() == 0
    assert tab.locator("tbody tr").count() == 8 and tab.locator("th").first.inner_text() == "number"
    tab.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
    context.close()
