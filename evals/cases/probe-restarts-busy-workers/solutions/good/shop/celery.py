import os
import threading
from pathlib import Path

from celery import Celery
from celery.signals import worker_ready, worker_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

stopped = threading.Event()


def beat(file, every):
    while not stopped.is_set():
        file.touch()
        stopped.wait(every)


@worker_ready.connect
def start_beating(**kwargs):
    """A thread of the main process: neither tasks nor the broker hold it up, a frozen process does."""
    if "PROBE_FILE" in os.environ:
        arguments = Path(os.environ["PROBE_FILE"]), float(os.environ.get("PROBE_EVERY", "10"))
        threading.Thread(target=beat, args=arguments, daemon=True).start()


@worker_shutdown.connect
def stop_beating(**kwargs):
    stopped.set()
