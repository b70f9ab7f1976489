"""What the evaluations hand to real clients: cases that `plugin eval` takes, and a skill where each client looks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clients import ClaudeCode, Codex, GeminiSkill, OpenCode
from evals.clients import CLIENTS
from homes import CommandFailed, Home
from sources import Source
from test_what_is_offered import PLAIN

from evals import cases, formats

KINDS = {"claude": ClaudeCode, "codex": Codex, "gemini": GeminiSkill, "opencode": OpenCode}
# It would ask a judge next, for which there is no account here.
EVAL = ("claude", "plugin", "eval", "plugin", "--trust-plugin", "--no-publish", "--runs", "1", "--ablation", "none")
REFUSED = "Couldn't load 1 case file"


@pytest.fixture
def plugin(home: Home, source: Source) -> Path:
    """The plugin as `plugin eval` takes it, with the cases."""
    folder = home.project / "plugin"
    shutil.copytree(source.clone / "plugins" / formats.SKILL_NAME, folder)
    formats.export(cases.every(), folder / "evals")
    return folder


def evaluated(home: Home) -> str:
    with pytest.raises(CommandFailed) as failure:
        home.run(*EVAL, "--scaffold")
    return str(failure.value)


def test_claude_code_takes_every_case(home: Home, plugin: Path) -> None:
    said = evaluated(home)
    assert "Not logged in" in said and "scaffold failed" not in said
    assert f"{len(cases.every())} case(s)" in said or "partial (stopped" in said
    assert "Couldn't load" not in said and "invalid case.yaml" not in said


def test_claude_code_would_refuse_a_case_of_another_form(home: Home, plugin: Path) -> None:
    path = plugin / "evals" / cases.every()[0].name / "case.yaml"
    path.write_text(path.read_text().replace("focus: files", "focus: nothing"))
    said = evaluated(home)
    assert REFUSED in said and "invalid case.yaml" in said


@pytest.mark.parametrize("name", CLIENTS)
def test_the_runner_lays_the_skill_where_the_client_looks(name: str) -> None:
    """That it is found there is shown by the tests of what is offered."""
    assert CLIENTS[name].skills == PLAIN[KINDS[name]]
