import json
import logging

from celery import current_task


class TaskContext(logging.Filter):
    def filter(self, record):
        task = current_task or None
        record.task_id = task.request.id if task else None
        record.task_name = task.name if task else None
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
