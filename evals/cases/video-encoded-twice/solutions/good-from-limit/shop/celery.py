import os

from celery import Celery

from catalog.limits import LONGEST_ENCODING

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    broker_transport_options={
        "visibility_timeout": LONGEST_ENCODING + 8 * 3600,  # and the wait for a free process
        "unacked_restore_throttle": 1,
    },
)
app.autodiscover_tasks()
