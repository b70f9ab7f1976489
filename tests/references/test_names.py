"""Names are real: a defect of each kind is reported, at its line, and the pages of this repository have none.

``¶`` marks the line of the finding; it is not written to the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT
from skill_trees import write
from validate import checks  # noqa: F401  registers them
from validate.checks import names  # noqa: F401
from validate.checks.names import modules, page
from validate.cli import main
from validate.findings import Finding
from validate.registry import INSTALLED
from validate.runner import Result, validate

# Fewer names than these were found when the checks were written, in skills/ and its copy together.
AT_LEAST = {
    "names/setting": 200,
    "names/setting-type": 100,
    "names/import": 500,
    "names/not-installed": 300,
    "names/task-option": 400,
    "names/transport-option": 40,
    "names/signal": 50,
    "names/request-attribute": 20,
    "names/environment": 25,
    "names/not-needed": 5,
}


def python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


DEFECTS = {
    "setting misspelt": ("names/setting", python("CELERY_TASK_ACK_LATE = True¶")),
    "setting misspelt in a comment": ("names/setting", python("a = 1  # CELERY_TASK_TIMELIMIT¶")),
    "setting misspelt in YAML": ("names/setting", "```yaml\nenv:\n  CELERY_TASK_ACK_LATE: 1¶\n```"),
    "setting misspelt in prose": ("names/setting", "Set `worker_prefetch_multiplyer`.¶"),
    "setting misspelt in a table": (
        "names/setting",
        "| a | b |\n|---|---|\n| `result_expire = 60` | `task_ack_late` |¶",
    ),
    "setting misspelt where it is set": ("names/setting", "Set `beat_syc_every = 1`.¶"),
    "setting misspelt in app.conf": ("names/setting", "`app.conf.task_timelimit`¶"),
    "setting misspelt as a key": ("names/setting", python("SAFE = {", '    "task_always_eagar": bool,¶', "}")),
    "setting misspelt in update": ("names/setting", python("app.conf.update(", "    worker_concurency=2,¶", ")")),
    "setting of an older Celery": ("names/setting", "`CELERYD_PREFETCH_MULTIPLIER`¶"),
    "extension's setting misspelt": ("names/setting", "`CELERY_DB_REUSES_MAX`¶"),
    "string for a number": ("names/setting-type", python('CELERY_TASK_TIME_LIMIT = "300"¶')),
    "string for a truth": ("names/setting-type", "`CELERY_TASK_ACKS_LATE = 'yes'`¶"),
    "truth for a number": ("names/setting-type", python("CELERY_WORKER_PREFETCH_MULTIPLIER = True¶")),
    "number for a string": ("names/setting-type", python("app.conf.task_default_queue = 3¶")),
    "list for a dictionary": ("names/setting-type", python("CELERY_BEAT_SCHEDULE = [{}]¶")),
    "import renamed": ("names/import", python("from celery import shared_tasks¶")),
    "import of a module that is gone": ("names/import", python("from celery.task.schedules import crontab¶")),
    "import of a name that is gone": ("names/import", python("from django.utils.timezone import utc¶")),
    "import inside a function": ("names/import", python("def f():", "    import celery.signal¶")),
    "attribute of a module": ("names/import", python("from django.db import transaction", "transaction.on_comit(f)¶")),
    "dotted path in prose": ("names/import", "Catch `kombu.exceptions.OperationError`.¶"),
    "dotted path in a string": ("names/import", python('BASE = "celery.contrib.django.task.DjangoTasks"¶')),
    "package not installed": ("names/not-installed", python("import celery_singleton¶")),
    "task option": (
        "names/task-option",
        python("from celery import shared_task", "@shared_task(", "    retry_back_off=True,¶", ")", "def f(): ..."),
    ),
    "task option in prose": ("names/task-option", "Give it `max_retry=3`.¶"),
    "second task option in prose": ("names/task-option", "`acks_late=True, retry_on_dead_worker=True`¶"),
    "call option": ("names/task-option", python("f.apply_async((1,), count_down=10)¶")),
    "call option in a table": ("names/task-option", "| a |\n|---|\n| `apply_async(delay=…, queue=…)` |¶"),
    "signature option": ("names/task-option", python('f.si(1).set(queues="mail")¶')),
    "retry option": ("names/task-option", python("self.retry(exception=error)¶")),
    "send_task option": ("names/task-option", python('app.send_task("a", arguments=[1])¶')),
    "queue option": ("names/task-option", python("from kombu import Queue", 'Queue("a", queue_args={})¶')),
    "exchange option": ("names/task-option", python("from kombu import Exchange", 'Exchange("a", kind="topic")¶')),
    "crontab field": ("names/task-option", "`crontab(day_of_weeks=1)`¶"),
    "lock option": ("names/task-option", python("import redis", "redis.Redis().lock('a', expire=3)¶")),
    "schedule entry's option": (
        "names/task-option",
        python('ENTRY = {"task": "a", "schedule": 3, "options": {', '    "expire": 3,¶', "}}"),
    ),
    "transport option": (
        "names/transport-option",
        python("CELERY_BROKER_TRANSPORT_OPTIONS = {", '    "visiblity_timeout": 3600,¶', "}"),
    ),
    "transport option of another transport": (
        "names/transport-option",
        python('CELERY_BROKER_URL = "amqps://b/"', 'CELERY_BROKER_TRANSPORT_OPTIONS = {"unacked_key": 3}¶'),
    ),
    "transport option through a name": (
        "names/transport-option",
        python('OPTIONS = {"soket_timeout": 3}¶', "app.connection_for_read(transport_options=OPTIONS)"),
    ),
    "result transport option": (
        "names/transport-option",
        python('CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 3}¶'),
    ),
    "signal": (
        "names/signal",
        python("from celery import signals", "@signals.task_failed.connect¶", "def f(**kw): ..."),
    ),
    "signal's argument": (
        "names/signal",
        python("from celery.signals import task_retry", "@task_retry.connect(weak=False)", "def f(task, **kw): ...¶"),
    ),
    "request attribute": ("names/request-attribute", python("def f(self):", "    return self.request.task_id¶")),
    "request attribute by name": ("names/request-attribute", python('getattr(task.request, "tenant", None)¶')),
    "request attribute in prose": ("names/request-attribute", "`self.request.delivery_infos`¶"),
    "environment in a shell": ("names/environment", "```bash\nexport PROMETHEUS_MULTIPROCESS_DIR=/a¶\n```"),
    "environment in prose": ("names/environment", "`REMAP_SIGTERMS=SIGQUIT`¶"),
    "environment in Python": ("names/environment", python("import os", 'os.environ.get("DJANGO_SETTINGS")¶')),
}

PASSED = {
    "a block that is wrong on purpose": python("# Wrong: an unknown name is ignored.", "CELERY_TASK_ACK_LATE = True"),
    "a newer setting, noted on its line": python("CELERY_TASK_NEW_NAME = 1  # 9.0+"),
    "a newer option, noted in its row": "| a | b |\n|---|---|\n| `retry_on_dead_worker=True` 9.1+ | c |",
    "a newer option, in a table of versions": "| a | b |\n|---|---|\n| `retry_on_dead_worker=True` | 9.1 |",
    "a newer import, noted on the block": python("# Django 9.0+", "import os", "from django.tasks import later"),
    "the page's own packages": python("from orders.models import Order").replace(
        "python", 'python title="orders/a.py"'
    ),
    "a request attribute that the page sets": python("task.request.began = 1", "print(task.request.began)"),
    "a header that the page sets": python('headers["tenant"] = 1', "print(task.request.tenant)"),
    "a view's request": python("class V(View):", "    def get(self):", "        return self.request.user"),
    "an argument that Celery sends undeclared": python(
        "from celery.signals import task_postrun", "@task_postrun.connect", "def f(state, **kw): ..."
    ),
    "another library's set, lock and retry": python('current.set("a", token=1)', "threading.lock(a=1)"),
    "another library's keyword": "`select_for_update(skip_locked=True)`, `no_key=True`, `weak=False`",
    "a signal, an argument, a logger": "`task_failure`, `task_id`, `worker_pid`, `celery.worker.strategy`",
    "any type where Celery says any": python('CELERY_WORKER_CONCURRENCY = "auto"', "CELERY_TASK_ROUTES = [f, {}]"),
    "a name shadowed": python("import redis", "redis = 1", "redis.nothing"),
    "a template of names": "`CELERY_*`, `CELERY_…`, `CELERY_TASK_{name}`",
    "a variable of one's own": "```bash\nexport SHOP_BROKER=a METRICS_PORT=1 CELERY_WORKER_CONCURRENCY=2\n```",
}


def seeded(folder: Path, text: str) -> tuple[list[Finding], int | None]:
    """The findings in a page with this text, and the line that is marked."""
    root = write(folder, f"=== references/page.md\n# Celery\n\n{text.replace('¶', '')}\n")
    line = next((number for number, line in enumerate(text.split("\n"), 3) if "¶" in line), None)
    findings = validate(root, select=["names/"], installed=True).findings
    return [finding for finding in findings if finding.path == "references/page.md"], line


@pytest.mark.parametrize(("check", "text"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found_where_it_is(check: str, text: str, tmp_path: Path) -> None:
    findings, line = seeded(tmp_path, text)
    assert (check, line) in {(finding.check, finding.line) for finding in findings}, findings
    assert {finding.line for finding in findings} == {line}


@pytest.mark.parametrize("text", PASSED.values(), ids=PASSED)
def test_passed(text: str, tmp_path: Path) -> None:
    assert seeded(tmp_path, text)[0] == []


def test_pages_about_something_else_are_passed(tmp_path: Path) -> None:
    text = "Set `spark.conf.event_type` and `task_instance`.\n\n" + python("import pyspark")
    root = write(tmp_path, f"=== references/spark.md\n# Spark\n\n{text}\n")
    assert validate(root, select=["names/"], installed=True).findings == []


def test_every_check_has_a_defect() -> None:
    assert {check for check, _ in DEFECTS.values()} | {"names/not-needed"} == set(INSTALLED)


def test_near_misses_are_named(tmp_path: Path) -> None:
    findings, _ = seeded(tmp_path, "`CELERY_TASK_ACK_LATE`, `retry_backof=3`")
    assert [finding.message.partition("did you mean ")[2] for finding in findings] == [
        "task_acks_late?",
        "retry_backoff?",
    ]


def test_old_names_are_led_to_the_new(tmp_path: Path) -> None:
    findings, _ = seeded(tmp_path, "`CELERYD_CONCURRENCY`")
    assert [finding.message for finding in findings] == [
        "CELERYD_CONCURRENCY is an old name; the setting is worker_concurrency"
    ]


def test_a_floor_below_the_installed_version_excuses_nothing(tmp_path: Path) -> None:
    findings, line = seeded(tmp_path, python("CELERY_TASK_NEW_NAME = 1  # 5.1+¶"))
    assert [(finding.check, finding.line) for finding in findings] == [("names/setting", line)]


def test_an_older_celery_passes_what_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "release", lambda _: (5, 5))
    text = "| `retry_on_dead_worker=True` 5.6+ | a |"
    assert seeded(tmp_path, text)[0] == []


def test_an_exception_silences_one_name_on_one_page(tmp_path: Path) -> None:
    example = """\
=== pyproject.toml
[[tool.validate.wrong-on-purpose]]
check = "names/setting"
page = "references/a.md"
name = "CELERY_TASK_ACK_LATE"
reason = "Misspelt to be found."
=== references/a.md
`CELERY_TASK_ACK_LATE` and `CELERY_TASK_TIMELIMIT`
=== references/b.md
`CELERY_TASK_ACK_LATE`
"""
    findings = validate(write(tmp_path, example), select=["names/"], installed=True).findings
    assert [(finding.path, finding.message.split()[0]) for finding in findings] == [
        ("references/a.md", "CELERY_TASK_TIMELIMIT"),
        ("references/b.md", "CELERY_TASK_ACK_LATE"),
    ]


@pytest.mark.parametrize("entry", ['"a"', "{ name = 3 }", '{ nam = "a" }'])
def test_an_exception_that_cannot_be_read_is_said(
    entry: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = write(tmp_path, f"=== pyproject.toml\n[tool.validate]\nwrong-on-purpose = [{entry}]\n")
    assert main([str(root)]) == 2
    assert "wrong-on-purpose must be tables" in capsys.readouterr().err


@pytest.fixture(scope="module")
def real() -> Result:
    return validate(ROOT, select=["names/"], installed=True)


@pytest.mark.parametrize("check", INSTALLED)
def test_the_pages_are_clean(check: str, real: Result) -> None:
    assert [finding for finding in real.findings if finding.check == check] == []


@pytest.mark.parametrize("check", INSTALLED)
def test_enough_names_are_inspected(check: str, real: Result) -> None:
    assert real.inspected[check] >= AT_LEAST[check]


def test_the_command_runs_them_only_when_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(write(tmp_path, "=== SKILL.md +\n`CELERY_TASK_ACK_LATE`\n"))
    assert main([root]) == 0
    assert "names" not in capsys.readouterr().out
    assert main([root, "--installed"]) == 1
    assert "did you mean task_acks_late?" in capsys.readouterr().out


def test_list_and_explain_know_them_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "names/" not in capsys.readouterr().out
    assert main(["--explain", "names/setting"]) == 2
    assert main(["--list", "--installed"]) == 0
    assert capsys.readouterr().out.count("\nnames/") == len(INSTALLED)
    assert main(["--explain", "names/setting", "--installed"]) == 0


@pytest.mark.parametrize("missing", ["celery", "django"])
def test_a_missing_package_is_said_in_a_line(missing: str, tmp_path: Path) -> None:
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text(f"raise ModuleNotFoundError('no', name={missing!r})")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "validate", ROOT, "--installed"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr.startswith("validate: --installed compares names with installed packages")
        and missing in done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_the_fast_checks_do_not_import_celery() -> None:
    code = "import sys, validate.cli; sys.exit(any(name in sys.modules for name in ('celery', 'kombu', 'django')))"
    path = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    assert subprocess.run([sys.executable, "-c", code], env=path, check=False).returncode == 0


@pytest.mark.parametrize(
    "path", ["celery.shared_task", "django.db.models.F", "os.path.join", "ssl.CERT_REQUIRED", "time"]
)
def test_names_are_found_without_importing(path: str) -> None:
    assert modules.resolves(path)
    assert not modules.resolves(f"{path}.nothing" if path == "time" else f"{path}_nothing")
