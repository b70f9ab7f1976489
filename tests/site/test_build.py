"""The built site: whole, its links and anchors there, nothing loaded from another host."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from built import Html, target
from celery_audit.registry import RULES
from documentation import evaluations, evidence, rules, search, sources, symptoms
from evals.run import Record

from evals import cases, report

PICTURES = sorted(path.stem for path in (sources.ROOT / "docs" / "pictures").glob("*.svg"))


@cache
def pages(site: Path) -> dict[str, Html]:
    """Every page by its place."""
    found = {str(path.relative_to(site).parent): Html(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 20
    return found


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = {url for page in pages(site).values() for url in page.loaded}
    styles = [path for path in site.rglob("*.css") if "assets" in path.parts]
    loaded |= {url for path in styles for url in re.findall(r"url\(['\"]?([^)'\"]+)", path.read_text())}
    assert len(styles) >= 3
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []


def test_links_and_anchors(site: Path) -> None:
    ids = {page.path: {*page.ids, ""} for page in pages(site).values()}
    missing = []
    for page in pages(site).values():
        for link in page.links:
            if re.match(r"\w+:", link) or page.path.name == "404.html":
                continue
            file, anchor = target(page.path, link)
            if not file.is_file() or anchor not in ids.get(file, {anchor}):
                missing.append((str(page.path.relative_to(site)), link))
    assert missing == []


def test_ids_are_unique(site: Path) -> None:
    for place, page in pages(site).items():
        assert len(page.ids) == len(set(page.ids)), (place, [i for i in page.ids if page.ids.count(i) > 1])


def test_pictures_have_texts(site: Path) -> None:
    page = pages(site)["pictures"]
    for name in PICTURES:
        assert {f"{name}-title", f"{name}-desc"} <= set(page.ids), name
    assert [each for page in pages(site).values() for each in page.nameless] == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_is_shown(site: Path, rule) -> None:
    group = rule.function.__module__.rpartition(".")[2]
    page = pages(site)[f"audit/{group}"]
    assert rules.anchor(rule) in page.ids
    assert f"{rule.id} {rule.name}" in page.text
    assert f"since {rule.since}" in page.text


def test_every_section_is_shown_with_its_evidence(site: Path) -> None:
    known = evidence.sections()
    assert len(known) > 80
    kept = evidence.Evidence()
    for section in known:
        page = pages(site)[f"references/{section.page}"]
        assert section.name.partition("#")[2] in page.ids
        assert section.anchor in pages(site)["evidence"].ids
        if kept.badge(section.name):
            assert f"../../evidence/#{section.anchor}" in page.links


@pytest.mark.parametrize("case", cases.every(), ids=lambda case: case.name)
def test_every_case_is_shown_with_what_its_grader_saw(site: Path, case: cases.Case) -> None:
    page = pages(site)["evaluation-cases"]
    assert case.name in page.ids
    assert case.criteria and all(
        f"{'✕' if failed else '✓'} {name}" in page.text for name, failed in case.solutions.items()
    )
    assert " ".join(case.prompt.split()[:6]) in page.text


def test_the_results_of_a_run_are_shown(tmp_path: Path) -> None:
    assert "No result of an assistant" in evaluations.page(tmp_path)
    verdicts = [{"criterion": "once", "passed": True}]
    report.write(tmp_path, [Record("a", "with_skill", 1, "c", "1", "m", "", status="graded", verdicts=verdicts)])
    shown = evaluations.page(tmp_path)
    assert "## Results" in shown and "| criteria met | 100% ± 0% |" in shown and "a, this skill: 100%" in shown


def test_symptoms_lead_to_sections() -> None:
    rows = [line for line in sources.read("docs/symptoms.md").splitlines() if symptoms.ROW.match(line)]
    found = symptoms.by_section()
    assert {seen for each in found.values() for seen in each} == {
        row[1] for line in rows if (row := symptoms.ROW.match(line)) and "references/" in row[3]
    }
    sections = {section.name for section in evidence.sections()}
    assert found.keys() <= sections
    assert sum(map(len, found.values())) >= 30


def test_every_page_as_markdown(site: Path) -> None:
    names = (site / "llms.txt").read_text()
    shown = {path.relative_to(site).as_posix() for path in site.rglob("*.md")}
    assert set(re.findall(r"\]\(([^)]+)\)", names)) == shown
    for place in pages(site):
        if place != ".":
            assert f"{place}.md" in shown or f"{place}/index.md" in shown, place
    missing = []
    for place in shown:
        for line, fenced in sources.lines_of((site / place).read_text()):
            for _, link in [] if fenced else sources.LINK.findall(line):
                path = link.partition("#")[0]
                if path and not re.match(r"\w+:", path) and not (site / place).parent.joinpath(path).is_file():
                    missing.append((place, link))
    assert missing == []


def test_the_guide_in_one_file(site: Path) -> None:
    whole = (site / "llms-full.txt").read_text()
    for name in sources.REFERENCES:
        for section in evidence.sections():
            if section.page == name:
                assert f"\n## {section.title}\n" in whole
    assert "# Django Celery Expert" in whole


def test_sections_are_found_by_what_people_see(site: Path) -> None:
    entries = {
        entry["location"]: entry for entry in json.loads((site / "search/search_index.json").read_text())["docs"]
    }
    for section, seen in symptoms.by_section().items():
        entry = entries[f"references/{section.replace('#', '/#')}"]
        for text in seen:
            assert text.replace("`", "") in entry["title"]


def test_no_heading_of_a_table_is_empty(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not re.search(r"<th[^>]*></th>", path.read_text()), path


# What the pages are made with.


def test_links_lead_to_pages_and_out() -> None:
    pages = {"index.md", "symptoms.md", *sources.ELSEWHERE}
    text = "[a](../skills/django-celery-expert/references/error-handling.md#retry) [b](../Makefile) [c](symptoms.md)"
    assert sources.with_links(text, "index.md", pages) == "[a](references/error-handling.md#retry) b [c](symptoms.md)"
    assert "[b](https://x.test/blob/main/Makefile)" in sources.with_links(text, "index.md", pages, "https://x.test")


def test_links_between_pages_of_the_skill() -> None:
    pages = set(sources.ELSEWHERE)
    text = "[a](references/error-handling.md)"
    assert sources.with_links(text, "skill.md", pages) == text
    text = "[a](error-handling.md#retry), [b](#here), [c](https://example.com/x.md)"
    assert sources.with_links(text, "references/periodic-tasks.md", pages) == text


def test_links_in_fences_stay() -> None:
    text = "````markdown\n[b](../Makefile)\n```\n[b](../Makefile)\n````\n[b](../Makefile)"
    assert sources.with_links(text, "index.md", set()) == text.removesuffix("[b](../Makefile)") + "b"


def test_a_section_and_its_block() -> None:
    assert sources.section("# A\n## B\none\n### C\ntwo\n## D\n", "B") == "one\n### C\ntwo"
    with pytest.raises(ValueError, match="no section 'X'"):
        sources.section("# A\n", "X")
    code = sources.block("task-design-patterns#idempotency")
    assert code.startswith("```python title=")
    assert "\n@shared_task" in code
    assert "import" not in code
    with pytest.raises(ValueError, match="no fenced block"):
        sources.block("task-design-patterns#nothing")


def test_what_the_search_ranks() -> None:
    entries = [
        {"location": place, "title": "Retry", "text": "…"} for place in ("references/a/#b", "evidence/#a--b", "")
    ]
    section, proof, home = search.ranked(entries, {"a#b": ["`Retry` never ends", "again"]})
    assert section["title"] == "Retry: Retry never ends; again"
    assert proof["title"] == home["title"] == "Retry"
    assert proof["boost"] < home["boost"] < section["boost"]
