"""Every page in light, in dark and on a phone: nothing goes wrong, all of it fits, and axe finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from built import ROOT
from visiting import LOOKS, Visits, places

SCREENSHOTS = ROOT / ".tools" / "screenshots"
TALLEST = 4000  # of a picture; the evidence alone has 30,000 pixels
MAIN = {"", "symptoms/", "references/error-handling/", "pictures/", "glossary/"}
MAIN |= {"audit/", "audit/calls/", "evidence/", "install/"}


def test_no_page_is_forgotten(site: Path) -> None:
    built = {str(path.relative_to(site)).removesuffix("index.html") for path in site.rglob("*.html")}
    assert built == set(places())
    assert len(built) > 20


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("place", places())
def test_page(visit: Visits, place: str, look: str) -> None:
    page = visit(place, look)
    width, wide, tall = page.evaluate(
        "[innerWidth, document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    if place in MAIN:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        part = {"x": 0, "y": 0, "width": width, "height": min(tall, TALLEST)}
        name = place.strip("/").replace("/", "-") or "home"
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True, clip=part)
    assert wide <= width
    # What fades has little contrast.
    page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
    violations = Axe().run(page).response["violations"]
    assert [(each["id"], node["target"], node["html"]) for each in violations for node in each["nodes"]] == []
