import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.visibility_timeout = 6 * 3600
app.conf.result_backend_transport_options = {"visibility_timeout": 6 * 3600}
app.autodiscover_tasks()
