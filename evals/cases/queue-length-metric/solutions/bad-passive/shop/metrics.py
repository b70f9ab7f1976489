"""What Prometheus scrapes, every 15 seconds, from each web process."""

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orders.models import Order
from shop.celery import app

registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
queue_length = Gauge("celery_queue_length", "Messages that wait", ["queue"], registry=registry)


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    with app.connection_for_read() as connection:
        for name in ("default", "reports"):
            found = connection.default_channel.queue_declare(queue=name, passive=True)
            queue_length.labels(queue=name).set(found.message_count)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
