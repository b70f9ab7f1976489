import json
import logging

from celery import current_task


class TaskContext(logging.Filter):
    def filter(self, record):
        data = getattr(record, "data", None)
        if not (record.name.startswith("celery.") and isinstance(data, dict)):
            request = getattr(current_task, "request", None)
            data = {"id": getattr(request, "id", None), "name": getattr(request, "task", None)}
        record.task_id, record.task_name = data.get("id"), data.get("name")
        return True


class JsonFormatter(logging.Formatter):
    def format(self, record):
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "task_id": record.task_id,
            "task_name": record.task_name,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"task": {"()": TaskContext}},
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["task"], "formatter": "json"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
