"""What Prometheus scrapes, every 15 seconds, from each web process."""

import redis
from django.conf import settings
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orders.models import Order

registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
queue_length = Gauge("celery_queue_length", "Messages that wait", ["queue"], registry=registry)
for name in ("default", "reports"):
    queue_length.labels(queue=name)


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    try:
        client = redis.Redis.from_url(settings.CELERY_BROKER_URL, socket_connect_timeout=2, socket_timeout=2)
        for name in ("default", "reports"):
            queue_length.labels(queue=name).set(client.llen(name))
    except redis.RedisError:
        pass
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
