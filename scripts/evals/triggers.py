"""Whether a client reads the skill when it should, and only then: the queries of ``evals/triggers.json``, asked."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from .cases import ROOT, Case
from .run import Record

QUERIES = ROOT / "evals" / "triggers.json"
THRESHOLD = 0.5  # the share of runs from which a query counts as triggering


def queries(split: str, path: Path = QUERIES) -> list[dict[str, Any]]:
    """The queries of a part, or of both, each with its number in the file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return [{**query, "number": number} for number, query in enumerate(found, 1) if split in ("", query["split"])]


def as_cases(asked: list[dict[str, Any]]) -> list[Case]:
    """Each query as a case without a grader, in the shop as it is."""
    return [Case(QUERIES.parent / "queries" / f"query-{q['number']:02}", {"prompt": q["query"]}) for q in asked]


def summary(asked: list[dict[str, Any]], records: list[Record]) -> dict[str, Any]:
    """For each query how often the skill was read, and how many queries of each part are as they should be."""
    results = []
    for query in asked:
        runs = [r for r in records if r.case == f"query-{query['number']:02}" and r.status == "ungraded"]
        if runs:
            rate = mean(bool(record.skill_used) for record in runs)
            passed = (rate >= THRESHOLD) == query["should_trigger"]
            results.append({**query, "runs": len(runs), "trigger_rate": round(rate, 4), "passed": passed})
    parts = {
        split: {"passed": sum(r["passed"] for r in found), "queries": len(found)}
        for split in ("train", "validation")
        if (found := [result for result in results if result["split"] == split])
    }
    return {"summary": parts, "results": results}
