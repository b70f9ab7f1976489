"""The index resolves what real projects do with apps, decorators and names."""

from __future__ import annotations

from pathlib import Path

from celery_audit.files import discover
from celery_audit.project import Project, build
from trees import write


def project_of(folder: Path, example: str) -> Project:
    write(folder, example)
    return build(discover(str(folder), lambda _: False))


def test_app_made_by_a_function(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        """
=== shop/worker.py
from celery import Celery

def create_application():
    application = Celery("shop")
    application.autodiscover_tasks()
    return application

app = create_application()
=== orders/tasks.py
from shop.worker import app

@app.task(queue="mail")
def send(pk): ...
""",
    )
    assert project.apps == {"shop.worker.app"}
    assert list(project.tasks) == ["orders.tasks.send"]


def test_decorator_under_another_name(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        """
=== core/celery.py
from celery import shared_task

our_task = shared_task
=== orders/tasks.py
from core.celery import our_task

@our_task(bind=True)
def send(self, pk): ...

@our_task
def plain(pk): ...
""",
    )
    assert sorted(project.tasks) == ["orders.tasks.plain", "orders.tasks.send"]


def test_beat_entries_wherever_they_stand(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        """
=== shop/schedule.py
from celery.schedules import crontab

COMMON = {"common": {"task": "a", "schedule": 1}}
BEAT_SCHEDULE = {**COMMON, "own": {"task": "b", "schedule": 2}}
BEAT_SCHEDULE["late"] = {"task": "c", "schedule": 3}
BEAT_SCHEDULE.update({"more": {"task": "d", "schedule": 4}})
REPORTS = {"report": {"task": "e", "schedule": crontab(0, 3)}}

def nightly(name):
    return {"task": "f", "schedule": crontab(0, 4)}

OTHER = {"task": "write tests", "schedule": "monday"}
""",
    )
    assert sorted(entry.parts["task"].value for entry in project.beat) == ["a", "b", "c", "d", "e", "f"]
    assert project.has_module("shop.schedule")
    assert not project.has_module("shop.schedules")


def test_tasks_in_classes_and_functions_and_names_that_a_function_binds(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        """
=== orders/tasks.py
from celery import shared_task

@shared_task
def send(pk): ...

class Mail:
    @staticmethod
    @shared_task
    def send(pk): ...

def make():
    @shared_task
    def send(pk): ...

def shadowed(prepare):
    send, other = prepare()
    send.apply_async()

def used():
    Mail.send.delay(1)
""",
    )
    assert sorted(project.tasks) == ["orders.tasks.Mail.send", "orders.tasks.make.<locals>.send", "orders.tasks.send"]
    (module,) = project.modules
    assert [dispatch.task.qualified for dispatch in project.dispatches[module]] == ["orders.tasks.Mail.send"]


def test_parameters_behind_a_wrapper(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        """
=== core/celery.py
from celery import shared_task

def plain(*args, **kwargs):
    return shared_task(*args, acks_late=True, **kwargs)

def around(function):
    def inner(self, *args):
        return function(*args)
    return shared_task(bind=True)(inner)
=== orders/tasks.py
from core.celery import around, plain

@plain()
def send(pk): ...

@around
def other(pk): ...
""",
    )
    assert project.tasks["orders.tasks.send"].bound is False
    assert project.tasks["orders.tasks.other"].bound is None
