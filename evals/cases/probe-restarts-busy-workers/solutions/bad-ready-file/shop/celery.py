import os
from pathlib import Path

from celery import Celery
from celery.signals import worker_ready, worker_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

FILE = Path(os.environ.get("PROBE_FILE", "/tmp/worker.ready"))


@worker_ready.connect
def ready(**kwargs):
    FILE.touch()


@worker_shutdown.connect
def gone(**kwargs):
    FILE.unlink(missing_ok=True)
