"""What Prometheus scrapes, every 15 seconds, from each web process."""

from django.http import HttpResponse
from kombu.exceptions import OperationalError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily

from orders.models import Order
from shop.celery import app

TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 2}


class QueueLengths:
    def collect(self):
        gauge = GaugeMetricFamily("celery_queue_length", "Messages that wait", labels=["queue"])
        connection = app.connection_for_read(connect_timeout=2, transport_options=TIMEOUTS)
        try:
            with connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
                for name in app.amqp.queues:
                    channel = connection.channel()
                    try:
                        length = channel.queue_declare(queue=name, passive=True).message_count
                    except connection.channel_errors:
                        length = 0  # Redis has no key for an empty list
                    gauge.add_metric([name], length)
        except (OperationalError, *connection.connection_errors):
            return
        yield gauge


registry = CollectorRegistry()
orders_open = Gauge("shop_orders_open", "Orders that are not shipped", registry=registry)
registry.register(QueueLengths())


def metrics(request):
    orders_open.set(Order.objects.exclude(status__in=["shipped", "cancelled"]).count())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
