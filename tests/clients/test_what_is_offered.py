"""What reaches a model, as far as a client tells without one, and skills that were put in place without a command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from clients import ClaudeCode, Client, Codex, GeminiSkill, OpenCode, SkillsCli
from homes import Home
from installed import files_of
from sources import NAME, Source
from test_round_trips import frontmatter

# The folders in which a client looks for skills that somebody has put there.
PLAIN = {
    ClaudeCode: ".claude/skills",
    Codex: ".codex/skills",
    GeminiSkill: ".gemini/skills",
    OpenCode: ".config/opencode/skills",
}


def offered(client: Client, name: str) -> str | None:
    """The description of a skill that belongs to no plugin."""
    match client:
        case ClaudeCode():
            # Where it came from stands behind the description.
            return re.sub(r" \((user|project)\)$", "", client.offered().get(name, ""))
        case Codex():
            return client.seen(name)
        case _:
            listing = client.listed()
            return listing and listing.description


def test_codex_reads_the_whole_skill(home: Home, source: Source) -> None:
    """Its app server names the file that it hands to the model, of which it takes 8,000 bytes."""
    codex = Codex(home, source, "folder")
    codex.install()
    requests = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "0"}}},
        {"method": "initialized"},
        {"id": 2, "method": "skills/list", "params": {"cwds": [str(home.project)]}},
    ]
    [folder] = home.ask("codex", "app-server", requests=requests)["data"]
    assert folder["errors"] == []
    [skill] = [skill for skill in folder["skills"] if skill["name"] == f"{NAME}:{NAME}"]
    assert skill["enabled"] and skill["description"] == frontmatter(source.skill)["description"]
    assert Path(skill["path"]) == codex.landed() / "SKILL.md"
    assert Path(skill["path"]).read_bytes() == (source.skill / "SKILL.md").read_bytes()
    assert Path(skill["path"]).stat().st_size <= 8_000


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_the_page_alone_in_a_folder_of_another_name_is_listed(kind: type[Client], home: Home, source: Source) -> None:
    """So the first version of SkillHub's program installs it."""
    folder = home.path / PLAIN[kind] / f"owner-repo-{NAME}"
    folder.mkdir(parents=True)
    shutil.copy(source.skill / "SKILL.md", folder)
    assert offered(kind(home, source, "folder"), NAME) == frontmatter(source.skill)["description"]


def test_opencode_takes_a_folder_of_skills(home: Home, source: Source) -> None:
    settings = home.path / ".config" / "opencode" / "opencode.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"skills": {"paths": [str(source.skill.parent)]}}))
    assert offered(OpenCode(home, source, "folder"), NAME) == frontmatter(source.skill)["description"]


def test_every_agent_sees_what_the_skills_cli_wrote(home: Home, source: Source) -> None:
    SkillsCli(home, source, "folder").install()
    want = frontmatter(source.skill)["description"]
    for kind in PLAIN:
        assert offered(kind(home, source, "folder"), NAME) == want, kind.title


@pytest.mark.parametrize("agent", ["cursor", "antigravity"])
def test_the_skills_cli_writes_for_clients_that_cannot_be_run_here(agent: str, home: Home, source: Source) -> None:
    cli = SkillsCli(home, source, "folder")
    cli.skills("add", cli.address, "--skill", NAME, "-a", agent, "-y")
    assert files_of(cli.landed()) == source.files()
