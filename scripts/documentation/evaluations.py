"""The page of evaluation cases: what is asked, why it goes wrong, and what graders saw of good and bad solutions."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from evals.cases import Case, every

from .sources import ROOT, read, reference

INTRODUCTION = """# Evaluation cases

{cases} requests as users type them, each in a small Django project. A program runs what an assistant leaves behind and
judges it, criterion by criterion: with real workers, messages delivered twice, processes killed, a broker that is away.
Each grader has told {solutions} solutions, good ones and plausible bad ones, apart ten times in a row: **{gradings:,}
gradings, each as expected**. What is shown is what it saw of the last. [How to run them](../evals/README.md).
"""
RESULTS = "No result of an assistant is published here: a number would be of one day, one model and one client."
Kept = dict[str, Any]


def page(results: Path = ROOT / "docs" / "data") -> str:
    """The whole page; ``results`` is the folder that holds ``benchmark.md`` and ``benchmark.svg`` of a run, if any."""
    cases = every()
    record: dict[str, Kept] = json.loads(read("docs/data/graders.json"))
    solutions = [kept for case in cases for kept in record[case.name]["solutions"].values()]
    gradings = sum(kept["times"] for kept in solutions)
    parts = [INTRODUCTION.format(cases=len(cases), solutions=len(solutions), gradings=gradings), _results(results)]
    parts += [_case(case, record[case.name]) for case in cases]
    return "\n\n".join(parts) + "\n"


def _results(folder: Path) -> str:
    """What `python scripts/evals run` wrote, where it was copied into the folder."""
    table, plot = folder / "benchmark.md", folder / "benchmark.svg"
    if not table.is_file() or not plot.is_file():
        return RESULTS
    picture = f'<div class="picture-frame" tabindex="0">\n{plot.read_text(encoding="utf-8").strip()}\n</div>'
    return f"## Results\n\n{table.read_text(encoding='utf-8').strip()}\n\n{picture}"


def _case(case: Case, kept: Kept) -> str:
    """One case: the request, the trap, and the solutions with what was seen of them."""
    request = "\n".join(f"> {line}".rstrip() for line in case.prompt.splitlines())
    sections = ", ".join(map(reference, case.about["references"]))
    rows = ["| solution | criteria met | what the grader saw |", "|---|---:|---|"]
    for name, solution in kept["solutions"].items():
        verdicts = solution["verdicts"]
        failed = {one: verdict for one, verdict in verdicts.items() if not verdict["passed"]}
        mark = "✕" if failed else "✓"
        rows.append(
            f"| {mark} {name} | {len(verdicts) - len(failed)} of {len(verdicts)} | {_seen(failed or verdicts)} |"
        )
    facts = f"graded {kept['date']} on {', '.join(kept['versions'])} · read {sections}\n{{ .facts }}"
    trap = f"**Where it goes wrong.** {case.about['why'].strip()}"
    right = f"**What holds.** {case.about['expected_outcome'].strip()}"
    return "\n\n".join([f"## {case.name}", facts, request, trap, right, "\n".join(rows)])


def _seen(verdicts: Kept) -> str:
    """What was seen of each criterion; once where it is the same for several."""
    criteria: dict[str, list[str]] = defaultdict(list)
    for criterion, verdict in verdicts.items():
        criteria[verdict["evidence"]].append(criterion)
    return "<br>".join(f"{', '.join(names)}: {_cell(evidence)}" for evidence, names in criteria.items())


def _cell(text: str) -> str:
    """Evidence as text, whatever marks it holds."""
    return "".join(f"\\{letter}" if letter in r"\`*_<>[]|#" else letter for letter in text)
