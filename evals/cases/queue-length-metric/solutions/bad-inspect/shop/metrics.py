"""What Prometheus scrapes, every 15 seconds, from each web process."""

from collections import Counter

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orders.models import Order
from shop.celery import app

registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
queue_length = Gauge("celery_queue_length", "Messages that wait", ["queue"], registry=registry)


def read_queues():
    queue_length.clear()
    inspect = app.control.inspect(timeout=1)
    counts = Counter()
    for worker in ((inspect.reserved() or {}) | (inspect.scheduled() or {})).values():
        counts.update(task["delivery_info"]["routing_key"] for task in worker)
    for queue in counts:
        queue_length.labels(queue=queue).set(counts[queue])


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    read_queues()
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
