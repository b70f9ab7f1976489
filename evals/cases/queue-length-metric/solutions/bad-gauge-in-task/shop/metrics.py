"""What Prometheus scrapes, every 15 seconds, from each web process."""

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orders.models import Order

registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
queue_length = Gauge("celery_queue_length", "Messages that wait", ["queue"], registry=registry)


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
