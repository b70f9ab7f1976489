from celery.contrib.django.task import DjangoTask

from .request_id import request_id


class RequestIdTask(DjangoTask):
    abstract = True

    def apply_async(self, args=None, kwargs=None, **options):
        headers = options.pop("headers", None) or {}
        headers.setdefault("x_request_id", request_id.get())
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args, **kwargs):
        token = request_id.set(self.request.headers.get("x_request_id", ""))
        try:
            return super().__call__(*args, **kwargs)
        finally:
            request_id.reset(token)
