import os

from celery import Celery

from shop.queues import ORDERS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [ORDERS]
app.conf.task_default_queue = ORDERS.name
app.autodiscover_tasks()
