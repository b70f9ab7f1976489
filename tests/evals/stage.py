"""What the tests of the runner need: a small case, two skills, and stand-ins of the clients on the path."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import standin

from evals import cli

CASE = """\
prompt: Please make the greeting polite, customers complain about it.
references: [task-design-patterns#idempotency]
why: It is easy to greet and hard to be polite.
names_remedy: false
names_celery: false
expected_outcome: A greeting that says good day.
criteria:
  greets: There is a greeting at all.
  polite: The greeting says good day.
solutions: {good: [], bad-curt: [polite], bad-silent: [greets, polite]}
"""
GRADER = """\
from evals.trial import Verdict

def grade(trial):
    text = trial.text("orders/greeting.py")
    yield Verdict("greets", "GREETING" in text, f"{len(text)} letters")
    yield Verdict("polite", "Good day" in text, repr(text))
"""
SKILL = """\
---
name: {name}
description: Greets.
---

Say “Good day” and never “Hi”: a customer of {name} who was greeted with “Hi” has left the shop for another.
"""


class Stage:
    """A folder with a case, skills and clients, and the command in it."""

    def __init__(self, folder: Path, client: str, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.client = client
        self.runs = folder / "runs"
        self.case = folder / "cases" / "greeting"
        self.script = {"log": str(folder / "log"), "case": str(self.case)}
        for name, text in (("good", "GREETING = 'Good day'"), ("bad-curt", "GREETING = 'Hi'"), ("bad-silent", "")):
            self.write(f"cases/greeting/solutions/{name}/orders/greeting.py", text)
        self.write("cases/greeting/files/orders/greeting.py", "GREETING = 'Hey'")
        self.write("cases/greeting/case.yaml", CASE)
        self.write("cases/greeting/grader.py", GRADER)
        for name in ("this-skill", "that-skill"):
            self.write(f"{name}/SKILL.md", SKILL.format(name=name))
        source = Path(standin.__file__).read_text()
        program = self.write(f"bin/{client}", f"#!{sys.executable}\n{source}")
        program.chmod(0o755)
        for key in {*standin.KEYS.values(), "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY", "OPENCODE_API_KEY"}:
            patch.delenv(key, raising=False)
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv(standin.KEYS[client], str(folder / "script.json"))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def arguments(self, *more: str, **arms: Any) -> list[str]:
        """The command's words; ``arms`` say what the stand-in does in each."""
        self.write("script.json", json.dumps(self.script | arms))
        places = [
            "--cases",
            str(self.case.parent),
            "--folder",
            str(self.runs),
            "--skill",
            str(self.folder / "this-skill"),
        ]
        return ["run", "--client", self.client, *places, "--runs", "1", *more]

    def run(self, *more: str, **arms: Any) -> int:
        return cli.main(self.arguments(*more, **arms))

    @property
    def other(self) -> list[str]:
        return ["--other", str(self.folder / "that-skill")]

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What the stand-in saw at each start."""
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def kept(self, name: str) -> Any:
        return json.loads((self.runs / name).read_text())

    def record(self, arm: str, number: int = 1) -> dict[str, Any]:
        return self.kept(f"greeting/{arm}/run-{number}/run.json")


GOOD, CURT, SILENT = ({"solution": name} for name in ("good", "bad-curt", "bad-silent"))
