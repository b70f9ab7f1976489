"""What people click: tabs, copy buttons, colours, and the way from a symptom to its section."""

from __future__ import annotations

from pathlib import Path

import pytest
from documentation.sources import lines_of
from playwright.sync_api import Page, expect
from visiting import LOOKS, Visits


def chosen(page: Page) -> str:
    """The label of the tab whose panel is shown; exactly one is."""
    labels = page.locator(".tabbed-set").first.locator(".tabbed-labels > label").all_inner_texts()
    blocks = page.locator(".tabbed-set").first.locator(".tabbed-content > .tabbed-block").all()
    (shown,) = [at for at, block in enumerate(blocks) if block.is_visible()]
    return labels[shown]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("place", ["", "install/"])
def test_tabs_switch(visit: Visits, place: str, look: str) -> None:
    page = visit(place, look)
    labels = page.locator(".tabbed-set").first.locator(".tabbed-labels > label")
    assert labels.count() >= 5
    for label in reversed(labels.all()):
        label.click()
        assert chosen(page) == label.inner_text()


def test_the_choice_of_a_client_is_kept(visit: Visits) -> None:
    page = visit()
    page.locator(".tabbed-labels > label", has_text="Gemini CLI").click()
    page.get_by_role("link", name="Install", exact=True).first.click()
    page.wait_for_url("**/install/")
    expect(page.locator(".tabbed-block:visible").first).to_contain_text("gemini extensions install")
    assert chosen(page) == "Gemini CLI"


@pytest.mark.parametrize("place", ["index", "references/error-handling", "skill"])
def test_copy_buttons_copy_the_code(visit: Visits, site: Path, place: str) -> None:
    page = visit(f"{place}/".removeprefix("index/"), permissions=["clipboard-read", "clipboard-write"])
    blocks = fenced((site / f"{place}.md").read_text())
    buttons = page.locator("pre .md-code__button[data-md-type=copy]")
    expect(buttons).to_have_count(len(blocks))
    copied = []
    for button, block in zip(buttons.all(), blocks, strict=True):
        if not button.is_visible():  # in a tab that is not shown
            assert place == "index"
            continue
        button.click()
        expect(page.locator(".md-dialog--active")).to_have_text("Copied to clipboard")
        copied.append((page.evaluate("navigator.clipboard.readText()"), block))
    assert copied
    assert [text for text, _ in copied] == [block for _, block in copied]


def fenced(markdown: str) -> list[str]:
    """The code of each fenced block."""
    blocks: list[list[str]] = []
    inside = False
    for line, fence in lines_of(markdown):
        if fence and not inside:
            blocks.append([line])
        elif fence:
            blocks[-1].append(line)
            fence = not line.strip() or line.strip().strip("`") != ""  # the closing line ends the block
        inside = fence
    indent = [len(block[0]) - len(block[0].lstrip()) for block in blocks]
    return ["\n".join(line[by:] for line in block[1:-1]) for block, by in zip(blocks, indent, strict=True)]


@pytest.mark.parametrize(("look", "other"), [("light", "slate"), ("dark", "default")])
def test_colours_are_the_systems_until_chosen(visit: Visits, look: str, other: str) -> None:
    page = visit("glossary/", look)
    own = {"light": "default", "dark": "slate"}[look]
    assert page.evaluate("document.body.dataset.mdColorScheme") == own
    page.locator("label.md-header__button[for^=__palette]:visible").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", other)
    page.goto(page.url.replace("glossary", "install"))
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", other)


@pytest.mark.parametrize("look", LOOKS)
def test_from_symptom_to_section_in_two_clicks(visit: Visits, look: str) -> None:
    page = visit("", look)
    page.get_by_role("link", name="What is wrong with my tasks?").click()
    row = page.get_by_role("row", name="lost on deploy, cut in the middle on restart")
    row.get_by_role("link").click()
    page.wait_for_url("**/references/production-deployment/#shutdown")
    expect(page.locator("h2#shutdown")).to_be_in_viewport()
