"""The record of the graders: what each says of the solutions of its case, in ``docs/data/graders.json``.

A grader is believed once it has told the solutions of its case apart `TIMES` times in a row. That takes too long for
every change, so `make graders KEEP=1` does it and keeps what was seen, and the tests fail for a case that has changed
since. Each change runs every grader once, which guards what cases share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from .cases import ROOT, BadCase, Case
from .skills import digest
from .trial import Verdict

KEPT = ROOT / "docs" / "data" / "graders.json"
TIMES = 10
Line = dict[str, Any]


def _digest(case: Case) -> str:
    """A hash of what a grading depends on, of what the case alone has."""
    about = json.dumps([list(case.criteria), case.solutions])
    grader = (case.folder / "grader.py").read_text(encoding="utf-8")
    return digest(about, grader, case.folder / "files", case.folder / "solutions")


def line(case: Case, solution: str, verdicts: list[Verdict], seconds: float, servers: list[str]) -> Line:
    """What one grading showed; ``servers`` are the versions of those it ran on."""
    return {
        "case": case.name,
        "digest": _digest(case),
        "solution": solution,
        "versions": [f"Celery {version('celery')}", f"Django {version('django')}", *servers],
        "seconds": round(seconds, 1),
        "verdicts": {one.criterion: {"passed": bool(one.passed), "evidence": one.evidence} for one in verdicts},
    }


def read(path: Path = KEPT) -> dict[str, Line]:
    """The record: what was seen of each case, by its name; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def keep(lines: Iterable[Line], cases: list[Case], path: Path = KEPT) -> tuple[list[str], list[str]]:
    """Put the cases of a run into the record: the names of those that were kept, and why others were not, a line each.

    A case is kept as a whole: each of its solutions was graded `TIMES` times as it stands, and always as expected.
    """
    runs: dict[str, list[Line]] = defaultdict(list)
    for one in lines:
        runs[one["case"]].append(one)
    known = {case.name: case for case in cases}
    record = {name: kept for name, kept in read(path).items() if name in known}
    taken, problems = [], []
    for name, found in sorted(runs.items()):
        if name not in known:
            raise BadCase(f"{name}: no such case; its lines are of another checkout")
        why = _unsteady(known[name], found)
        if why:
            problems.append(f"{name}: {why}")
        else:
            record[name] = _summary(known[name], found)
            taken.append(name)
    ordered = {name: record[name] for name in sorted(record)}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return taken, problems


def _unsteady(case: Case, found: list[Line]) -> str:
    """Why these gradings do not count; nothing where they do."""
    if {one["digest"] for one in found} != {_digest(case)}:
        return "was changed while it was graded; run it again"
    for solution, failed in case.solutions.items():
        runs = [one for one in found if one["solution"] == solution]
        if len(runs) < TIMES:
            return f"{solution} was graded {len(runs)} times, not {TIMES}"
        for one in runs:
            seen = [criterion for criterion, verdict in one["verdicts"].items() if not verdict["passed"]]
            if seen != failed:
                return f"{solution} failed {seen or 'nothing'}, not {failed or 'nothing'}"
    return ""


def _summary(case: Case, found: list[Line]) -> Line:
    """What is kept of a case: of each solution the last grading, and how many there were."""
    solutions = {}
    for solution in case.solutions:
        runs = [one for one in found if one["solution"] == solution]
        seconds = round(median(one["seconds"] for one in runs), 1)
        solutions[solution] = {"times": len(runs), "seconds": seconds, "verdicts": runs[-1]["verdicts"]}
    return {
        "digest": _digest(case),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": sorted({one for run in found for one in run["versions"]}),
        "solutions": solutions,
    }


def stale(cases: list[Case], path: Path = KEPT) -> list[str]:
    """Where the record is not of these cases as they stand, a line each that says how to mend it."""
    record = read(path)
    names = {case.name for case in cases}
    problems = [f"{name}: there is no such case; delete it from the record" for name in record.keys() - names]
    for case in cases:
        if record.get(case.name, {}).get("digest") != _digest(case):
            why = "changed since it was recorded" if case.name in record else "not recorded"
            problems.append(f"{case.name}: {why}; run `make graders KEEP=1 CASE={case.name}`")
    return problems
