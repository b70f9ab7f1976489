"""Where each page of the site comes from, and where links lead.

Links are written so that they work in the repository. A link to a file that the site shows becomes one to its page; a
link to any other file becomes one to the repository's address, or, while there is none, plain text.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from validate.document import site_slug

ROOT = Path(__file__).resolve().parents[2]
SKILL = "skills/django-celery-expert"
REFERENCES = sorted(path.stem for path in (ROOT / SKILL / "references").glob("*.md"))
# Pages that are rendered from a file outside of docs/, by their place on the site.
ELSEWHERE = {
    "skill.md": f"{SKILL}/SKILL.md",
    **{f"references/{name}.md": f"{SKILL}/references/{name}.md" for name in REFERENCES},
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "evaluations.md": "evals/README.md",
}
# Pages that are made: a link to what they are made from leads to them.
MADE = {
    "evidence.md": "docs/data/evidence.json",
    "compatibility.md": "docs/data/matrix.json",
    "evaluation-cases.md": "docs/data/graders.json",
    "audit/index.md": f"{SKILL}/scripts/celery_audit",
}
FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]`]|`[^`]*`)+)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#{1,6}) (.+?)\s*#*$")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def project() -> dict:
    """The ``[project]`` of pyproject.toml."""
    return tomllib.loads(read("pyproject.toml"))["project"]


def origin(page: str) -> str:
    """The repository's file that a page's relative links start from."""
    return ELSEWHERE.get(page, f"docs/{page}")


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """The text with each line changed that is in no fenced block."""
    return "\n".join(line if fenced else change(line) for line, fenced in lines_of(markdown))


def lines_of(markdown: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block.

    As MkDocs sees it, where a tab's indented fence is one; in CommonMark, which `validate.document` reads, it is none.
    """
    closing = ""
    for line in markdown.split("\n"):
        mark = FENCE.match(line)
        if closing:
            yield line, True
            if mark and mark[1].startswith(closing) and not line.strip().strip(closing[0]):
                closing = ""
        else:
            closing = mark[1] if mark else ""
            yield line, bool(mark)


def with_links(markdown: str, page: str, pages: set[str], repository: str = "") -> str:
    """The text of a page with every relative link leading to a page of the site, or out of it."""

    def lead(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, mark, fragment = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        found = _page_of(posixpath.normpath(posixpath.join(posixpath.dirname(origin(page)), path)), fragment, pages)
        if found is not None:
            return f"[{text}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{mark}{fragment})"
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin(page)), path))
        return f"[{text}]({repository}/blob/main/{place}{mark}{fragment})" if repository else text

    return outside_fences(markdown, lambda line: LINK.sub(lead, line))


def _page_of(path: str, fragment: str, pages: set[str]) -> str | None:
    """The page that shows a file of the repository."""
    if path == "README.md":
        return "install.md" if fragment == "install" else "index.md"
    for page, source in {**ELSEWHERE, **MADE}.items():
        if source == path:
            return page
    inside = path.removeprefix("docs/")
    return inside if inside in pages else None


def reference(place: str, up: str = "") -> str:
    """A link to a reference or its section, ``page#slug``, as people would say it: "error-handling: dead letters"."""
    page, mark, slug = place.partition("#")
    words = f"{page}: {slug.replace('-', ' ')}" if slug else page
    return f"[{words}]({up}references/{page}.md{mark}{slug})"


def section(markdown: str, title: str) -> str:
    """What stands under a second-level heading, without it."""
    found: list[str] = []
    inside = False
    for line, fenced in lines_of(markdown):
        heading = None if fenced else HEADING.match(line)
        if heading and len(heading[1]) <= 2:
            inside = heading[2] == title
        elif inside:
            found.append(line)
    if not found:
        raise ValueError(f"no section {title!r}")
    return "\n".join(found).strip()


def block(place: str) -> str:
    """The first fenced block of a section of a reference, given as ``page#slug``, without its imports."""
    page, _, slug = place.partition("#")
    found: list[str] = []
    inside = False
    for line, fenced in lines_of(read(f"{SKILL}/references/{page}.md")):
        heading = None if fenced else HEADING.match(line)
        if heading and heading[1] == "##":
            inside = site_slug(heading[2]) == slug
        elif inside and fenced:
            found.append(line)
        elif found:
            code = next((at for at, text in enumerate(found) if text.startswith("@")), 1)
            return "\n".join([found[0], *found[code:]])
    raise ValueError(f"no fenced block under {place}")
