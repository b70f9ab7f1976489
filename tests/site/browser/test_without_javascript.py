"""JavaScript off: text, tables, code, pictures and the first of each set of tabs are there to read."""

from __future__ import annotations

import pytest
from visiting import LOOKS, Visits, places

PARTS = """[...document.querySelectorAll("article :is(h1, h2, h3, p, li, td, dd, pre, svg.picture)")]
    .filter(part => !part.closest(".tabbed-block:not(:first-child), details:not([open])"))"""
HIDDEN = """part => !part.getBoundingClientRect().height
    || !part.checkVisibility({ opacityProperty: true, visibilityProperty: true })"""


@pytest.mark.parametrize("look", ["light", "phone"])
@pytest.mark.parametrize("place", places())
def test_page_is_readable(visit: Visits, place: str, look: str) -> None:
    page = visit(place, look, java_script_enabled=False)
    assert page.evaluate(f"{PARTS}.length") > 0
    assert page.evaluate(f"{PARTS}.filter({HIDDEN}).map(part => part.outerHTML)") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= LOOKS[look]["viewport"]["width"]
    for tabs in page.locator("article .tabbed-set").all():
        shown = [block.is_visible() for block in tabs.locator(":scope > .tabbed-content > .tabbed-block").all()]
        assert shown == [True, *[False] * (len(shown) - 1)]
