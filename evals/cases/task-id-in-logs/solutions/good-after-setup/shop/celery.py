import json
import logging
import os

from celery import Celery, current_task
from celery.signals import after_setup_logger, after_setup_task_logger

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class JsonFormatter(logging.Formatter):
    def format(self, record):
        data = getattr(record, "data", None) if record.name.startswith("celery.") else None
        if data is None:
            request = current_task.request if current_task else None
            data = {"id": request.id, "name": request.task} if request else {}
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": super().format(record),  # with the traceback
            "task_id": data.get("id"),
            "task_name": data.get("name"),
        }
        return json.dumps(line)


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_json(logger, **kwargs):
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter("%(message)s"))
