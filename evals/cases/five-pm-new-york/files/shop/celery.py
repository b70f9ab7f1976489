import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.broker_transport_options = {"visibility_timeout": 5 * 24 * 3600}  # reminders wait for up to four days
app.autodiscover_tasks()
