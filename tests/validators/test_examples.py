"""Each check's own examples: Bad is reported by it, Good is not. A check that cannot fail is a defect."""

from __future__ import annotations

from pathlib import Path

import pytest
from skill_trees import write
from validate import checks  # noqa: F401  registers them
from validate.checks import names  # noqa: F401  and those that need Celery and Django
from validate.registry import CHECKS, INSTALLED, Check
from validate.runner import validate

EVERY = CHECKS | INSTALLED
CASES = [
    pytest.param(check, kind, example, id=f"{check.id} {kind} {number}")
    for check in EVERY.values()
    for kind in ("bad", "good")
    for number, example in enumerate(getattr(check, kind), 1)
]


@pytest.mark.parametrize("check", EVERY.values(), ids=lambda check: check.id)
def test_documented(check: Check) -> None:
    assert check.what.endswith(".")
    assert check.why.endswith((".", ")"))
    assert check.mend.endswith(".")
    assert check.bad
    assert check.good


@pytest.mark.parametrize(("check", "kind", "example"), CASES)
def test_example(check: Check, kind: str, example: str, tmp_path: Path) -> None:
    installed = check.id in INSTALLED
    root = write(tmp_path, example + "\n")
    findings = validate(root, installed=installed, select=["names/"] if installed else []).findings
    found = [finding for finding in findings if finding.check == check.id]
    if kind == "bad":
        assert found, f"nothing reported; others: {findings}"
        assert all(finding.line >= 1 and finding.column >= 1 and finding.message for finding in found)
    else:
        assert not found
        assert not [finding for finding in findings if finding.severity == "error"]
