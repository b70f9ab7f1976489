"""The baseline: what is known passes, what is new or a further copy does not, what is mended is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from celery_audit import cli
from projects import CLEAN, FAULTY, TASKS, VIEWS
from trees import write

CALL = "        send_receipt.delay(order.pk)\n"


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    def run(tree: str, *arguments: str) -> tuple[int, str, str]:
        write(tmp_path, tree)
        monkeypatch.chdir(tmp_path)
        status = cli.main(["--select", "DCE101", *arguments])
        return status, *capsys.readouterr()

    return run


def test_what_is_known_passes(run: Callable) -> None:
    status, out, _ = run(FAULTY, "--write-baseline", "known.json")
    assert (status, out) == (0, "Wrote 1 finding to known.json; --baseline known.json passes them.\n")
    status, out, _ = run(FAULTY, "--baseline", "known.json")
    assert status == 0
    assert "1 finding known from known.json." in out


def test_moved_lines_and_other_blanks_stay_known(run: Callable) -> None:
    run(FAULTY, "--write-baseline", "known.json")
    moved = VIEWS.replace("def buy", "\n# moved\n\ndef buy").replace(".delay(order.pk)", ".delay(order.pk)   ")
    assert run(TASKS + moved, "--baseline", "known.json")[0] == 0


def test_a_further_copy_is_new(run: Callable) -> None:
    run(FAULTY, "--write-baseline", "known.json")
    status, out, _ = run(TASKS + VIEWS + CALL, "--baseline", "known.json")
    assert status == 1
    assert out.startswith("1 finding: ")


def test_another_file_is_new(run: Callable) -> None:
    run(FAULTY, "--write-baseline", "known.json")
    assert run(VIEWS.replace("views", "api"), "--baseline", "known.json")[0] == 1


def test_what_is_mended_is_told(run: Callable) -> None:
    run(TASKS + VIEWS + CALL, "--write-baseline", "known.json")
    status, out, _ = run(FAULTY, "--baseline", "known.json")
    assert status == 0
    assert "1 finding known from known.json." in out
    assert "1 finding of it mended since; --write-baseline known.json forgets them:\n  orders/views.py: DCE101\n" in out
    assert json.loads(run(FAULTY, "--baseline", "known.json", "--format", "json")[1])["stale"] == [
        {"rule": "DCE101", "path": "orders/views.py", "count": 1}
    ]


def test_a_run_that_looks_elsewhere_neither_tells_nor_forgets(run: Callable, tmp_path: Path) -> None:
    tree = FAULTY + VIEWS.replace("views", "api") + "=== manage.py\nimport os\n"
    run(tree, "--write-baseline", "known.json")
    before = (tmp_path / "known.json").read_text()
    status, out, _ = run(tree, "orders/api.py", "--baseline", "known.json")
    assert (status, "mended" in out) == (0, False)
    run(tree, "orders/api.py", "--write-baseline", "known.json")
    assert (tmp_path / "known.json").read_text() == before


def test_the_file_is_stable_and_holds_no_code(run: Callable, tmp_path: Path) -> None:
    secret = VIEWS.replace("order.pk", "'hunter2'")
    run(TASKS + secret + VIEWS.replace("views", "api") + CALL, "--write-baseline", "known.json")
    text = (tmp_path / "known.json").read_text()
    assert "hunter2" not in text
    lines = re.findall(
        r'^  \{"rule": "DCE101", "path": "(.+)", "line": "[0-9a-f]{16}", "count": (\d)\},?$', text, re.MULTILINE
    )
    assert lines == [("orders/api.py", "2"), ("orders/views.py", "1")]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".celery_audit")]


def test_from_the_configuration(run: Callable) -> None:
    run(FAULTY, "--write-baseline", "known.json")
    assert run("=== pyproject.toml\n[tool.celery_audit]\nbaseline = 'known.json'\n")[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "[]",
        "{}",
        "null",
        '{"celery_audit": 2, "findings": []}',
        '{"celery_audit": 1, "findings": {}}',
        '{"celery_audit": 1, "findings": [1]}',
        '{"celery_audit": 1, "findings": [{"rule": "DCE101", "path": "a", "line": "b", "count": 0}]}',
        '{"celery_audit": 1, "findings": [{"rule": "DCE101", "path": "a", "line": 1, "count": 1}]}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_broken_file_is_2(run: Callable, tmp_path: Path, content: str) -> None:
    (tmp_path / "known.json").write_bytes(content.encode(errors="surrogateescape"))
    for option in ("--baseline", "--write-baseline"):
        status, out, err = run(CLEAN, option, "known.json")
        assert (status, out) == (2, "")
        assert re.fullmatch(r"celery_audit: known\.json: .+; write it anew with --write-baseline known\.json\n", err)


def test_a_missing_file_is_2(run: Callable) -> None:
    assert run(CLEAN, "--baseline", "no.json") == (
        2,
        "",
        "celery_audit: no.json: no such file; --write-baseline no.json makes it\n",
    )


def test_a_folder_that_cannot_be_written_is_2(run: Callable) -> None:
    status, _, err = run(CLEAN, "--write-baseline", "nowhere/known.json")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("celery_audit: nowhere/known.json: No such file or directory; ")
