"""What programs of others say of the repository: nothing, but for what is accepted here with its reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from homes import TOOLS, Home
from sources import NAME, Source

OPINIONS = TOOLS / "opinions" / "bin"
SCANNER = TOOLS / "scanner" / "bin"
PLUGIN = Path("plugins", NAME)
SKILLS = [Path("skills", NAME), PLUGIN / "skills" / NAME]

# Every warning that is accepted: who says it, the rule, the file, and why it stays. An entry that nobody needs fails.
NO_ICON = "An icon is for the listing in the plugin directory, where the plugin is not; it is installed without."
SARIF = "The name of SARIF's schema, which every SARIF report carries; the audit opens no connection."
PAGES = "The address of the page that a rule rests on, in its documentation; the audit opens no connection."
EXAMPLES = "Calls of requests in the examples of the rule that finds those without a timeout; the audit makes none."
ACCEPTED = {
    ("claude", "ICON_MISSING", PLUGIN.as_posix()): NO_ICON,
    ("skill-scanner", "UNDECLARED_NETWORK_DESTINATION", "scripts/celery_audit/report.py"): SARIF,
    ("skill-scanner", "UNDECLARED_NETWORK_DESTINATION", "scripts/celery_audit/rules/deployment.py"): PAGES,
    ("skill-scanner", "UNDECLARED_NETWORK_DESTINATION", "scripts/celery_audit/rules/settings.py"): PAGES,
    ("skill-scanner", "DATA_EXFIL_NETWORK_REQUESTS", "scripts/celery_audit/rules/retries.py"): EXAMPLES,
    ("skill-scanner", "TOOL_ABUSE_UNDECLARED_NETWORK", "SKILL.md"): EXAMPLES,
}


def said(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"
    return done.stdout


def accepted(tool: str) -> set[tuple[str, str]]:
    return {(rule, path) for who, rule, path in ACCEPTED if who == tool}


@pytest.mark.parametrize("skill", SKILLS, ids=str)
def test_the_specification(skill: Path, source: Source) -> None:
    assert said(OPINIONS / "agentskills", "validate", source.clone / skill).startswith("Valid skill")


@pytest.mark.parametrize("place", [Path(), PLUGIN], ids=["marketplace", "plugin"])
def test_claude_plugin_validate(place: Path, home: Home, source: Source) -> None:
    output = home.run("claude", "plugin", "validate", "--strict", source.clone / place)
    assert "✔ Validation passed" in output
    found = {(rule, place.as_posix()) for rule in re.findall(r"\(([A-Z]+(?:_[A-Z]+)+)\)\.", output)}
    assert len(found) == sum(map(int, re.findall(r"Found (\d+) ", output)))
    assert found == {(rule, path) for rule, path in accepted("claude") if path == place.as_posix()}


def test_gemini_extensions_validate(home: Home, source: Source) -> None:
    assert "has been successfully validated" in home.run("gemini", "extensions", "validate", source.clone)


def test_agnix(source: Source) -> None:
    report = json.loads(said(OPINIONS / "agnix", "--format", "json", ".", cwd=source.clone))
    assert report["files_checked"] > 5
    found = {(item["rule"], item["file"]) for item in report["diagnostics"] if item["level"] != "info"}
    assert found == accepted("agnix")


def test_skillsaw(source: Source) -> None:
    report = json.loads(said(OPINIONS / "skillsaw", "lint", "--no-baseline", "--format", "json", ".", cwd=source.clone))
    summary = report["summary"]
    assert (summary["errors"], summary["warnings"]) == (0, 0), report["violations"]
    assert summary["grade"]["letter"] in ("A", "A+")
    assert report["stats"]["skills"] == len(SKILLS)


def test_rumdl(source: Source) -> None:
    assert said(Path(sys.executable).with_name("rumdl"), "check", "--quiet", ".", cwd=source.clone) == ""


def test_skill_scanner(source: Source) -> None:
    """Its rules and its data-flow analysis; the analysis by a model stays off."""
    command = [SCANNER / "skill-scanner", "scan", "--use-behavioral", "--format", "json", "--compact"]
    report = json.loads(said(*command, source.skill))
    assert {(finding["rule_id"], finding["file_path"]) for finding in report["findings"]} == accepted("skill-scanner")
    assert {"static_analyzer", "behavioral_analyzer"} <= set(report["analyzers_used"])


def test_the_portable_manifest_fits_its_published_schema(source: Source) -> None:
    """plugin.json of the Agent Plugins standard, which Cursor documents that it loads; skillsaw ships the schema."""
    [schema] = (TOOLS / "opinions").glob(
        "lib/python*/site-packages/skillsaw/schemas/agent_plugins/v1_0_0/plugin.schema.json"
    )
    manifest = json.loads((source.clone / PLUGIN / "plugin.json").read_text())
    jsonschema.validate(manifest, json.loads(schema.read_text()))
