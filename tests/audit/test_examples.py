"""Each rule's documentation is complete and true: its Bad is reported by it, its Good is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery_audit import rules  # noqa: F401  registers them
from celery_audit.registry import RULES, Rule
from trees import findings, write

REFERENCES = Path(__file__).parents[2] / "skills" / "django-celery-expert" / "references"
CASES = [
    pytest.param(rule, kind, example, id=f"{rule.id} {kind} {number}")
    for rule in RULES.values()
    for kind in ("bad", "good")
    for number, example in enumerate(getattr(rule, kind), 1)
]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_documented(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)
    for text in (rule.what, rule.why, rule.fix, rule.source):
        assert text.endswith((".", ")"))
    assert rule.bad
    assert rule.good


def test_names_are_unique() -> None:
    assert len({rule.name for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_reference_section_exists(rule: Rule) -> None:
    page, _, section = rule.reference.partition("#")
    headings = re.findall(r"(?m)^## (.+)$", (REFERENCES / f"{page}.md").read_text())
    assert section in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize(("rule", "kind", "example"), CASES)
def test_example(rule: Rule, kind: str, example: str, tmp_path: Path) -> None:
    write(tmp_path, example)
    found = [finding for finding in findings(tmp_path) if finding.rule is rule]
    assert bool(found) == (kind == "bad"), found
    assert all(finding.message and not finding.message.endswith(".") for finding in found)
