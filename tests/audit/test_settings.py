"""The index of settings: where they stand, which key each sets, what is known of it, and the bundled table."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.app.defaults import _TO_OLD_KEY, SETTING_KEYS
from celery_audit.audit import audit
from celery_audit.configuration import known
from celery_audit.infer import UNKNOWN
from celery_audit.project import Project
from trees import write

APP = """\
=== shop/celery.py
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
"""


def build(folder: Path, *files: str) -> Project:
    for file in files:
        write(folder, file)
    return audit(str(folder), []).project


def test_table_is_that_of_the_installed_celery() -> None:
    declared = {key for keys in known()["keys"].values() for key in keys}
    assert declared == SETTING_KEYS
    assert known()["renamed"] == {key: old for key, old in _TO_OLD_KEY.items() if old != key.upper()}
    assert not declared & set(known()["undeclared"])


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ("CELERY_TASK_ACKS_LATE = True", "task_acks_late", [True]),
        ("CELERY_TASK_ACKS_LATE: bool = True", "task_acks_late", [True]),
        ("CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT = 60", "task_time_limit", [60]),
        ("HOUR = 3600\nCELERY_RESULT_EXPIRES = 2 * HOUR", "result_expires", [7200]),
        ("CELERY_TASK_ACKS_LATE = env('LATE', default=True)", "task_acks_late", [UNKNOWN]),
        ("if DEBUG:\n    CELERY_TASK_ALWAYS_EAGER = True", "task_always_eager", [UNKNOWN]),
        ("CELERY_ALWAYS_EAGER = True", "task_always_eager", [UNKNOWN]),
        ("USE_TZ = False", "USE_TZ", [False]),
        ("", "task_acks_late", []),
    ],
)
def test_values(settings: str, key: str, expected: list, tmp_path: Path) -> None:
    project = build(tmp_path, APP, f"=== shop/settings.py\nINSTALLED_APPS = []\n{settings}\n")
    assert project.setting(key) == expected


@pytest.mark.parametrize(
    "files",
    [
        (
            "=== shop/settings/base.py\nCELERY_TASK_ACKS_LATE = True\n"
            "=== shop/settings/production.py\nfrom .base import *\n"
            "=== shop/settings/test.py\nfrom .base import *\nCELERY_TASK_ACKS_LATE = False\n"
        ),
        (
            "=== shop/settings.py\nclass Base(Configuration):\n    CELERY_TASK_ACKS_LATE = True\n"
            "class Dev(Base):\n    CELERY_TASK_ACKS_LATE = False\n"
        ),
        "=== shop/settings.py\nclass Base:\n    @property\n    def CELERY_TASK_ACKS_LATE(self):\n        return True\n",
        "=== shop/tuning.py\nfrom .celery import app\napp.conf.task_acks_late = True\n",
        "=== shop/tuning.py\nfrom .celery import app\napp.conf.update(task_acks_late=True)\n",
        "=== shop/tuning.py\nfrom .celery import app\napp.conf['task_acks_late'] = True\n",
        "=== shop/other.py\nfrom celery import Celery\nworker = Celery('other', task_acks_late=True)\n",
        "=== celeryconfig.py\ntask_acks_late = True\n",
        (
            "=== shop/queue.py\ntask_acks_late = True\n"
            "=== shop/other.py\nfrom celery import Celery\nx = Celery('x')\nx.config_from_object('shop.queue')\n"
        ),
        (
            "=== shop/other.py\nfrom celery import Celery\nclass Config:\n    task_acks_late = True\n"
            "x = Celery('x')\nx.config_from_object(Config)\n"
        ),
        (
            "=== shop/defaults.py\nLATE = True\n"
            "=== shop/settings.py\nfrom .defaults import *\nCELERY_TASK_ACKS_LATE = LATE\n"
        ),
    ],
)
def test_places(files: str, tmp_path: Path) -> None:
    assert build(tmp_path, APP, files).setting("task_acks_late") == [True]


@pytest.mark.parametrize(
    ("namespace", "name", "key", "in_force"),
    [
        ('namespace="CELERY"', "CELERY_BROKER_URL", "broker_url", True),
        ('namespace="CELERY"', "BROKER_URL", "broker_url", False),
        ('namespace="CELERY"', "CELERYD_CONCURRENCY", "worker_concurrency", False),
        ('namespace="DJANGO_CELERY"', "DJANGO_CELERY_BROKER_URL", "broker_url", True),
        ("", "BROKER_URL", "broker_url", True),
        ("", "CELERYD_CONCURRENCY", "worker_concurrency", True),
        ("", "CELERY_RESULT_BACKEND", "result_backend", True),
        ("", "CELERY_TASK_ACKS_LATE", "", False),
    ],
)
def test_namespace(namespace: str, name: str, key: str, in_force: bool, tmp_path: Path) -> None:
    app = f'from celery import Celery\napp = Celery("x")\napp.config_from_object("django.conf:settings", {namespace})'
    project = build(tmp_path, f"=== shop/celery.py\n{app}\n=== shop/settings.py\n{name} = 1\n")
    assert [(s.key, s.in_force) for s in project.settings] == [(key, in_force)]


@pytest.mark.parametrize(
    ("settings", "brokers", "seconds"),
    [
        ("CELERY_BROKER_URL = 'redis://broker'", {"redis"}, 3600),
        ("CELERY_BROKER_URL = f'rediss://{HOST}:6379/0'", {"redis"}, 3600),
        ("CELERY_BROKER_URL = env('BROKER', default='redis://broker')", {"redis"}, 3600),
        ("URL = os.getenv('BROKER', 'amqp://rabbit')\nCELERY_BROKER_URL = URL", {"amqp"}, None),
        ("CELERY_BROKER_URL = 'sqs://'", {"sqs"}, 1800),
        ("CELERY_BROKER_URL = env('BROKER')", {None}, None),
        (
            "CELERY_BROKER_URL = 'redis://b'\nCELERY_BROKER_TRANSPORT_OPTIONS = {'visibility_timeout': 60 * 60 * 2}",
            {"redis"},
            7200,
        ),
        ("CELERY_BROKER_URL = 'redis://broker'\nCELERY_BROKER_TRANSPORT_OPTIONS = options()", {"redis"}, None),
    ],
)
def test_broker(settings: str, brokers: set, seconds: float | None, tmp_path: Path) -> None:
    project = build(tmp_path, APP, f"=== shop/settings.py\nINSTALLED_APPS = []\n{settings}\n")
    assert project.brokers == brokers
    assert project.visibility_timeout == seconds


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ("DATABASES = {'default': {'ATOMIC_REQUESTS': True}}", True),
        ("DATABASES = {'default': env.db('URL')}\nDATABASES['default']['ATOMIC_REQUESTS'] = True", True),
        ("DATABASES = {'default': dict(ATOMIC_REQUESTS=True)}", True),
        ("DATABASES = {'default': {'ATOMIC_REQUESTS': False}}", False),
        ("DATABASES = {'default': {}}", False),
    ],
)
def test_atomic_requests(databases: str, expected: bool, tmp_path: Path) -> None:
    assert build(tmp_path, f"=== shop/settings.py\n{databases}\n").atomic_requests is expected
