"""What a run prints: text for people, and json, sarif and annotations for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
from celery_audit import cli, report
from celery_audit.registry import RULES, SEVERITIES
from projects import CLEAN, FAULTY, PLACE, TASKS, VIEWS, many
from trees import write

SARIF = json.loads(Path(__file__).with_name("sarif-2.1.0-subset.json").read_text())
BROKEN = "=== orders/old.py\nimport celery\nprint 'a'\n"
SETTINGS = """\
=== shop/celery.py
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
=== shop/__init__.py
from shop.celery import app
=== shop/settings.py
CELERY_TASK_ACK_LATE = True
"""
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Audit a tree from inside it by two rules; what is printed."""

    def run(tree: str, *arguments: str, select: str = "DCE101,DCE701") -> str:
        write(tmp_path, tree)
        monkeypatch.chdir(tmp_path)
        cli.main([*arguments, "--select", select])
        return capsys.readouterr().out

    return run


# json


def test_json(run: Run, tmp_path: Path) -> None:
    rule = RULES["DCE101"]
    found = json.loads(run(FAULTY + BROKEN + "=== compose.yml\ncelery: a\n", "--format", "json"))
    assert list(found) == [
        "version", "tool", "root", "celery", "looked_at", "summary", "rules", "findings", "silenced", "known", "stale",
        "skipped", "failures",
    ]  # fmt: skip
    assert (found["version"], found["tool"]["name"], found["root"]) == (1, "celery_audit", str(tmp_path))
    assert found["celery"] is True
    assert found["looked_at"] == {
        "python_files": 3,
        "celery_files": 2,
        "deployment_files": 1,
        "tasks": 1,
        "dispatches": 1,
        "settings": 0,
        "schedule_entries": 0,
    }
    assert found["summary"] == {"error": 1, "warning": 0, "info": 0}
    assert found["rules"] == {
        "DCE101": {
            "name": "publish-in-atomic",
            "severity": "error",
            "count": 1,
            "what": rule.what,
            "why": rule.why,
            "fix": rule.fix,
            "reference": f"references/{rule.reference.replace('#', '.md#')}",
        }
    }
    (finding,) = found["findings"]
    assert finding.pop("message")
    assert finding == {
        "rule": "DCE101",
        "severity": "error",
        "path": "orders/views.py",
        "line": 9,
        "column": 9,
        "end_line": 9,
        "end_column": 37,
        "code": "send_receipt.delay(order.pk)",
    }
    ((path, line, reason),) = [skipped.values() for skipped in found["skipped"]]
    assert (path, line, "Python 2?" in reason) == ("orders/old.py", 2, True)
    assert (found["silenced"], found["known"], found["stale"], found["failures"]) == (0, 0, [], [])


def test_json_of_nothing(run: Run) -> None:
    found = json.loads(run("=== a.py\nimport os\n", "--format", "json"))
    assert (found["celery"], found["rules"], found["findings"]) == (False, {}, [])
    assert found["summary"] == {"error": 0, "warning": 0, "info": 0}


def test_json_counts_what_is_silenced_known_and_mended(run: Run) -> None:
    second = VIEWS.replace("views.py", "api.py")
    run(FAULTY + second, "--write-baseline", "known.json")
    third = VIEWS.replace("views.py", "jobs.py").replace(".pk)", ".pk)  # noqa")
    found = json.loads(run(third + "=== orders/api.py\n", "--format", "json", "--baseline", "known.json"))
    assert (found["silenced"], found["known"], found["findings"]) == (1, 1, [])
    assert found["stale"] == [{"rule": "DCE101", "path": "orders/api.py", "count": 1}]


# sarif


def sarif(text: str) -> dict:
    """The run of a report that is as the standard has it."""
    log = json.loads(text)
    validator = jsonschema.Draft202012Validator(SARIF)
    assert not [f"{error.json_path}: {error.message}" for error in validator.iter_errors(log)]
    return log["runs"][0]


def test_sarif(run: Run) -> None:
    found = sarif(run(FAULTY + SETTINGS + BROKEN, "--format", "sarif"))
    rules = found["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["DCE101", "DCE701"]
    assert [rules[result["ruleIndex"]]["id"] for result in found["results"]] == ["DCE101", "DCE701"]
    place = found["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "orders/views.py"}
    assert (place["region"]["startLine"], place["region"]["startColumn"]) == (9, 9)
    (notification,) = found["invocations"][0]["toolExecutionNotifications"]
    assert notification["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "orders/old.py"}


def test_sarif_of_every_rule_and_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule in RULES.values():
        for number, example in enumerate(rule.bad):
            write(tmp_path / f"{rule.id}-{number}", example)
    cli.main([str(tmp_path), "--format", "sarif"])
    found = sarif(capsys.readouterr().out)
    assert len(found["tool"]["driver"]["rules"]) == len(RULES)
    assert {result["level"] for result in found["results"]} <= {"note", "warning", "error"}
    assert len(found["results"]) >= 20


def test_sarif_of_nothing(run: Run) -> None:
    assert sarif(run(CLEAN, "--format", "sarif"))["results"] == []


def test_sarif_addresses_are_escaped_and_from_the_git_root(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path / "back end", FAULTY.replace("orders/views", "orders/v %é#"))
    text = run("=== pyproject.toml\n", "back end", "--format", "sarif")
    (uri,) = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in sarif(text)["results"]
    ]
    assert unquote(uri) == "back end/orders/v %é#.py"


def test_sarif_fingerprints_stay_when_lines_move(run: Run) -> None:
    before = sarif(run(FAULTY, "--format", "sarif"))["results"]
    after = sarif(run(VIEWS.replace(".py\n", ".py\n\n\n", 1), "--format", "sarif"))["results"]
    assert before[0]["locations"] != after[0]["locations"]
    assert before[0]["partialFingerprints"] == after[0]["partialFingerprints"]


@pytest.mark.parametrize("change", [{"level": "info"}, {"message": {}}, {"extra": 1}, {"ruleIndex": "0"}])
def test_the_schema_refuses(run: Run, change: dict) -> None:
    log = json.loads(run(FAULTY, "--format", "sarif"))
    log["runs"][0]["results"][0].update(change)
    assert not jsonschema.Draft202012Validator(SARIF).is_valid(log)


# GitHub annotations


def test_github(run: Run) -> None:
    first, *rest = run(FAULTY, "--format", "github").splitlines()
    head, _, message = first.removeprefix("::").partition("::")
    level, _, properties = head.partition(" ")
    named = dict(part.split("=") for part in properties.split(","))
    assert level == "error"
    assert (named["file"], named["line"], named["endLine"], named["col"]) == ("orders/views.py", "9", "9", "9")
    assert named["title"] == "DCE101 publish-in-atomic"
    assert message.endswith(report._escape(RULES["DCE101"].fix))
    assert rest[0].startswith("1 finding: 1 error in ")
    assert not any(line.startswith("::") for line in rest)


@pytest.mark.parametrize(
    ("name", "escaped"), [("a,b", "a%2Cb"), ("a:b", "a%3Ab"), ("100%", "100%25"), ("a\nb", "a%0Ab"), ("a b", "a b")]
)
def test_github_file_names_are_escaped(tmp_path: Path, run: Run, name: str, escaped: str) -> None:
    write(tmp_path, TASKS)
    (tmp_path / "orders" / f"{name}.py").write_text(VIEWS.partition("\n")[2])
    assert f"file=orders/{escaped}.py,line=9," in run(TASKS, "--format", "github")


def test_github_messages_are_one_line() -> None:
    assert report._escape("50 % a,b:c\r\nd") == "50 %25 a,b:c%0D%0Ad"
    assert "\x1b" not in report._escape("\x1b[31m")


# Text


def test_the_summary_comes_first(run: Run) -> None:
    lines = run(FAULTY + SETTINGS).splitlines()
    assert lines[0].startswith("2 findings: 2 errors in ")
    assert lines[1].startswith("Looked at 5 Python files (")
    assert [line.split() for line in lines[3:5]] == [
        ["1", "error", "DCE101", "publish-in-atomic"],
        ["1", "error", "DCE701", "unknown-setting"],
    ]


def test_fix_and_reference_stand_once(run: Run, tmp_path: Path) -> None:
    many(tmp_path, 3)
    text = run("")
    assert text.count(f"Fix: {RULES['DCE101'].fix}\n") == 1
    assert text.count("Read references/") == 1


def test_code_frame(run: Run) -> None:
    _, _, frame = run(FAULTY).partition(f"{PLACE}: DCE101 ")
    assert frame.splitlines()[1:] == [
        "     8 | order = Order.objects.create()",
        ">    9 | send_receipt.delay(order.pk)",
    ]


def test_a_long_line_is_cut_around_its_finding(run: Run) -> None:
    text = run(FAULTY.replace("        send", f"        a = '{'x' * 500}'; send"))
    (marked,) = [line for line in text.splitlines() if line.startswith(">")]
    assert "send_receipt.delay" in marked
    assert marked.count("…") == 1
    assert len(marked) < report.WIDTH + 12


def test_limit_is_dealt_over_the_rules(run: Run, tmp_path: Path) -> None:
    """A rule of many findings hides no other."""
    many(tmp_path, 50)
    text = run(SETTINGS, "--limit", "4")
    assert text.count(": DCE101 ") == 3
    assert text.count(": DCE701 ") == 1
    assert "… and 47 more of DCE101" in text
    assert text.endswith("47 findings not shown: --limit 0 shows all, --select DCE101 those of a rule.\n")


def test_default_limit(run: Run, tmp_path: Path) -> None:
    many(tmp_path, 50)
    assert run("").count(": DCE101 ") == 30
    assert run("", "--limit", "0").count(": DCE101 ") == 50


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ([5, 5], 0, [5, 5]),
        ([5, 5], 10, [5, 5]),
        ([9, 1, 9], 5, [2, 1, 2]),
        ([1, 9], 4, [1, 3]),
        ([9, 9, 9], 2, [1, 1, 0]),
        ([], 3, []),
    ],
)
def test_shares(counts: list[int], limit: int, shares: list[int]) -> None:
    assert report._shares(counts, limit) == shares


def test_statistics(run: Run, tmp_path: Path) -> None:
    many(tmp_path, 50)
    text = run(SETTINGS, "--statistics")
    assert text.startswith("51 findings: 51 errors in ")
    assert text.rstrip().splitlines()[-2:] == [
        "     50  error    DCE101  publish-in-atomic",
        "      1  error    DCE701  unknown-setting",
    ]
    assert "Fix:" not in text


def test_the_most_severe_rules_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule in RULES.values():
        write(tmp_path / rule.id, rule.bad[0])
    cli.main([str(tmp_path), "--statistics"])
    table = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    ranks = [SEVERITIES.index(line.split()[1]) for line in table]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(SEVERITIES)


def test_noqa_is_counted(run: Run) -> None:
    silenced = VIEWS.replace(".pk)", ".pk)  # noqa: DCE101")
    assert "\n2 findings silenced by noqa.\n" in run(TASKS + silenced + silenced.replace("views.py", "api.py"))
    assert "silenced by noqa" not in run(VIEWS + "=== orders/api.py\n")


def test_skipped_files_are_named_up_to_five(run: Run) -> None:
    tree = CLEAN + "".join(BROKEN.replace("old", f"old{n}") for n in range(7))
    text = run(tree)
    assert "\n7 paths not looked at:\n  orders/old0.py:2: not valid for Python 3." in text
    assert text.count("orders/old") == 5
    assert "\n  … and 2 more (--limit 0)" in text
    assert run(tree, "--limit", "0").count("orders/old") == 7


def test_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    painted = run(FAULTY)
    assert f"{report.RED}send_receipt.delay" in painted
    monkeypatch.delenv("FORCE_COLOR")
    plain = run(FAULTY)
    assert "\x1b" not in plain
    for code in (report.RED, report.GREEN, report.DIM, report.BOLD, report.RESET, report.YELLOW, report.BLUE):
        painted = painted.replace(code, "")
    assert painted == plain


@pytest.mark.parametrize("form", report.FORMATS)
def test_formats_for_programs_have_no_colour(run: Run, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in run(FAULTY, "--format", form)


def test_the_same_run_prints_the_same(run: Run) -> None:
    for form in ("text", *report.FORMATS):
        assert run(FAULTY + SETTINGS, "--format", form) == run(FAULTY + SETTINGS, "--format", form)
