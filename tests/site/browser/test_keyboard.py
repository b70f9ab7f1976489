"""Everything without a mouse."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect
from visiting import Visits


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until an element that matches has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{most} times Tab do not lead to {selector}")


def test_the_first_stop_leads_past_the_navigation(visit: Visits) -> None:
    page = visit("references/error-handling/")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    expect(skip).to_have_text("Skip to content")
    expect(skip).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('article') !== null")


def test_search(visit: Visits) -> None:
    for key in ("/", "s"):
        page = visit("glossary/")
        page.keyboard.press(key)
        expect(page.locator(".md-search__input")).to_be_focused()
        page.keyboard.type("lost on deploy")
        expect(page.locator(".md-search-result__meta")).to_have_text(re.compile("matching document"))
        wanted = page.locator(".md-search-result__link[href$='#shutdown']").first
        expect(wanted).to_be_visible()
        for _ in range(10):
            page.keyboard.press("ArrowDown")
            if wanted.evaluate("link => link === document.activeElement"):
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/production-deployment/*#shutdown")
        expect(page.locator("h2#shutdown")).to_be_in_viewport()


def test_escape_leaves_the_search(visit: Visits) -> None:
    page = visit()
    page.keyboard.press("/")
    expect(page.locator(".md-search__input")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".md-search__input")).not_to_be_focused()


def test_tabs_by_arrows(visit: Visits) -> None:
    page = visit("install/")
    tab_to(page, ".tabbed-set > input")
    blocks = page.locator(".tabbed-set").first.locator(".tabbed-content > .tabbed-block")
    expect(blocks.nth(0)).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(blocks.nth(1)).to_be_visible()
    expect(blocks.nth(0)).to_be_hidden()
    outline = page.locator(".tabbed-set").first.locator(".tabbed-labels")
    assert outline.evaluate("labels => getComputedStyle(labels).outlineStyle") == "solid"


def test_colours(visit: Visits) -> None:
    page = visit()
    before = page.evaluate("document.body.dataset.mdColorScheme")
    tab_to(page, "[data-md-component=palette] *", 12)
    page.keyboard.press("Enter")
    expect(page.locator("body")).not_to_have_attribute("data-md-color-scheme", before)


def test_what_scrolls_can_be_reached_and_scrolled(visit: Visits) -> None:
    for place, selector in (
        ("pictures/", ".picture-frame"),
        ("references/error-handling/", "pre code"),
        ("install/", ".md-typeset__scrollwrap"),
    ):
        page = visit(place, "phone")
        page.wait_for_function("selector => document.querySelector(`${selector}[tabindex]`)", arg=selector)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # past the navigation, however much there is of it
        tab_to(page, selector, 30)
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.activeElement.scrollLeft > 0")
