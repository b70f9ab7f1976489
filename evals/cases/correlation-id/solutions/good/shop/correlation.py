"""Takes the request's id into every message, and into the task that runs it."""

from celery.signals import before_task_publish, task_postrun, task_prerun

from .request_id import request_id

HEADER = "x_request_id"


@before_task_publish.connect
def attach(headers, **_):
    if value := request_id.get():
        headers.setdefault(HEADER, value)


@task_prerun.connect
def enter(task, **_):
    task.request.request_id_token = request_id.set(task.request.get(HEADER) or "")


@task_postrun.connect
def leave(task, **_):
    request_id.reset(task.request.request_id_token)
