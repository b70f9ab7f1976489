import os
from pathlib import Path

from celery import Celery, bootsteps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class AliveFile(bootsteps.StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)
    tick = None

    def start(self, c):
        Path(os.environ.get("PROBE_FILE", "/tmp/worker.alive")).touch()
        self.tick = c.timer.call_after(float(os.environ.get("PROBE_EVERY", "10")), self.start, (c,))

    def stop(self, c):
        if self.tick is not None:
            self.tick.cancel()
            self.tick = None

    shutdown = stop


app.steps["consumer"].add(AliveFile)
