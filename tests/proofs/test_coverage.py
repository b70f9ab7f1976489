"""Every section that recommends something has a proof, or says which documentation it rests on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pages
from validate.document import github_slug, parse

FOLDER = Path(__file__).parent
PROVES = re.compile(r'mark\.proves\("([\w-]+#[\w-]+)"\)')
# The pages whose proofs are complete; the others follow.
WHOLE = {
    "configuration-guide",
    "django-integration",
    "error-handling",
    "monitoring-observability",
    "periodic-tasks",
    "production-deployment",
    "task-design-patterns",
}
# Sections that recommend nothing of their own.
ABOUT = {"contents", "mistakes-to-look-for", "strategy-by-situation"}


def sections() -> set[str]:
    """``page#section`` of every second-level heading that recommends something."""
    found = set()
    for page in sorted((pages.SKILL / "references").glob("*.md")):
        document = parse(page.name, page.read_text())
        found |= {f"{page.stem}#{github_slug(heading.text)}" for heading in document.headings if heading.level == 2}
    return {name for name in found if name.partition("#")[2] not in ABOUT}


def proven() -> set[str]:
    return {name for file in FOLDER.glob("test_*.py") for name in PROVES.findall(file.read_text())}


def by_documentation() -> dict[str, dict[str, str]]:
    """``by_documentation.toml``: section → ``source``, a link, and ``why`` no program shows it here."""
    return tomllib.loads((FOLDER / "by_documentation.toml").read_text())


def test_every_section_has_evidence() -> None:
    named = by_documentation()
    print(f"{len(proven())} of {len(sections())} sections have a proof, {len(named)} rest on documentation")
    bare = sections() - proven() - named.keys()
    assert {section for section in bare if section.partition("#")[0] in WHOLE} == set()


def test_no_evidence_for_what_is_not_there() -> None:
    assert proven() - sections() == set()
    assert by_documentation().keys() - sections() == set()


def test_documentation_is_named_only_where_nothing_is_proven() -> None:
    assert by_documentation().keys() & proven() == set()
    for section, entry in by_documentation().items():
        assert entry.keys() == {"source", "why"}, section
        assert entry["source"].startswith("https://"), section
