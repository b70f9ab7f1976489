"""Takes the request's id into every message, and into the task that runs it."""

from celery.signals import before_task_publish, task_postrun, task_prerun

from .request_id import request_id


@before_task_publish.connect
def attach(headers, **_):
    headers["correlation_id"] = request_id.get()


@task_prerun.connect
def enter(task, **_):
    request_id.set(task.request.correlation_id or "")


@task_postrun.connect
def leave(**_):
    request_id.set("")
