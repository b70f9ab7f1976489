"""Every grader tells the good solutions of its case from the bad ones, criterion by criterion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from evals.trial import Servers, grade

from evals import cases

TIMES = int(os.environ.get("TIMES", "1"))
SOLUTIONS = [(case, name) for case in cases.every() for name in case.solutions]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize(("case", "solution"), SOLUTIONS, ids=[f"{case.name}-{name}" for case, name in SOLUTIONS])
def test_grader(case: cases.Case, solution: str, time: int, servers: Servers, tmp_path: Path) -> None:
    verdicts = grade(case, case.write(tmp_path / "project", solution), servers)
    for verdict in verdicts:
        print(f"{'passed' if verdict.passed else 'FAILED'} {verdict.criterion}: {verdict.evidence}")
    assert all(verdict.evidence for verdict in verdicts)
    assert [verdict.criterion for verdict in verdicts if not verdict.passed] == case.solutions[solution]
