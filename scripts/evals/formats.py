"""The published formats, made of the cases: ``evals.json`` of Agent Skills, and cases of Claude Code's ``plugin eval``.

Neither format can run a project, so what a grader executes becomes a sentence there: what `grade` says is the measure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .cases import ROOT, SKELETON, Case

SKILL_NAME = "django-celery-expert"
SKILL = ROOT / "skills" / SKILL_NAME
EVALS_JSON = ROOT / "evals" / "evals.json"
MINUTES = 15
# `plugin eval` runs it in the empty folder that the assistant will work in.
SCAFFOLD = '#!/usr/bin/env bash\nset -e\ncp -R "$(dirname "$0")/project/." .\n'


def agent_skills(cases: list[Case]) -> dict[str, Any]:
    """The object of ``evals.json``, https://agentskills.io/skill-creation/evaluating-skills."""
    evals = [
        {
            "id": number,
            "name": case.name,
            "prompt": case.prompt,
            "expected_output": case.about["expected_outcome"],
            "files": [str(folder.relative_to(ROOT)) for folder in (SKELETON, case.folder / "files") if folder.is_dir()],
            "assertions": list(case.criteria.values()),
        }
        for number, case in enumerate(cases, 1)
    ]
    return {"skill_name": SKILL_NAME, "evals": evals}


def agent_skills_text(cases: list[Case]) -> str:
    """What ``evals/evals.json`` holds."""
    return json.dumps(agent_skills(cases), indent=2, ensure_ascii=False) + "\n"


def claude_code(case: Case) -> dict[str, Any]:
    """A ``case.yaml`` of ``claude plugin eval``: a judge for each criterion, and whether the skill was used."""
    judges = [
        {
            "type": "llm",
            "name": criterion,
            "criteria": f"{sentence} The files show it: reason about what they do when they run.",
            "focus": "files",
        }
        for criterion, sentence in case.criteria.items()
    ]
    used = {
        "type": "tool_used",
        "name": "uses-the-skill",
        "tool": "Skill",
        "input_match": SKILL_NAME,
        "arm": "with-only",
    }
    pages = dict.fromkeys(reference.partition("#")[0] for reference in case.about["references"])
    return {
        "schema_version": "1.0",
        "name": case.name,
        "description": case.about["why"],
        "tags": [*pages, "names-the-remedy" if case.about["names_remedy"] else "names-no-remedy"],
        "context": {"scaffold_script": "scaffold.sh"},
        "execution": {
            "prompt": case.prompt,
            "max_turns": 60,
            "timeout_seconds": 60 * MINUTES,
            "allowed_tools": ["Read", "Glob", "Grep", "Edit", "Write", "Bash", "Skill"],
        },
        "graders": [*judges, used],
        "expected_outcome": case.about["expected_outcome"],
    }


def export(cases: list[Case], folder: Path) -> list[Path]:
    """Write the cases of ``claude plugin eval`` below ``folder``, each with its project."""
    written = []
    for case in cases:
        home = folder / case.name
        case.write(home / "project")
        (home / "scaffold.sh").write_text(SCAFFOLD)
        text = yaml.safe_dump(claude_code(case), sort_keys=False, allow_unicode=True, width=110)
        (home / "case.yaml").write_text(text, encoding="utf-8")
        written.append(home)
    return written
