"""Recall and silence: each rule finds its mistake in at least five spellings, and lets the right twin of each pass.

``spellings/DCE101.txt`` holds cases: ``##### what differs``, then ``----- wrong``, files, ``----- right``, files. In
the wrong half every line that must be reported ends in ``# <- DCE101``, and no other line may be; the right half is
silent.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery_audit import rules  # noqa: F401  registers them
from celery_audit.registry import RULES
from trees import findings, write

FOLDER = Path(__file__).parent / "spellings"
FORM = re.compile(
    r"(?ms)^##### (?P<title>[^\n]+)\n----- wrong\n(?P<wrong>.*?)^----- right\n(?P<right>.*?)(?=^##### |\Z)"
)


def cases() -> list[tuple[str, str, str, str]]:
    found = []
    for file in sorted(FOLDER.glob("*.txt")):
        text = file.read_text()
        matches = list(FORM.finditer(text))
        assert len(matches) == len(re.findall("(?m)^#####", text)), f"{file.name}: a case lacks its wrong or right half"
        found += [(file.stem, match["title"], match["wrong"], match["right"]) for match in matches]
    return found


CASES = cases()


@pytest.mark.parametrize(
    ("rule", "wrong", "right"), [pytest.param(r, w, t, id=f"{r} {title}") for r, title, w, t in CASES]
)
def test_spelling(rule: str, wrong: str, right: str, tmp_path: Path) -> None:
    expected = write(tmp_path / "wrong", wrong)
    assert expected, "the wrong half marks no line"
    reported = {(finding.path, finding.line) for finding in findings(tmp_path / "wrong", rule)}
    assert reported == {place for place, ids in expected.items() if rule in ids}
    assert not write(tmp_path / "right", right)
    assert not findings(tmp_path / "right", rule)


@pytest.mark.parametrize("rule", RULES)
def test_five_spellings(rule: str) -> None:
    titles = [title for id, title, *_ in CASES if id == rule]
    assert len(titles) >= 5
    assert len(set(titles)) == len(titles)


def test_no_spelling_without_rule() -> None:
    assert {rule for rule, *_ in CASES} <= RULES.keys()
