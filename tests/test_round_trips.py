"""The README promises what the clients did: its table is of the kept record, and its commands are in there, passed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import round_trips

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("claude ", "codex ", "gemini ", "opencode ", "npx ", "rm ")
RECORD = {
    "date": "2030-01-02",
    "platform": "Linux",
    "rows": [
        {
            "client": "Client",
            "version": "1",
            "from": "folder",
            "what": "update",
            "commands": ["client update"],
            "result": "passed",
        }
    ],
}
README = f"Before\n{round_trips.BEGIN}\n{round_trips.END}\nAfter\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    return tmp_path


def run(repository: Path, *arguments: str) -> int:
    return round_trips.main(["--root", str(repository), *arguments])


def install_commands() -> list[str]:
    """The client commands of the README's section: lines of its blocks, and code within sentences."""
    section = (ROOT / "README.md").read_text().split("## Install\n")[1].split("<!-- round trips")[0]
    prose, *blocks = section.split("```bash\n")
    for number, block in enumerate(blocks):
        blocks[number], _, rest = block.partition("```\n")
        prose += rest
    found = [*"".join(blocks).splitlines(), *re.findall(r"`([^`\n]+)`", prose)]
    return [command for command in found if command.startswith(PROGRAMS)]


def test_the_texts_are_what_the_record_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert round_trips.main(["--check"]) == 0, capsys.readouterr().out


def test_every_command_of_the_readme_was_run() -> None:
    rows = json.loads((ROOT / round_trips.KEPT).read_text())["rows"]
    passed = {command for row in rows if row["result"] == "passed" for command in row["commands"]}
    commands = install_commands()
    assert len(commands) > 20
    # `npx skills@1.7.4 add`, named in a sentence, is the beginning of a command; SkillHub's line is not ours to run.
    named = {"npx skills@1.7.4 add", "npx @skill-hub/cli install SLUG"}
    assert [command for command in commands if command not in passed | named] == []


def test_the_lock_has_hashes_and_no_addresses() -> None:
    lock = json.loads((ROOT / "tests" / "clients" / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert [package for package in packages if "resolved" in package or "integrity" not in package] == []


def test_a_record_is_written_once(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(repository, str(repository / "record.json")) == 0
    assert "README.md: written" in capsys.readouterr().out
    assert "| Client | 1 | `client update` | passed |" in (repository / round_trips.PAGE).read_text()
    assert (repository / "README.md").read_text().startswith("Before\n")
    assert run(repository, str(repository / "record.json")) == 0
    assert run(repository, "--check") == 0
    assert capsys.readouterr().out == ""


def test_another_date_is_no_drift_and_another_result_is(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = repository / "record.json"
    run(repository, str(record))
    record.write_text(json.dumps(RECORD | {"date": "2030-02-02"}))
    assert run(repository, "--check", str(record)) == 0
    record.write_text(json.dumps(RECORD | {"rows": [RECORD["rows"][0] | {"result": "failed"}]}))
    capsys.readouterr()
    assert run(repository, "--check", str(record)) == 1
    assert "Client 1, folder, update: failed; run `make clients`" in capsys.readouterr().out


def test_a_table_changed_by_hand_is_drift(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(repository, str(repository / "record.json"))
    readme = repository / "README.md"
    readme.write_text(readme.read_text().replace("2030", "2031"))
    capsys.readouterr()
    assert run(repository, "--check") == 1
    assert capsys.readouterr().out == "README.md: is not what the record says; run `make clients`\n"


@pytest.mark.parametrize(
    ("name", "content"), [("record.json", "{"), ("record.json", "{}"), ("README.md", "no marks")], ids=repr
)
def test_bad_input_gets_one_line(repository: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / name).write_text(content)
    assert run(repository, str(repository / "record.json")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
