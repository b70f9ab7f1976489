from celery.contrib.django.task import DjangoTask

from .request_id import request_id


class RequestIdTask(DjangoTask):
    abstract = True

    def delay(self, *args, **kwargs):
        return self.apply_async(args, kwargs, headers={"x_request_id": request_id.get()})

    def before_start(self, task_id, args, kwargs):
        request_id.set(self.request.get("x_request_id") or "")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        request_id.set("")
