"""The runner on the cases themselves, with real servers: the stand-in leaves each case's solutions behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import standin

from evals import cases, cli, formats

CASE = cases.load(cases.CASES / "points-twice")


def test_a_case_is_run_and_graded_in_both_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "opencode"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{Path(standin.__file__).read_text()}")
    program.chmod(0o755)
    arms = {"without_skill": "bad-check-first", "with_skill": "good"}
    # The stand-in knows the arms by the names of the skills.
    skill = tmp_path / "this-skill"
    skill.mkdir()
    text = (formats.SKILL / "SKILL.md").read_text()
    (skill / "SKILL.md").write_text(text.replace(f"name: {formats.SKILL_NAME}", "name: this-skill"))
    script = {"log": str(tmp_path / "log"), "case": str(CASE.folder)}
    script |= {arm: {"solution": solution} for arm, solution in arms.items()}
    (tmp_path / "script.json").write_text(json.dumps(script))
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(standin.KEYS["opencode"], str(tmp_path / "script.json"))
    words = ["--client", "opencode", "--case", CASE.name, "--runs", "1", "--skill", str(skill)]
    assert cli.main(["run", *words, "--folder", str(tmp_path / "runs")]) == 0
    for arm, solution in arms.items():
        record = json.loads((tmp_path / "runs" / CASE.name / arm / "run-1" / "run.json").read_text())
        failed = [verdict["criterion"] for verdict in record["verdicts"] if not verdict["passed"]]
        assert failed == CASE.solutions[solution]
        assert all(verdict["evidence"] for verdict in record["verdicts"])
