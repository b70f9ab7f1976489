"""Whatever stands in a project, the audit ends soon, without an exception, and says what it did not look at."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery_audit import audit as audit_module
from celery_audit.audit import Result, audit, chosen
from celery_audit.files import MAX_BYTES
from celery_audit.module import MAX_NESTING, Module
from celery_audit.registry import Problem, Rule

DEEP = 10_000
HANGS = 120  # seconds, on any machine: work that doubles with each line would take years
TASK = "from celery import shared_task\n\n@shared_task\ndef f(x): ...\n"


def looked_at(folder: Path, files: dict[str, str | bytes]) -> Result:
    """Audit these files, without a failure inside and without hanging."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    begin = time.monotonic()
    result = audit(str(folder), chosen())
    assert time.monotonic() - begin < HANGS
    assert not result.project.failures
    return result


def why_skipped(folder: Path, source: str | bytes) -> str:
    """Why one file is not looked at."""
    ((path, line, why),) = looked_at(folder, {"tasks.py": source}).skipped
    assert (path, line >= 1) == ("tasks.py", True)
    return why


# Files that are no Python 3


def test_syntax_error(tmp_path: Path) -> None:
    assert "not valid for Python 3." in why_skipped(tmp_path, "import celery\ndef (:\n")


@pytest.mark.parametrize(
    "line",
    [
        "print 'a'",
        "print x",
        "exec code",
        "except E, e:",
        "raise E, 'a'",
        "x = 0777",
        "a <> b",
        "x = `a`",
        "10L",
        "ur'a'",
    ],
)
def test_python_2(tmp_path: Path, line: str) -> None:
    source = f"import celery\ntry:\n    pass\n{line}\n    pass\n" if "except" in line else f"import celery\n{line}\n"
    assert why_skipped(tmp_path, source).endswith("(Python 2?)")


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("x = t'{celery}'\n", "3.14"),
        ("try:\n    celery\nexcept A, B, C:\n    pass\n", "3.14"),
    ],
)
def test_newer_python(tmp_path: Path, source: str, version: str) -> None:
    try:
        ast.parse(source)
    except SyntaxError:
        assert why_skipped(tmp_path, source).endswith(f"(needs Python {version}?)")
    else:
        assert not looked_at(tmp_path, {"tasks.py": source}).skipped


@pytest.mark.parametrize(
    "source",
    [
        b"import celery\0",
        b"# coding: rot13\nimport celery",
        b"# coding: no-such\nimport celery",
        b"# coding: hex\nimport celery",
        "x = '\xe9 celery'".encode("latin-1"),
        b"\xef\xbb\xbf# coding: latin-1\nimport celery",
        "import celery".encode("utf-16") + b"celery",
    ],
)
def test_odd_bytes(tmp_path: Path, source: bytes) -> None:
    assert why_skipped(tmp_path, source).startswith("not ")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "cp1252", "iso-8859-15"])
def test_columns_and_lines_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    """A form feed ends no line, and a column counts characters."""
    comment = "" if encoding == "utf-8-sig" else f"# coding: {encoding}\n"
    source = comment + "from celery import shared_task\n\f\nx = 'é\x85'; shared_task()\n"
    module = Module("a.py", source.encode(encoding, errors="ignore"))
    assert module.lines[-2].startswith("x = 'é")


def test_huge_file(tmp_path: Path) -> None:
    assert why_skipped(tmp_path, TASK + "#" * MAX_BYTES) == "larger than 2,000,000 bytes, not read"


def test_huge_file_is_named_once(tmp_path: Path) -> None:
    """Also where a rule, here the one on tasks that no worker imports, looks into every file again."""
    app = "from celery import Celery\napp = Celery('x')\napp.autodiscover_tasks()\n"
    result = looked_at(tmp_path, {"celery.py": app, "orders.py": TASK, "huge.py": TASK + "#" * MAX_BYTES})
    assert [path for path, _, _ in result.skipped] == ["huge.py"]


# Depth and length

CHAINS = {
    "attributes": "a" + ".b" * DEEP,
    "calls": "a" + "()" * DEEP,
    "subscripts": "a" + "[0]" * DEEP,
    "parentheses": "(" * DEEP + ")" * DEEP,
    "nested calls": "f(" * DEEP + ")" * DEEP,
    "lists": "[" * DEEP + "]" * DEEP,
    "canvas": "f.s()" + "|f.s()" * DEEP,
    "sum": "1" + "+1" * DEEP,
    "power": "1" + "**1" * DEEP,
    "not": "not " * DEEP + "a",
    "minus": "-" * DEEP + "1",
    "lambda": "lambda:" * DEEP + "a",
    "ifs": "a if b else " * DEEP + "a",
    "elif": "if a: b\n" + "elif a: b\n" * DEEP,
    "blocks": "".join(f"{' ' * i}if a:\n" for i in range(1_000)) + " " * 1_000 + "b",
    "comparison": "a" + "<a" * DEEP,
    "and or": "a" + " and a or a" * DEEP,
    "targets": "a=" * DEEP + "a",
    "text": "'a' " * DEEP,
    "one line": "x = [" + "f.delay(x), " * DEEP + "]",
    "statements": "def g(x):\n" + "    y = x\n    f.delay(y)\n" * DEEP,
}


@pytest.mark.parametrize("code", CHAINS.values(), ids=CHAINS)
def test_depth(tmp_path: Path, code: str) -> None:
    """Either looked at, or skipped with a reason: each Python's parser gives up somewhere else."""
    result = looked_at(tmp_path, {"tasks.py": f"{TASK}{code}\n"})
    assert all("deep" in why or "not valid" in why or "not Python" in why for *_, why in result.skipped)


def test_nesting_within_bounds(tmp_path: Path) -> None:
    deep = f"{TASK}x = a{'.b' * (MAX_NESTING // 2)}\n"
    assert not looked_at(tmp_path, {"tasks.py": deep}).skipped


@pytest.mark.parametrize(
    "step",
    [
        "x{1} = x{0} + x{0}",
        "x{1} = x{0} * x{0}",
        "x{1} = (x{0}, x{0})",
        "x{1} = f'{{x{0}}}{{x{0}}}'",
        "x{1} = x{0} | x{0}",
    ],
)
@pytest.mark.parametrize("start", ["1", "'a'", "f.s()"])
def test_names_that_double(tmp_path: Path, step: str, start: str) -> None:
    """Sixty lines that stand for 2**60 values."""
    lines = [f"x0 = {start}", *(step.format(i, i + 1) for i in range(60))]
    inside = (
        "def g():\n"
        + "".join(f"    {line}\n" for line in lines)
        + "    f.apply_async((x60,), countdown=x60)\n    x60()\n"
    )
    settings = "\n".join(["INSTALLED_APPS = []", *lines, "CELERY_BROKER_URL = x60", "CELERY_TASK_TIME_LIMIT = x60"])
    project = looked_at(
        tmp_path, {"tasks.py": TASK + "\n".join(lines) + "\n" + inside, "settings.py": settings}
    ).project
    begin = time.monotonic()
    project.setting("broker_url"), project.setting_texts("broker_url"), project.brokers, project.visibility_timeout
    assert time.monotonic() - begin < 1


def test_classes_that_double(tmp_path: Path) -> None:
    classes = "class C0: pass\nclass D0: pass\n"
    classes += "".join(f"class C{i + 1}(C{i}, D{i}): pass\nclass D{i + 1}(C{i}, D{i}): pass\n" for i in range(60))
    looked_at(tmp_path, {"tasks.py": f"{TASK}{classes}\nclass T(C60):\n    def run(self): ...\nf.delay(C60())\n"})


def test_imports_in_circles(tmp_path: Path) -> None:
    files = {
        f"m{i}.py": f"{TASK}from m{(i + 1) % 9} import *\nfrom m{(i + 2) % 9} import x\nx.delay()\n" for i in range(9)
    }
    looked_at(tmp_path, files)


def test_long_line_of_a_deployment_file(tmp_path: Path) -> None:
    looked_at(tmp_path, {"compose.yml": "celery " * 200_000, "run.sh": "celery worker " + "-" * 1_500_000})


# What a folder may hold


def test_no_regular_file(tmp_path: Path) -> None:
    """A pipe would make a reader wait for ever."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "device.py").symlink_to("/dev/zero")
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "folder.py").mkdir()
    result = looked_at(tmp_path, {"folder.py/tasks.py": TASK})
    assert {path: why for path, _, why in result.skipped} == {
        "pipe.py": "no regular file, not read",
        "device.py": "no regular file, not read",
        "gone.py": "cannot be read: No such file or directory",
    }
    assert [module.path for module in result.project.modules] == ["folder.py/tasks.py"]


def test_link_loop(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "a.py").symlink_to("b.py")
    (tmp_path / "b.py").symlink_to("a.py")
    result = looked_at(tmp_path, {"tasks.py": TASK})
    assert {path for path, *_ in result.skipped} == {"a.py", "b.py"}


def test_names_that_no_terminal_shows(tmp_path: Path) -> None:
    names = [b"caf\xe9.py", b"line\nbreak.py", "\u202egnp.py".encode()]
    for name in names:
        (Path(os.fsdecode(bytes(tmp_path))) / os.fsdecode(name)).write_text(TASK)
    result = looked_at(tmp_path, {})
    assert len(result.project.modules) == len(names)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, *_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("celery_audit.files.open", denied, raising=False)
    assert why_skipped(tmp_path, TASK) == "cannot be read: Permission denied"


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(_: str, onerror: object) -> Iterator[object]:
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        yield str(tmp_path), [], []

    monkeypatch.setattr("celery_audit.files.os.walk", walk)
    assert audit(str(tmp_path), chosen()).skipped == [("closed", 1, "cannot be read: Permission denied")]


# A rule that breaks


def test_a_rule_that_raises_is_noted_and_the_others_run(tmp_path: Path) -> None:
    def breaks(call: ast.Call, module: Module, project: object) -> Iterator[Problem]:
        if module.path == "a.py":
            raise RecursionError("too deep\nby far")
        yield Problem("seen", call)

    (tmp_path / "a.py").write_text(f"{TASK}f(1)\nf(2)\n")
    (tmp_path / "b.py").write_text(f"{TASK}f(1)\n")
    breaks.__annotations__ = {"call": ast.Call}
    result = audit(str(tmp_path), [Rule("DCE999", "breaks-here", "error", "page#section", breaks)])
    ((path, step, error),) = result.project.failures
    assert (path, step) == ("a.py", "DCE999")
    assert error.startswith("RecursionError at test_robustness.py:")
    assert error.endswith(": too deep by far")
    assert [finding.path for finding in result.findings] == ["b.py"]


def test_a_step_of_the_index_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("celery_audit.project._find_tasks", broken)
    (tmp_path / "a.py").write_text(TASK)
    (failure,) = audit_module.audit(str(tmp_path), chosen()).project.failures
    assert failure[:2] == ("a.py", "index")
