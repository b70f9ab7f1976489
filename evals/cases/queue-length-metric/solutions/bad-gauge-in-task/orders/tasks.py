import redis
from celery import shared_task
from django.conf import settings

from shop.metrics import queue_length

STEPS = ["", "\x06\x163", "\x06\x166", "\x06\x169"]


# CELERY_BEAT_SCHEDULE runs it every ten seconds.
@shared_task(name="orders.measure_queues", ignore_result=True)
def measure_queues():
    client = redis.Redis.from_url(settings.CELERY_BROKER_URL, socket_timeout=2)
    for queue in ("default", "reports"):
        queue_length.labels(queue=queue).set(sum(client.llen(queue + step) for step in STEPS))
