"""The command: exit statuses, formats, choices, colour, settings, and what it makes of input that is out of order."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from skill_trees import write
from validate import cli
from validate.registry import CHECKS

COMMAND = [sys.executable, str(Path(cli.__file__).parent)]
WARNING = "=== SKILL.md +\nSee [it]().\n"
ERROR = "=== SKILL.md +\n\n[a,b:50%](gone.md)\n"
DEEP = 10_000
BOMB = "---\na: &a [1]\n" + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in pairwise("abcdefgh")) + "---\n"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_colour_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path, capsys: Capture) -> Callable[..., tuple[int, str, str]]:
    """Validate a tree given in the notation of ``skill_trees``; status, stdout and stderr."""

    def run(tree: str | Path, *arguments: str) -> tuple[int, str, str]:
        root = write(tmp_path, tree) if isinstance(tree, str) else tree
        status = cli.main([str(root), *arguments])
        return status, *capsys.readouterr()

    return run


def process(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


# Exit status


def test_clean_is_0(run: Callable) -> None:
    status, out, err = run("")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "No findings."


def test_findings_are_1(run: Callable) -> None:
    status, out, err = run(WARNING + "See [it](gone.md).")
    assert (status, err) == (1, "")
    assert "SKILL.md:6:1: links/no-target the link has no address\n    Give it an address" in out
    assert "SKILL.md:7:10: links/missing-file 'gone.md' leads to nothing" in out
    assert out.splitlines()[-1] == "Found 1 error and 1 warning."


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--format", "xml"], ["a", "b"]])
def test_misuse_is_2(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert capsys.readouterr().err.startswith("usage: validate")


@pytest.mark.parametrize("arguments", [["--select", "nonsense"], ["--ignore", "nonsense"], ["--explain", "nonsense"]])
def test_unknown_check_is_2(arguments: list[str], capsys: Capture) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"validate: .*'nonsense'; --list names them\n", err)


def test_the_process(tmp_path: Path) -> None:
    """As it is called: from anywhere, without an installed package, and with the folder it stands in by default."""
    done = process(cwd=write(tmp_path, ERROR))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[2].startswith("Inspected demo: 1 skill, ")


# Formats


def test_json(run: Callable) -> None:
    status, out, _ = run(ERROR, "--format", "json")
    report = json.loads(out)
    assert (status, report["validated"], report["inspected"]["skills"]) == (1, "demo", 1)
    (finding,) = report["findings"]
    assert finding == {
        "path": "SKILL.md",
        "line": 7,
        "column": 11,
        "check": "links/missing-file",
        "severity": "error",
        "message": "'gone.md' leads to nothing",
        "mend": CHECKS["links/missing-file"].mend,
    }


@pytest.mark.parametrize("tree", ["", ERROR, "=== größe & 100% #1.md -> gone\n=== SKILL.md +\n\u200b"])
def test_sarif(run: Callable, tree: str) -> None:
    """What the schema of SARIF 2.1.0 requires and code scanning services rely on."""
    _, out, _ = run(tree, "--format", "sarif")
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (sarif,) = log["runs"]
    driver = sarif["tool"]["driver"]
    assert set(sarif) == {"tool", "results"}
    assert driver["name"]
    rules = [rule["id"] for rule in driver["rules"]]
    assert rules == sorted(set(CHECKS))
    for rule in driver["rules"]:
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        assert all(rule[text]["text"] for text in ("shortDescription", "fullDescription", "help"))
    assert bool(sarif["results"]) == bool(tree)
    for result in sarif["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert re.fullmatch(r"(?:[\w./~-]|%[0-9A-F]{2})+", place["artifactLocation"]["uri"], re.ASCII)
        assert place["region"]["startLine"] >= 1
        assert place["region"]["startColumn"] >= 1


def test_sarif_names_the_file_as_an_address(run: Callable) -> None:
    _, out, _ = run("=== 100% größe #1.md -> gone\n", "--format", "sarif", "--select", "files/broken")
    (result,) = json.loads(out)["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "100%25%20gr%C3%B6%C3%9Fe%20%231.md"


def test_github(run: Callable) -> None:
    tree = WARNING + "=== a,b:50%.md -> gone\n"
    status, out, _ = run(tree, "--format", "github", "--ignore", "files/linked")
    warning, error, inspected = out.splitlines()
    assert status == 1
    assert warning.startswith("::warning file=SKILL.md,line=6,col=1,title=links/no-target::the link has no address. ")
    assert error.startswith("::error file=a%2Cb%3A50%25.md,line=1,col=1,title=files/broken-link::is a link to 'gone', ")
    assert inspected.startswith("Inspected demo: ")


def test_github_escapes_line_breaks() -> None:
    from validate.report import _escape

    assert _escape("50%, a:b\r\nc") == "50%25, a:b%0D%0Ac"
    assert _escape("50%, a:b\r\nc", ",:") == "50%25%2C a%3Ab%0D%0Ac"


@pytest.mark.parametrize("format", ["text", "json", "sarif", "github"])
def test_every_format_says_when_it_is_clean(run: Callable, format: str) -> None:
    status, out, err = run("", "--format", format)
    assert (status, err) == (0, "")
    assert out.strip()


# Choices

TWO = WARNING + "See [it](gone.md).\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["links/no-target", "links/missing-file"]),
        (["--select", "links/missing"], ["links/missing-file"]),
        (["--select", "links/missing", "--select", "links/no-target"], ["links/no-target", "links/missing-file"]),
        (["--select", "files"], []),
        (["--ignore", "links/no"], ["links/missing-file"]),
        (["--select", "links", "--ignore", "links"], []),
        (["--min-severity", "error"], ["links/missing-file"]),
        (["--min-severity", "error", "--ignore", "links/missing-file"], []),
    ],
)
def test_choices(run: Callable, arguments: list[str], found: list[str]) -> None:
    status, out, _ = run(TWO, "--format", "json", *arguments)
    assert [finding["check"] for finding in json.loads(out)["findings"]] == found
    assert status == bool(found)


def test_statistics(run: Callable) -> None:
    status, out, _ = run(TWO + "[a](a.md)", "--statistics")
    assert (status, out.splitlines()) == (1, ["      2  links/missing-file", "      1  links/no-target"])


def test_list(capsys: Capture) -> None:
    assert cli.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(CHECKS)
    assert {line.split()[1] for line in lines} == {"error", "warning"}


@pytest.mark.parametrize("id", CHECKS)
def test_explain(id: str, capsys: Capture) -> None:
    assert cli.main(["--explain", id]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{id} ({CHECKS[id].severity})\n\n")
    assert all(f"\n{part}" in out for part in ("Why: ", "Mend: ", "Bad:\n", "Good:\n"))


# Colour


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [
        ({}, False, False),
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
    ],
)
def test_colour(
    run: Callable, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    _, out, _ = run(ERROR)
    assert ("\033[" in out) == coloured


def test_colour_on_a_real_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run([*COMMAND, write(tmp_path, ERROR)], stdout=theirs, timeout=60, check=False, env=environment)
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert done.returncode == 1
    assert b"\033[31mlinks/missing-file\033[0m" in shown


def test_no_colour_in_formats_for_programs(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, _ = run(ERROR, "--format", "github")
    assert "\033[" not in out


# The output's end


@pytest.mark.parametrize("amount", [0, 20_000])
def test_broken_pipe(tmp_path: Path, amount: int) -> None:
    """The reader is gone, before a little or in the middle of much: no traceback."""
    root = write(tmp_path, ERROR + "".join(f"[a](b{number}.md)\n" for number in range(amount // 10)))
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, root], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_show_a_name(tmp_path: Path) -> None:
    root = write(tmp_path, "=== größe.md -> gone\n").rename(tmp_path / "demo\udcff")
    (root / "SKILL.md").write_text("---\nname: demo\ndescription: Packs boxes.\n---\n")
    done = process(root, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "gr\\xf6\\xdfe.md:1:1: files/broken-link" in done.stdout
    assert "Inspected demo\\udcff: 1 skill" in done.stdout


# Settings


def test_exclude(run: Callable) -> None:
    tree = '=== pyproject.toml\n[tool.validate]\nexclude = ["old/"]\n=== old/a.md\n[a](b.md)\n'
    assert run(tree)[0] == 0


def test_at_least(run: Callable) -> None:
    tree = '=== pyproject.toml\n[tool.validate.at-least]\nskills = 1\n"python fences" = 1_000\n'
    status, out, _ = run(tree)
    assert status == 1
    assert "pyproject.toml:1:1: coverage/too-little 0 python fences inspected, at least 1,000 promised" in out
    assert "Found 1 error and 0 warnings." in out


def test_at_least_is_for_whole_runs(run: Callable) -> None:
    assert run("=== pyproject.toml\n[tool.validate.at-least]\nskills = 9\n", "--select", "links")[0] == 0


@pytest.mark.parametrize("settings", ["", "[tool.other]\na = 1\n", "tool = 1\n", "[tool.validate]\n"])
def test_no_settings(run: Callable, settings: str) -> None:
    assert run(f"=== pyproject.toml\n{settings}")[0] == 0


@pytest.mark.parametrize(
    "settings",
    [
        "[tool",
        "a = 1\na = 2",
        f"a = {'[' * DEEP}",
        f"a = {'9' * 5_000}",
        "[tool]\nvalidate = 1",
        "[tool.validate]\nexclude = 'old'",
        "[tool.validate]\nexclude = [1]",
        "[tool.validate]\nat-least = 3",
        "[tool.validate]\nat-least = {skills = 'many'}",
        "[tool.validate]\nat_least = {skills = 1}",
    ],
)
def test_broken_settings(run: Callable, settings: str) -> None:
    _one_line(*run(f"=== pyproject.toml\n{settings}\n"), "pyproject.toml: ")


def test_settings_that_are_not_utf8(run: Callable) -> None:
    _one_line(*run("=== pyproject.toml (latin-1)\n# Größe\n"), "pyproject.toml: ")


# Bad input: one line on stderr and status 2 …


def _one_line(status: int, out: str, err: str, words: str) -> None:
    assert (status, out) == (2, "")
    assert err.startswith("validate: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("path", ["gone", "gone/deeper", "SKILL.md/below", "x" * 5_000, "x/" * 3_000, "zero\0byte"])
def test_missing_path(run: Callable, tmp_path: Path, path: str) -> None:
    _one_line(*run(write(tmp_path, "") / path), "there is no such folder")


def test_a_file(run: Callable, tmp_path: Path) -> None:
    _one_line(*run(write(tmp_path, "") / "SKILL.md"), "is a file; give the folder")


@pytest.mark.parametrize(
    "tree",
    ["", "=== README.md\n# A\n", "=== SKILL.md/a.md\n# A\n", "=== SKILL.txt\n", "=== node_modules/SKILL.md\na\n"],
    ids=["empty", "no skill", "folder called SKILL.md", "other ending", "skipped folder"],
)
def test_nothing_to_validate(run: Callable, tmp_path: Path, tree: str) -> None:
    _one_line(*run(write(tmp_path, tree, clean=False)), "nothing to validate")


def test_a_link_to_itself(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    _one_line(*run(tmp_path / "loop"), "there is no such folder")


def test_a_folder_that_may_not_be_searched(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, "")

    def forbidden(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    _one_line(*run(root), "nothing to validate")


# … or one finding and status 1


@pytest.fixture
def only(run: Callable) -> Callable[..., dict]:
    """Validate, and return the only finding that is not about the size."""

    def only(tree: str | Path) -> dict:
        status, out, err = run(tree, "--format", "json", "--ignore", "budgets")
        assert (status, err) == (1, "")
        (finding,) = json.loads(out)["findings"]
        return finding

    return only


def test_skill_that_is_not_utf8(only: Callable) -> None:
    finding = only("=== SKILL.md (latin-1)\n---\nname: demo\ndescription: Größe\n---\n")
    assert (finding["path"], finding["check"]) == ("SKILL.md", "files/unreadable")
    assert finding["message"] == "is not UTF-8 (byte 30)"


@pytest.mark.parametrize("file", ["SKILL.md", "gemini-extension.json", "README.md"])
def test_50_megabytes(only: Callable, tmp_path: Path, file: str) -> None:
    root = write(tmp_path, "")
    os.truncate(root / file, 50_000_000) if file == "SKILL.md" else _sparse(root / file)
    assert "1,000,000" in only(root)["message"]


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 50_000_000)


@pytest.mark.parametrize(
    ("path", "text", "check"),
    [
        ("SKILL.md", "---\nname: demo\ndescription: {}\n---\n".format("[" * DEEP), "frontmatter/yaml"),
        ("SKILL.md", "---\nname: demo\ndescription: {}\n---\n".format("{a: " * DEEP), "frontmatter/yaml"),
        ("SKILL.md", "---\nname: demo\ndescription:\n{}\n---\n".format("- " * DEEP), "frontmatter/yaml"),
        ("SKILL.md", BOMB, "frontmatter/yaml"),
        ("SKILL.md", f"---\nname: {'x' * 70_000}\n---\n", "frontmatter/yaml"),
        ("gemini-extension.json", "[" * DEEP * 10, "manifests/json"),
        ("gemini-extension.json", '{"a":' * DEEP * 10, "manifests/json"),
        (".claude-plugin/plugin.json", f'{{"name": "a", "keywords": {"[" * 5_000}{"]" * 5_000}}}', "manifests/"),
        ("scripts/a.py", "(" * DEEP, "scripts/python"),
        ("scripts/a.py", "-" * DEEP * 10 + "1", "scripts/python"),
        ("scripts/a.py", "a" + ".b" * DEEP * 10, "scripts/python"),
        ("README.md", f"```python\n{'not ' * DEEP * 10}1\n```\n", "fences/python"),
        ("README.md", f"```json\n{'[' * DEEP * 10}\n```\n", "fences/json"),
        ("README.md", f"```yaml\n{'[' * DEEP}\n```\n", "fences/yaml"),
        ("README.md", f"```toml\na = {'[' * DEEP}\n```\n", "fences/toml"),
        ("README.md", f"{'> ' * DEEP}a\n\n[a](b.md)\n", "files/unreadable"),
        ("README.md", f"{'- ' * DEEP}a\n\n[a](b.md)\n", "files/unreadable"),
        ("README.md", f"{'- ' * 50}a\n\n[a](b.md)\n", "links/missing-file"),
        ("README.md", f"{'[' * DEEP}a{']' * DEEP} [a](b.md)\n", "links/missing-file"),
        ("README.md", f"{'*a _b ' * DEEP} [a](b.md)\n", "links/missing-file"),
        ("README.md", f"{'<a ' * DEEP}\n\n[a](b.md)\n", "links/missing-file"),
        ("README.md", f"# a{' ' * DEEP}{{b\n\n[a](b.md)\n", "links/missing-file"),
        ("README.md", f"```bash\n{'curl ' * DEEP}; fi\n```\n", "fences/shell"),
    ],
)  # fmt: skip
def test_beyond_reason(only: Callable, tmp_path: Path, path: str, text: str, check: str) -> None:
    root = write(tmp_path, "")
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(text)
    finding = only(root)
    assert finding["path"] == path
    assert finding["check"].startswith(check)


def test_a_link_that_goes_round(run: Callable) -> None:
    _, out, _ = run("=== docs/loop -> loop\n", "--select", "files/broken-link")
    assert "docs/loop:1:1: files/broken-link is a link to 'loop', which leads nowhere" in out


def test_a_link_to_its_own_folder_is_not_descended(run: Callable) -> None:
    status, out, _ = run("=== docs/again -> ..\n", "--select", "files/broken-link")
    assert (status, "1 skill," in out) == (0, True)


def test_a_link_out_of_the_tree(run: Callable) -> None:
    _, out, _ = run("=== away -> /etc\n", "--select", "files/broken-link")
    assert "away:1:1: files/broken-link is a link to '/etc', outside of what is validated" in out


def test_a_pipe(only: Callable, tmp_path: Path) -> None:
    root = write(tmp_path, "")
    os.mkfifo(root / "README.md")
    assert only(root)["message"] == "is neither a file nor a folder"


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """As a process: the finding has to pass an output stream."""
    root = write(tmp_path, "")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.md")).touch()
    done = process(root)
    assert (done.returncode, done.stderr) == (1, "")
    assert "'\\udcff.md':1:1: files/unreadable has a name that is not UTF-8" in done.stdout


@pytest.mark.parametrize("name", ["a\nb.md", "a\033[31mb.md"])
def test_a_name_that_would_disturb_the_terminal(only: Callable, tmp_path: Path, name: str) -> None:
    root = write(tmp_path, "")
    (root / name).touch()
    assert only(root)["path"] == ascii(name)


def test_a_folder_called_skill_md(only: Callable) -> None:
    finding = only("=== other/SKILL.md/a.txt\na\n")
    assert (finding["path"], finding["check"]) == ("other/SKILL.md", "files/unreadable")


@pytest.mark.parametrize("path", ["SKILL.md", "README.md", "scripts/a.py", "scripts/a.sh", "gemini-extension.json"])
def test_a_file_that_may_not_be_read(
    only: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The system's answer is played: tests may run as root, who may read everything."""
    root = write(tmp_path, f"=== {path} +\n" if path == "SKILL.md" else f"=== {path}\na = 1\n")
    read = Path.read_bytes

    def forbidden(self: Path) -> bytes:
        if self == root / path:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    finding = only(root)
    assert (finding["path"], finding["message"]) == (path, "cannot be read: Permission denied")


@pytest.mark.parametrize("call", ["readlink", "scandir"])
def test_a_folder_that_may_not_be_read(
    only: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    root = write(tmp_path, "=== docs/a.md\na\n" if call == "scandir" else "=== docs -> SKILL.md\n")
    real = getattr(os, call)

    def forbidden(path: str | Path) -> object:
        if Path(path) == root / "docs":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, call, forbidden)
    finding = only(root)
    assert (finding["path"], finding["message"]) == ("docs", "cannot be read: Permission denied")


# Many files


def test_many_files_are_found_the_same(run: Callable, tmp_path: Path) -> None:
    """Above 200 documents other processes parse; what they send back must do for every check."""
    root = write(tmp_path, f"=== references/plain.md\n# A\n{ERROR}\nThen read plain.md. {'x' * 8_000}\n")
    alone = json.loads(run(root, "--format", "json")[1])["findings"]
    for number in range(250):
        (root / f"{number}.md").write_text(f"# {number}\n")
    together = json.loads(run(root, "--format", "json")[1])["findings"]
    assert [finding["check"] for finding in alone] == ["budgets/skill-md", "links/missing-file"]
    assert together == alone
