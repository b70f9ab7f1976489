"""The command: exit statuses, choices, configuration, and what it makes of input that is out of order."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import celery_audit
import pytest
from celery_audit import audit as audit_module
from celery_audit import cli, config
from celery_audit.registry import RULES, Problem, Rule
from projects import CLEAN, COMMAND, FAULTY, PLACE, TASKS, VIEWS, process
from trees import write

SKILL = Path(celery_audit.__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_colour_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Audit a tree, only by DCE1 and from inside it; status, stdout and stderr."""

    def run(tree: str, *arguments: str, only: tuple[str, ...] = ("--select", "DCE101")) -> tuple[int, str, str]:
        write(tmp_path, tree)
        monkeypatch.chdir(tmp_path)
        status = cli.main([*arguments, *only])
        return status, *capsys.readouterr()

    return run


# Exit status


def test_clean_is_0(run: Callable) -> None:
    status, out, err = run(CLEAN)
    assert (status, err) == (0, "")
    assert out.startswith("No findings in /")


def test_findings_are_1(run: Callable) -> None:
    status, out, err = run(FAULTY)
    assert (status, err) == (1, "")
    assert f"{PLACE}: DCE101 " in out


@pytest.mark.parametrize("words", ["--no-such-option", "--format xml", "--limit -1", "--limit x", "--min-severity x"])
def test_misuse_is_2(words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(words.split())
    assert capsys.readouterr().err.startswith("usage: celery_audit")


@pytest.mark.parametrize("option", ["--select", "--ignore", "--explain"])
def test_unknown_rule_is_2(option: str, run: Callable) -> None:
    status, out, err = run(CLEAN, option, "DCE101,nonsense" if option != "--explain" else "nonsense", only=())
    assert (status, out) == (2, "")
    assert re.fullmatch(r"celery_audit: .*'nonsense'; --list names them\n", err)


def test_near_names_are_offered(run: Callable) -> None:
    assert "(did you mean publish-in-atomic?)" in run(CLEAN, "--explain", "publish-in-atomc")[2]


def test_missing_path_is_2(run: Callable) -> None:
    status, out, err = run(CLEAN, "nowhere")
    assert (status, out) == (2, "")
    assert err == "celery_audit: nowhere: no such file or folder; give a project's folder, or files of one project\n"


def test_empty_folder_is_2(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = run(CLEAN, "empty")
    assert status == 2
    assert err == "celery_audit: empty: no Python and no deployment file; give a project's folder\n"


def test_no_celery_is_said(run: Callable) -> None:
    status, out, _ = run("=== shop/models.py\nimport django  # mentions Task\n")
    assert status == 0
    assert "No Celery found" in out


def test_celery_is_found(run: Callable) -> None:
    assert "No Celery found" not in run(CLEAN)[1]


# A rule that breaks


@pytest.fixture
def _broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    import ast

    def breaks(call: ast.Call, module: object, project: object) -> Iterator[Problem]:
        raise ValueError("not foreseen")
        yield

    breaks.__annotations__ = {"call": ast.Call}
    rule = Rule("DCE998", "breaks-always", "error", "page#section", breaks)
    monkeypatch.setattr(cli, "chosen", lambda *a: [*audit_module.chosen(*a), rule])


@pytest.mark.usefixtures("_broken_rule")
def test_internal_error_is_2_and_the_others_run(run: Callable) -> None:
    status, out, _ = run(FAULTY)
    assert status == 2
    assert "1 internal error of celery_audit" in out
    assert "DCE998 on orders/views.py: ValueError at test_cli.py:" in out
    assert f"{PLACE}: DCE101 " in out


@pytest.mark.usefixtures("_broken_rule")
@pytest.mark.parametrize("form", ["json", "sarif", "github"])
def test_internal_error_in_every_format(run: Callable, form: str) -> None:
    status, out, _ = run(FAULTY, "--format", form)
    assert status == 2
    assert "ValueError at test_cli.py:" in out


# Choices


@pytest.mark.parametrize("choice", ["DCE1", "dce101", "publish-in-atomic", "DCE2,DCE101", "DCE101, DCE101"])
def test_select(run: Callable, choice: str) -> None:
    if "DCE2" in choice and not any(id.startswith("DCE2") for id in RULES):
        choice = "DCE1,DCE101"
    assert run(FAULTY, "--select", choice, only=())[0] == 1


def test_ignore_wins_over_select(run: Callable) -> None:
    assert run(FAULTY, "--select", "DCE101", "--ignore", "publish-in-atomic", only=())[0] == 0


def test_min_severity(run: Callable) -> None:
    severity = RULES["DCE101"].severity
    assert run(FAULTY, "--min-severity", severity)[0] == 1
    assert run(FAULTY, "--min-severity", "info")[0] == 1


@pytest.mark.parametrize("glob", ["orders", "ord*", "orders/", "other,orders/"])
def test_exclude_folder(run: Callable, glob: str) -> None:
    assert run(FAULTY + "=== shop/models.py\n", "--exclude", glob)[0] == 0


@pytest.mark.parametrize("glob", ["views.py", "view*", "orders/views.py", "orders/*s.py", "*/views.py"])
def test_exclude_file(run: Callable, glob: str) -> None:
    assert run(FAULTY, "--exclude", "other", "--exclude", glob)[0] == (2 if glob == "orders/*s.py" else 0)


def test_exclude_leaves_the_rest(run: Callable) -> None:
    assert run(FAULTY, "--exclude", "view,orders/view")[0] == 1
    assert run(FAULTY + VIEWS.replace("views", "old/views"), "--exclude", "old")[1].startswith("1 finding:")


# One file of a project


def test_a_file_is_audited_with_its_project(run: Callable) -> None:
    """The task is known from another file; what is wrong in other files is not reported."""
    tree = FAULTY + VIEWS.replace("views", "api") + "=== manage.py\nimport os\n"
    status, out, _ = run(tree, "orders/views.py")
    assert status == 1
    assert "orders/views.py:9:9" in out
    assert "orders/api.py" not in out
    assert run(tree, "orders/tasks.py")[0] == 0
    assert run(tree, "orders/api.py", "orders/views.py")[1].startswith("2 findings:")


def test_the_project_is_found_from_below(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(FAULTY + "=== pyproject.toml\n[project]\nname = 'a'\n")
    monkeypatch.chdir(tmp_path / "orders")
    assert os.path.samefile(config.find_root(["views.py"]), tmp_path)


def test_a_test_file_is_left_out_and_that_is_said(run: Callable) -> None:
    status, out, _ = run(FAULTY.replace("views", "test_views") + "=== manage.py\nimport os\n", "orders/test_views.py")
    assert status == 0
    assert "orders/test_views.py:1: test code, left out" in out


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# noqa", True),
        ("# NOQA : reason", True),
        ("# noqa: DCE101", True),
        ("#noqa:dce101", True),
        ("# noqa: DCE1", True),
        ("# noqa: E501,DCE101", True),
        ("# noqa: E501 DCE101", True),
        ("# pragma: no cover  # noqa: DCE101  sent twice on purpose", True),
        ("# noqa: DCE102", False),
        ("# noqa: E501", False),
        ("# noqa: D", False),
        ("# noqa: because", False),
        ("# noqa-block", False),
        ("# noqable", False),
    ],
)
def test_noqa(run: Callable, comment: str, silent: bool) -> None:
    status, out, _ = run(TASKS + VIEWS.replace(".pk)", f".pk)  {comment}"))
    assert status == (0 if silent else 1)
    assert ("1 finding silenced by noqa." in out) == silent


@pytest.mark.parametrize("at", [0, 3])
def test_noqa_at_either_end_of_a_statement(run: Callable, at: int) -> None:
    lines = ["        x = (send_receipt.delay(", "            order.pk,", "        )", "        .id)"]
    lines[at] += "  # noqa: DCE101"
    status, out, _ = run(TASKS + VIEWS.replace("        send_receipt.delay(order.pk)", "\n".join(lines)))
    assert (status, "1 finding silenced" in out) == (0, True)


# Configuration

TOML = "=== pyproject.toml\n[tool.celery_audit]\n"


@pytest.mark.parametrize(
    "line",
    [
        "select = ['DCE999']",
        "color = true",
        "ignore = 'DCE101'",
        "min-severity = 'high'",
        "exclude = [1]",
        "select = [",
        "baseline = 'gone.json'",
    ],
)
def test_wrong_configuration_is_2(run: Callable, line: str) -> None:
    status, out, err = run(CLEAN + TOML + line, only=())
    assert (status, out) == (2, "")
    assert re.fullmatch(r"celery_audit: \./(pyproject\.toml|gone\.json): .+\n", err)


def test_configuration(run: Callable) -> None:
    assert run(FAULTY + TOML + "ignore = ['DCE101']\n")[0] == 0
    assert run(FAULTY + TOML + "exclude = ['views.py']\n")[0] == 0
    assert run(FAULTY + TOML + "select = ['DCE101']\n", only=())[0] == 1


def test_command_line_wins(run: Callable) -> None:
    assert run(FAULTY + TOML + "exclude = ['views.py']\n", "--exclude", "nothing")[0] == 1


def test_a_broken_pyproject_that_says_nothing_of_us(run: Callable) -> None:
    assert run(FAULTY + "=== pyproject.toml\n[tool.")[0] == 1


def test_configuration_that_an_old_python_cannot_read(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celery_audit.config.sys.version_info", (3, 9, 18))
    status, _, err = run(FAULTY + TOML + "ignore = ['DCE101']\n")
    assert status == 1
    assert err == (
        "celery_audit: ./pyproject.toml: [tool.celery_audit] is not read by Python 3.9; "
        "run the audit with Python 3.11 or newer, or give its settings as options\n"
    )


# The process


def test_the_process(tmp_path: Path) -> None:
    """As it is called: by the folder's path, with this folder by default; nothing is written into the skill."""
    copy = tmp_path / "skill"
    shutil.copytree(SKILL, copy, ignore=shutil.ignore_patterns("__pycache__"))
    write(tmp_path / "shop", FAULTY)
    command = [sys.executable, copy / "scripts" / "celery_audit", "--select", "DCE101"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "shop", check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"1 finding: 1 {RULES['DCE101'].severity} in {(tmp_path / 'shop').resolve()} (")
    assert not list(copy.rglob("__pycache__"))


def test_version_is_that_of_the_skill(tmp_path: Path) -> None:
    version = re.search(r'version: "(.+)"', (SKILL / "SKILL.md").read_text())[1]
    assert process("--version").stdout == f"celery_audit {version}\n"
    shutil.copytree(SKILL / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    alone = subprocess.run(
        [sys.executable, tmp_path / "scripts" / "celery_audit", "--version"], capture_output=True, text=True, check=True
    )
    assert "version unknown" in alone.stdout


@pytest.mark.parametrize("pythonpath", [None, ".", "", "/nowhere:."])
def test_nothing_of_the_project_is_imported(tmp_path: Path, pythonpath: str | None) -> None:
    """A project may have modules named like ours and like the standard library's, and lead Python to them."""
    names = ["ast", "json", "re", "argparse", "textwrap", "celery", "celery_audit", "audit", "report", "fnmatch", "gc"]
    trap = "import os\nos.write(2, b'imported')\n"
    names += ["tomllib", "hashlib", "difflib", "tempfile", "typing_extensions", "urllib", "dataclasses", "tokenize"]
    write(tmp_path, FAULTY + "".join(f"=== {name}.py\n{trap}" for name in names) + TOML + "select = ['DCE101']\n")
    environment = {**os.environ, **({} if pythonpath is None else {"PYTHONPATH": pythonpath})}
    done = process(cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (1, "")


def test_closed_pipe(tmp_path: Path) -> None:
    write(tmp_path, FAULTY)
    with subprocess.Popen([*COMMAND, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 1


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    write(tmp_path, TASKS)
    views = VIEWS.partition("\n")[2].replace("buy", "käufe")
    for name in [b"orders/caf\xe9.py", "orders/größe.py".encode(), b"orders/two\nlines.py", b"orders/\x1b[31mred.py"]:
        (Path(os.fsdecode(bytes(tmp_path))) / os.fsdecode(name)).write_text(views, encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    for form in ("text", "json", "sarif", "github"):
        done = process(tmp_path, "--select", "DCE101", "--format", form, env=environment)
        assert (done.returncode, done.stderr) == (1, "")
        assert "\x1b" not in done.stdout
    text = process(tmp_path, "--select", "DCE101").stdout
    assert "orders/caf\\xe9.py:9:9: DCE101" in text
    assert "orders/two\\nlines.py:9:9: DCE101" in text
    assert "orders/\\x1b[31mred.py:9:9: DCE101" in text


def terminal(command: list[str], **environment: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(command, stdout=follower, stderr=follower, env={**os.environ, **environment}) as running:
        os.close(follower)
        written = b""
        while True:
            try:
                block = os.read(leader, 65_536)
            except OSError:
                break
            if not block:
                break
            written += block
    os.close(leader)
    assert running.returncode == 1
    return written.decode()


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colour_on_a_terminal(tmp_path: Path, environment: dict[str, str], colour: bool) -> None:
    write(tmp_path, FAULTY)
    shown = terminal([*COMMAND, str(tmp_path), "--select", "DCE101"], **environment)
    assert ("\x1b[31m" in shown) == colour


def test_colour_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, FAULTY)
    done = process(tmp_path, "--select", "DCE101", env={**os.environ, "FORCE_COLOR": "1"})
    assert "\x1b[31m" in done.stdout


def test_progress_on_a_terminal_only(tmp_path: Path) -> None:
    write(tmp_path, FAULTY)
    for number in range(600):
        (tmp_path / f"m{number}.py").touch()
    assert "Reading Python files 100/602" in terminal([*COMMAND, str(tmp_path), "--select", "DCE101"], TERM="dumb")
    assert process(tmp_path, "--select", "DCE101").stderr == ""


def test_interrupted(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "audit", interrupted)
    assert run(CLEAN) == (130, "", "celery_audit: interrupted\n")


# What the rules are


def test_list(capsys: Capture) -> None:
    assert cli.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  DCE")] == sorted(RULES)
    assert out.splitlines()[0].startswith("DCE1xx: ")
    assert all(line.isprintable() for line in out.splitlines())


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_explain(rule: Rule, capsys: Capture) -> None:
    assert cli.main(["--explain", rule.id]) == 0
    by_id = capsys.readouterr().out
    assert cli.main(["--explain", rule.name]) == 0
    assert capsys.readouterr().out == by_id
    words = " ".join(by_id.split())
    for part in (rule.id, rule.name, rule.severity, rule.what, rule.fix[1:], rule.why[1:], rule.source):
        assert " ".join(part.split()) in words
    assert "===" not in by_id
    assert f"references/{rule.reference.replace('#', '.md#')}" in by_id


def test_json_of_a_process_is_json(tmp_path: Path) -> None:
    write(tmp_path, FAULTY)
    assert json.loads(process(tmp_path, "--format", "json").stdout)["version"] == 1
