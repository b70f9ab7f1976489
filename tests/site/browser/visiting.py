"""The looks of the site, its pages, and a visit to one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from documentation.sources import read
from playwright.sync_api import Browser, BrowserContext, Page

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "phone": {"color_scheme": "light", "viewport": PHONE, "has_touch": True},
}
NAVIGATION = re.compile(r"([\w/-]+)\.md$", re.MULTILINE)


def places() -> list[str]:
    """Every page by its place, from the navigation, which a strict build keeps complete."""
    navigation = read("mkdocs.yml").partition("\nnav:\n")[2].partition("\ntheme:\n")[0]
    return ["404.html", *(re.sub(r"(^|/)index/$", r"\1", f"{page}/") for page in NAVIGATION.findall(navigation))]


@dataclass
class Visits:
    """Opens pages, and hears what goes wrong while they are open."""

    browser: Browser
    address: str
    wrong: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(self, place: str = "", look: str = "light", **options: object) -> Page:
        context = self.browser.new_context(**LOOKS[look] | options)
        context.set_default_timeout(120_000)  # a busy machine is slow, and that is no failure
        self.contexts.append(context)
        context.on("console", lambda message: self._said(message.type, message.text))
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        context.on("request", lambda request: self._asked(request.url))
        context.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page = context.new_page()
        page.goto(self.address + place)
        return page

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"asked for {url}")
