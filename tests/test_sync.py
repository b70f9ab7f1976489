"""The generator of manifests finds every kind of drift, mends it, and says in one line why it cannot."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "django-celery-expert"
SKILL = f"skills/{NAME}"
COPY = f"plugins/{NAME}/{SKILL}"

spec = importlib.util.spec_from_file_location("sync", REPOSITORY / "scripts" / "sync.py")
sync = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sync)

MANIFESTS = [path.format(name=NAME) for path in sync.MANIFESTS]
# Codex reads the version from the plugin's manifest, and OpenCode from package.json: these two carry none.
VERSIONED = [path for path in MANIFESTS if path.endswith(".json") and not path.startswith(".agents/")]

SKILL_MD = """\
---
name: django-celery-expert
description: Background tasks.
metadata:
  author: someone
  version: "0.0.1"  # written by make sync
---

# Title

version: this line is text, not frontmatter
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository: the real pyproject.toml and a skill of four files, in step."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    put(tmp_path / SKILL / "SKILL.md", SKILL_MD)
    put(tmp_path / SKILL / "references" / "retries.md", "# Retries\n")
    put(tmp_path / SKILL / "scripts" / "audit.py", "print('audit')\n").chmod(0o755)
    put(tmp_path / SKILL / "scripts" / "__pycache__" / "audit.pyc", "cache")
    assert run(tmp_path) == 0
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(tree: Path, *options: str) -> int:
    return sync.main([*options, "--root", str(tree)])


def snapshot(tree: Path) -> dict[str, object]:
    """Every path with what it holds and its mode, to see whether anything was written."""
    return {
        str(path.relative_to(tree)): path.readlink()
        if path.is_symlink()
        else (path.is_file() and path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in tree.rglob("*")
    }


def release(tree: Path, version: str) -> None:
    path = tree / "pyproject.toml"
    current = sync.read_facts(tree)["version"]
    path.write_text(path.read_text().replace(f'version = "{current}"', f'version = "{version}"'))


def test_a_tree_in_step_is_left_alone(tree, capsys):
    before = snapshot(tree)
    capsys.readouterr()
    assert run(tree) == 0
    assert run(tree, "--check") == 0
    assert capsys.readouterr().out == ""
    assert snapshot(tree) == before


def test_every_manifest_is_written(tree):
    assert all((tree / path).is_file() for path in MANIFESTS)
    assert all(json.loads((tree / path).read_text()) for path in MANIFESTS if path.endswith(".json"))


def test_the_copy_holds_the_skill_and_its_modes_but_no_caches(tree):
    files = {path.relative_to(tree / COPY) for path in (tree / COPY).rglob("*") if path.is_file()}
    assert files == {Path("SKILL.md"), Path("references/retries.md"), Path("scripts/audit.py")}
    assert all((tree / COPY / file).read_bytes() == (tree / SKILL / file).read_bytes() for file in files)
    assert (tree / COPY / "scripts" / "audit.py").stat().st_mode & 0o111
    assert not (tree / COPY / "SKILL.md").stat().st_mode & 0o111


def test_the_skill_gets_the_version_and_keeps_every_other_byte(tree):
    version = sync.read_facts(tree)["version"]
    expected = SKILL_MD.replace('"0.0.1"  # written by make sync', f'"{version}"')
    assert (tree / SKILL / "SKILL.md").read_text() == expected


DRIFTS = {
    **{f"changed {path}": lambda tree, path=path: put(tree / path, "{}\n") for path in MANIFESTS},
    **{f"missing {path}": lambda tree, path=path: (tree / path).unlink() for path in MANIFESTS},
    "edited copy": lambda tree: put(tree / COPY / "references/retries.md", "# Retries, edited\n"),
    "edited skill": lambda tree: put(tree / SKILL / "references/retries.md", "# Retries, edited\n"),
    "new file": lambda tree: put(tree / SKILL / "references/beat.md", "# Beat\n"),
    "missing file": lambda tree: (tree / COPY / "references/retries.md").unlink(),
    "missing copy": lambda tree: shutil.rmtree(tree / COPY),
    "extra file": lambda tree: put(tree / COPY / "references/gone.md", "# Gone\n"),
    "extra folder": lambda tree: put(tree / COPY / "old/deep/gone.md", "# Gone\n"),
    "extra link": lambda tree: (tree / COPY / "link.md").symlink_to("SKILL.md"),
    "link for a file": lambda tree: relink(tree / COPY / "SKILL.md", tree / SKILL / "SKILL.md"),
    "lost mode": lambda tree: (tree / COPY / "scripts/audit.py").chmod(0o644),
    "added mode": lambda tree: (tree / COPY / "references/retries.md").chmod(0o755),
    "version of the skill": lambda tree: put(tree / SKILL / "SKILL.md", SKILL_MD),
    "missing link": lambda tree: (tree / "references").unlink(),
    "wrong link": lambda tree: relink(tree / "references", Path("elsewhere")),
    "release": lambda tree: release(tree, "9.8.7"),
}


def relink(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_found_without_writing_and_mended_once(tree, capsys, drift):
    DRIFTS[drift](tree)
    before = snapshot(tree)
    capsys.readouterr()
    assert run(tree, "--check") == 1
    found = capsys.readouterr().out.splitlines()
    assert found and all(": " in line and line.endswith("run `make sync`") for line in found)
    assert snapshot(tree) == before

    assert run(tree) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found)
    assert run(tree, "--check") == 0
    assert not list((tree / COPY).rglob("gone.md"))


def test_a_release_reaches_every_manifest_and_the_skill(tree):
    release(tree, "9.8.7")
    run(tree)
    assert [path for path in VERSIONED if '"9.8.7"' not in (tree / path).read_text()] == []
    assert '  version: "9.8.7"\n' in (tree / SKILL / "SKILL.md").read_text()
    assert '  version: "9.8.7"\n' in (tree / COPY / "SKILL.md").read_text()


def test_a_drift_names_the_file_and_the_line(tree, capsys):
    release(tree, "9.8.7")
    capsys.readouterr()
    run(tree, "--check")
    assert "gemini-extension.json: differs from line 3 on; run `make sync`" in capsys.readouterr().out


def test_caches_in_the_copy_are_no_drift_and_go_with_their_folder(tree):
    put(tree / COPY / "scripts" / "__pycache__" / "audit.pyc", "cache")
    assert run(tree, "--check") == 0
    shutil.rmtree(tree / SKILL / "scripts")
    assert run(tree) == 0
    assert not (tree / COPY / "scripts").exists()


def test_the_repository_address_reaches_manifests_once_there_is_one(tree):
    assert "repository" not in (tree / f"plugins/{NAME}/.claude-plugin/plugin.json").read_text()
    address = "https://example.org/owner/repo"
    with (tree / "pyproject.toml").open("a") as file:
        file.write(f'\n[project.urls]\nRepository = "{address}"\n')
    run(tree)
    for path in (f"plugins/{NAME}/.claude-plugin/plugin.json", f"plugins/{NAME}/.codex-plugin/plugin.json"):
        assert json.loads((tree / path).read_text())["repository"] == address


def test_urls_of_an_unknown_form_are_not_read(tree):
    edit("[project]\n", "[project]\nurls = 3\n")(tree)
    assert run(tree, "--check") == 0


def edit(old: str, new: str):
    def change(tree: Path) -> None:
        path = tree / "pyproject.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


# What is broken, and a word that the one line must have.
BAD_INPUT = {
    "no pyproject": (lambda tree: (tree / "pyproject.toml").unlink(), "--root"),
    "broken TOML": (lambda tree: put(tree / "pyproject.toml", "[project\n"), "not valid TOML"),
    "no [project]": (lambda tree: put(tree / "pyproject.toml", "[tool.x]\n"), "[project] needs"),
    "project is a number": (lambda tree: put(tree / "pyproject.toml", "project = 3\n"), "[project] needs"),
    "no description": (edit("description =", "summary ="), "description"),
    "author without a name": (edit("{ name =", "{ email ="), "authors"),
    "licence as a table": (edit('license = "MIT"', 'license = { text = "MIT" }'), "license"),
    "name in capitals": (edit('name = "django', 'name = "Django'), "name"),
    "version of two numbers": (edit('version = "', 'version = "1.0rc1'), "version"),
    "no SKILL.md": (lambda tree: (tree / SKILL / "SKILL.md").unlink(), "SKILL.md"),
    "no version in SKILL.md": (
        lambda tree: put(tree / SKILL / "SKILL.md", "---\nname: x\n---\n"),
        "metadata",
    ),
    "no frontmatter": (
        lambda tree: put(tree / SKILL / "SKILL.md", "# metadata:\n  version: 1\n"),
        "metadata",
    ),
    "link in the skill": (lambda tree: (tree / SKILL / "x.md").symlink_to("SKILL.md"), "link"),
    "copy is a link": (lambda tree: link_folder(tree / COPY, tree / SKILL), "link"),
    "references is a folder": (lambda tree: link_folder(tree / "references", None), "real folder"),
    "manifest is a folder": (lambda tree: folder(tree / "package.json"), "package.json"),
}


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_folder(path: Path, target: Path | None) -> None:
    """Put a link, or a real folder, where the tree has the other one."""
    if target is None:
        folder(path)
    else:
        shutil.rmtree(path)
        path.symlink_to(target)


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gives_one_line_and_exit_2(tree, capsys, case):
    spoil, word = BAD_INPUT[case]
    spoil(tree)
    capsys.readouterr()
    assert run(tree) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1 and word in output.err and "Traceback" not in output.err


def test_a_real_folder_named_references_is_not_removed(tree):
    folder(tree / "references")
    put(tree / "references" / "mine.md", "work\n")
    assert run(tree) == 2
    assert (tree / "references" / "mine.md").read_text() == "work\n"
