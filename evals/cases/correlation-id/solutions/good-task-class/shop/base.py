from celery.contrib.django.task import DjangoTask

from .request_id import request_id


class RequestIdTask(DjangoTask):
    abstract = True

    def apply_async(self, *args, **options):
        options["headers"] = {"x_request_id": request_id.get()} | (options.get("headers") or {})
        return super().apply_async(*args, **options)

    def before_start(self, task_id, args, kwargs):
        # Stays until the next run in this process: the next step of a chain is published after this one's body.
        request_id.set(self.request.get("x_request_id") or "")
        super().before_start(task_id, args, kwargs)
