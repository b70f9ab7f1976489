"""Every grader tells the good solutions of its case from the bad ones, criterion by criterion."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from evals.trial import Servers, grade

from evals import cases, graded

TIMES = int(os.environ.get("TIMES", "1"))
LINES = os.environ.get("GRADERS_LINES")  # the file for what `make graders KEEP=1` keeps
SOLUTIONS = [(case, name) for case in cases.every() for name in case.solutions]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


@pytest.mark.parametrize("turn", range(TIMES))
@pytest.mark.parametrize(("case", "solution"), SOLUTIONS, ids=[f"{case.name}-{name}" for case, name in SOLUTIONS])
def test_grader(case: cases.Case, solution: str, turn: int, servers: Servers, tmp_path: Path) -> None:
    began = time.monotonic()
    verdicts = grade(case, case.write(tmp_path / "project", solution), servers)
    seconds = time.monotonic() - began
    if LINES:
        with Path(LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(graded.line(case, solution, verdicts, seconds, servers.asked())) + "\n")
    for verdict in verdicts:
        print(f"{'passed' if verdict.passed else 'FAILED'} {verdict.criterion}: {verdict.evidence}")
    assert all(verdict.evidence for verdict in verdicts)
    assert [verdict.criterion for verdict in verdicts if not verdict.passed] == case.solutions[solution]
