"""What Prometheus scrapes, every 15 seconds, from each web process."""

import logging

import redis
from django.conf import settings
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orders.models import Order

logger = logging.getLogger(__name__)
registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
queue_length = Gauge("celery_queue_length", "Messages that wait", ["queue"], registry=registry)

broker = redis.Redis.from_url(settings.CELERY_BROKER_URL, socket_connect_timeout=2, socket_timeout=2)
QUEUES = ["default", "reports"]
SEPARATOR = "\x06\x16"


def read_queues():
    queue_length.clear()
    try:
        for queue in QUEUES:
            keys = [queue, *(f"{queue}{SEPARATOR}{step}" for step in (3, 6, 9))]
            queue_length.labels(queue).set(sum(broker.llen(key) for key in keys))
    except redis.RedisError:
        queue_length.clear()
        logger.warning("no queue lengths: Redis does not answer", exc_info=True)


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    read_queues()
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
