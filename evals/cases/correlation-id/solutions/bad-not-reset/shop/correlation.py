"""Takes the request's id into every message, and into the task that runs it."""

from celery.signals import before_task_publish, task_prerun

from .request_id import request_id


@before_task_publish.connect
def attach(headers, **_):
    if request_id.get():
        headers["x_request_id"] = request_id.get()


@task_prerun.connect
def enter(task, **_):
    if value := task.request.get("x_request_id"):
        request_id.set(value)
