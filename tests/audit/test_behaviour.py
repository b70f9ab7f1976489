"""No rule without evidence: a test that shows on the installed packages what the rule says, or a named source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery_audit import rules  # noqa: F401  registers them
from celery_audit.registry import RULES, Rule

FOLDER = Path(__file__).parent / "behaviour"
PROVEN = set(re.findall(r'mark\.proves\("(DCE\d{3})"\)', "".join(f.read_text() for f in FOLDER.glob("test_*.py"))))
# What a rule may rest on where nothing can be run here: a package's source file, or a page of its documentation.
NAMED = re.compile(r"\b(celery|kombu|billiard|django|django_celery_\w+)/[\w/]+\.py\b|https://\S+")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_evidence(rule: Rule) -> None:
    assert rule.id in PROVEN or NAMED.search(rule.source), f"{rule.id} has neither a proof nor a named source"
    assert (rule.id in PROVEN) == rule.source.startswith("Measured")


def test_no_proof_without_rule() -> None:
    assert RULES.keys() >= PROVEN
