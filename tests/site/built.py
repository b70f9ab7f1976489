"""The site as it is built, and what a built page holds, as the standard library reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "use": "href"}


def build(folder: Path, address: str = "") -> None:
    """A strict build, in which a warning is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1", "SITE_URL": address}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@dataclass
class Html(HTMLParser):
    """One page: the ids in it, the links out of it, what a browser loads for it, and its text."""

    path: Path
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)  # pictures without a text alternative

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        attributes = dict(given)
        if attributes.get("id"):
            self.ids.append(attributes["id"])
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "link" and attributes.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loaded.append(attributes.get("href", ""))
        if attributes.get(LOADED.get(tag, "")):
            self.loaded.append(attributes[LOADED[tag]])
        if tag == "img" and "alt" not in attributes:
            self.nameless.append(attributes.get("src", ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def target(page: Path, link: str) -> tuple[Path, str]:
    """The file that a relative link of a page leads to, and the anchor in it."""
    path, _, anchor = link.partition("#")
    place = (page.parent / unquote(path)).resolve() if path else page
    return (place / "index.html" if place.is_dir() else place), unquote(anchor)
