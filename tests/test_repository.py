"""This repository keeps its own rules: generated files are in step, budgets hold, the validators find nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import sync
import tokens
from validate import cli
from validate.document import parse

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "skills" / "django-celery-expert"
TEXTS = [SKILL / "SKILL.md", *sorted((SKILL / "references").glob("*.md"))]


def test_generated_files_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main(["--check"]) == 0, capsys.readouterr().out


def test_tokens_are_counted_and_within_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokens.main(["--check"]) == 0, capsys.readouterr().out


def test_validators_find_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(ROOT)]) == 0, capsys.readouterr().out


def test_version_has_its_changelog_entry() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_navigation_is_by_link(path: Path) -> None:
    spans = [span for span in parse(path.name, path.read_text()).spans if re.search(r"\w\.md\b", span.content)]
    assert not spans


@pytest.mark.parametrize("path", TEXTS[1:], ids=lambda path: path.stem)
def test_reference_opens_with_contents_and_ends_with_mistakes(path: Path) -> None:
    document = parse(path.name, path.read_text())
    sections = [heading for heading in document.headings if heading.level == 2]
    assert [sections[0].text, sections[-1].text] == ["Contents", "Mistakes to look for"]
    listed = [link.target for link in document.links if sections[0].line < link.line < sections[1].line]
    assert listed == [f"#{slug}" for slug in (heading_slug(section.text) for section in sections[1:])]


def heading_slug(text: str) -> str:
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


def test_all_seven_references_are_reached_from_the_skill() -> None:
    targets = {link.target.partition("#")[0] for link in parse("SKILL.md", TEXTS[0].read_text()).links}
    assert {f"references/{path.name}" for path in TEXTS[1:]} <= targets
    assert len(TEXTS) == 8


def test_lock_has_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text()
    pins = re.findall(r"^[a-z0-9][\w.-]*==", lock, re.MULTILINE)
    assert len(pins) > 40
    assert not re.search(r"https?://|file:|--index-url|--find-links", lock)
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[a-z0-9][\w.-]*==)", lock, flags=re.MULTILINE)[1:])
