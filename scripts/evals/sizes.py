"""What the skill costs: tokens (o200k) of its texts, and of what each case would load on the way from SKILL.md.

A case loads SKILL.md and the sections that hold its answer, to which SKILL.md or one of these sections leads; a client
that reads pages whole loads those.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import bpe_openai
from marks import replaced
from tokens import measure
from validate.document import github_slug, parse

from .cases import ROOT, BadCase, Case
from .formats import SKILL

README = ROOT / "evals" / "README.md"
BEGIN, END = "<!-- sizes: made by `make sync` -->", "<!-- sizes end -->"
# The most that the route of one case may cost, in tokens: its sections alone, and its pages read whole.
CEILING, CEILING_OF_PAGES = 4_000, 10_000
LINK = re.compile(r"\]\((?:references/)?([\w-]+)?(?:\.md)?#([\w-]+)\)")  # to a section, of the same page or another
TOPICS = re.compile(r"^- \[[^]]+\]\(references/([\w-]+)\.md\): (.+)$", re.MULTILINE)  # a page, and sections by name


def tokens(text: str) -> int:
    """How many tokens of o200k a text is."""
    return len(bpe_openai.get_encoding("o200k_base").encode(text))


@cache
def page(name: str) -> str:
    """The text of a reference."""
    return (SKILL / "references" / f"{name}.md").read_text(encoding="utf-8")


@cache
def section(reference: str) -> str:
    """The text of ``page#section``: from its heading to the next one that is not below it."""
    name, _, slug = reference.partition("#")
    if not (SKILL / "references" / f"{name}.md").is_file():
        raise BadCase(f"{reference}: there is no page {name}.md; name one of the references")
    document = parse(name, page(name))
    headings = document.headings
    for at, heading in enumerate(headings):
        if github_slug(heading.text) == slug:
            ends = (later.line for later in headings[at + 1 :] if later.level <= heading.level)
            return "\n".join(document.lines[heading.line - 1 : next(ends, len(document.lines) + 1) - 1])
    raise BadCase(f"{reference}: {name}.md has no such section; use the anchor of one of its headings")


@cache
def named() -> frozenset[str]:
    """The sections to which SKILL.md leads: by a link, or by a word of their heading beside the link to their page."""
    main = (SKILL / "SKILL.md").read_text(encoding="utf-8")
    found = {f"{name}#{slug}" for name, slug in LINK.findall(main)}
    for name, topics in TOPICS.findall(main):
        headings = [heading.text for heading in parse(name, page(name)).headings if heading.level == 2]
        for topic in re.sub(r" \(.*?\)", "", topics).split(", "):
            sections = [heading for heading in headings if topic.lower() in heading.lower()]
            if not sections:
                raise BadCase(f"SKILL.md: {name}.md has no section with {topic!r} in its heading; name one that it has")
            found |= {f"{name}#{github_slug(heading)}" for heading in sections}
    return frozenset(found)


def astray(cases: list[Case]) -> list[str]:
    """The sections of cases to which neither SKILL.md nor a section before them leads, a line each."""
    problems = []
    for case in cases:
        known = set(named())
        for reference in case.about["references"]:
            if reference not in known:
                problems.append(f"{case.name}: nothing on its way from SKILL.md leads to {reference}")
            known |= {
                f"{name or reference.partition('#')[0]}#{slug}" for name, slug in LINK.findall(section(reference))
            }
    return problems


def route(case: Case) -> tuple[int, int]:
    """Tokens of what a case would load beside the description: by section, and by whole pages."""
    main = tokens((SKILL / "SKILL.md").read_text(encoding="utf-8"))
    references = case.about["references"]
    pages = dict.fromkeys(reference.partition("#")[0] for reference in references)
    by_section = main + sum(tokens(section(reference)) for reference in references)
    return by_section, main + sum(tokens(page(name)) for name in pages)


def tables(cases: list[Case]) -> str:
    """Both tables, as Markdown."""
    lines = ["| text | tokens | ceiling |", "|---|---:|---:|"]
    lines += [f"| {name} | {count:,} | {budget:,} |" for name, _, count, budget in measure()]
    head = f"| case | sections | tokens (≤ {CEILING:,}) | pages read whole (≤ {CEILING_OF_PAGES:,}) |"
    lines += ["", head, "|---|---|---:|---:|"]
    for case in cases:
        by_section, by_page = route(case)
        links = ", ".join(_link(reference) for reference in case.about["references"])
        lines.append(f"| {case.name} | {links} | {by_section:,} | {by_page:,} |")
    return "\n".join(lines)


def _link(reference: str) -> str:
    name, _, slug = reference.partition("#")
    return f"[{slug}](../skills/{SKILL.name}/references/{name}.md#{slug})"


def with_tables(text: str, cases: list[Case]) -> str:
    """The README's text with the tables as they should be."""
    new = replaced(text, BEGIN, END, tables(cases))
    if new is None:
        raise BadCase(f"{_shown(README)}: the marks {BEGIN} and {END} are missing; put them back")
    return new


def over(cases: list[Case]) -> list[str]:
    """The cases whose route costs more than the ceiling, a line each."""
    problems = []
    for case in cases:
        for what, count, ceiling in zip(("sections", "pages"), route(case), (CEILING, CEILING_OF_PAGES), strict=True):
            if count > ceiling:
                problems.append(f"{case.name}: {count:,} tokens by {what}, ceiling {ceiling:,}")
    return problems


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))
