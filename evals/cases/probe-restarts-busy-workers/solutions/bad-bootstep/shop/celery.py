import os
from pathlib import Path

from celery import Celery, bootsteps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class LivenessProbe(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Timer"}

    def __init__(self, worker, **kwargs):
        self.file = Path(os.environ.get("PROBE_FILE", "/tmp/worker.alive"))
        self.tref = None

    def start(self, worker):
        every = float(os.environ.get("PROBE_EVERY", "10"))
        self.tref = worker.timer.call_repeatedly(every, self.file.touch, priority=10)

    def stop(self, worker):
        self.file.unlink(missing_ok=True)


app.steps["worker"].add(LivenessProbe)
