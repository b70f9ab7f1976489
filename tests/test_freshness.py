"""What the drift watch tells of two releases, and when it speaks."""

from __future__ import annotations

import sys

import freshness
import pytest
from matrix import REASON, Row, pythons, table

OLD = {
    "distributions": {"celery": "5.5.3"},
    "settings": {
        "worker_concurrency": {"default": "None", "type": "int", "deprecated": None},
        "old_name": {"default": "1", "type": "int", "deprecated": None},
        "same": {"default": "1", "type": "int", "deprecated": None},
    },
    "task options": ["acks_late"],
    "command-line options": {"celery worker": ["--pool"]},
    "deprecations": [],
}
NEW = {
    "distributions": {"celery": "5.7.0"},
    "settings": {
        "worker_concurrency": {"default": "None", "type": "any", "deprecated": "6.0"},
        "worker_eta_task_limit": {"default": "None", "type": "int", "deprecated": None},
        "same": {"default": "1", "type": "int", "deprecated": None},
    },
    "task options": ["acks_late", "retry_on_worker_lost"],
    "command-line options": {"celery worker": ["--pool", "--disable-prefetch"], "celery new": ["--pool"]},
    "deprecations": ["celery.app.task: 'gone in 6.0'"],
}


def test_changes_are_told_by_section():
    assert freshness.changes(OLD, NEW) == {
        "settings": [
            "`worker_concurrency` changed: type int → any, deprecated None → 6.0",
            "`worker_eta_task_limit` added",
            "`old_name` removed",
        ],
        "task options": ["`retry_on_worker_lost` added"],
        "command-line options": ["`celery worker --disable-prefetch` added", "`celery new --pool` added"],
        "deprecations": ["`celery.app.task: 'gone in 6.0'` added"],
    }


def test_the_report_is_markdown():
    told = freshness.report(OLD, NEW)
    assert told.startswith("## Celery 5.5.3 → 5.7.0\n\n### Settings\n\n- `worker_concurrency` changed")
    assert "No setting" in freshness.report(OLD, OLD)


@pytest.mark.parametrize(
    ("have", "released", "drifted"),
    [
        ({"celery": "5.7.0"}, {"celery": "5.7.0"}, []),
        ({"celery": "5.7.0"}, {"celery": "5.7.1"}, ["celery"]),
        ({"celery": "5.7.0"}, {"celery": "5.10.0"}, ["celery"]),
        ({"django": "6.0.10"}, {"django": "6.1.3"}, []),  # the matrix runs it
        ({"django": "6.0.10"}, {"django": "6.2"}, ["django"]),
        ({"redis": "8.1.0"}, {"redis": "7.0"}, []),
    ],
)
def test_drift_is_a_release_that_nothing_was_verified_on(have, released, drifted):
    assert freshness.drift(have, released, {"django": ["5.2", "6.0", "6.1"], "celery": ["5.7"]}) == drifted


def test_a_lock_with_markers_counts_with_its_newest_pin():
    lock = "django==5.2.19 ; python_full_version < '3.12' \\\n    --hash=x\ndjango==6.0.10 ; …\nredis[hiredis]==8.1\n"
    assert freshness.pins(lock) == {"django": "6.0.10", "redis": "8.1"}


def test_everything_that_is_watched_is_locked():
    assert {"celery", "django", "kombu", "django-celery-beat"} <= set(freshness.verified())


def test_failure_to_ask_is_no_freshness(monkeypatch, capsys):
    def unreachable(*requirements):
        raise freshness.Unresolvable("no index")

    monkeypatch.setattr(freshness, "resolve", unreachable)
    assert freshness.run([]) == 2
    assert "no index" in capsys.readouterr().err


def test_the_matrix_tells_why_a_pair_is_impossible():
    said = "cause: Because the current Python version (3.10) does not satisfy\n  Python>=3.12, we can conclude that"
    assert " ".join(REASON.search(said)[1].split()).endswith("does not satisfy Python>=3.12")
    rows = [
        Row("3.10", "5.5", "6.0", reason="Django 6.0 needs Python 3.12"),
        Row("3.13", "5.7", "6.0", "fail", seconds=1.5, counts={"executed": 7}, failures=["page.md:3: wrong"]),
    ]
    impossible, failed, blank, failure = table(rows).splitlines()[1:]
    assert impossible.endswith("Django 6.0 needs Python 3.12")
    assert failed.split() == ["3.13", "5.7", "6.0", "fail", "7", "0", "0", "0", "0", "1.5"]
    assert (blank, failure) == ("", "Python 3.13, Celery 5.7, Django 6.0: page.md:3: wrong")


def test_this_python_is_found(monkeypatch, tmp_path):
    minor = "{}.{}".format(*sys.version_info)
    (tmp_path / f"python{minor}").symlink_to(sys.executable)
    (tmp_path / "python3.99").write_text("no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert list(pythons()) == [minor]
