import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Above the longest task (encode_video: time limit 4 h 10 min), else Redis hands out again what is still running.
# A dead worker's task comes back after this time.
app.conf.broker_transport_options = {"visibility_timeout": 6 * 3600}
app.autodiscover_tasks()
