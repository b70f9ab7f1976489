"""Every message carries the id; every run starts with the id of its message, or none."""

from celery.signals import before_task_publish, task_prerun

from .request_id import request_id


@before_task_publish.connect
def attach(headers, **_):
    headers.setdefault("x_request_id", request_id.get())


@task_prerun.connect
def enter(task, **_):
    request_id.set(getattr(task.request, "x_request_id", None) or "")
