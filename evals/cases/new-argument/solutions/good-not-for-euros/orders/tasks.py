from celery import shared_task

from orders.invoices import write_invoice
from orders.models import Order

DEFAULT_CURRENCY = "EUR"


@shared_task(name="orders.send_invoice")
def send_invoice(order_pk, currency=DEFAULT_CURRENCY):
    """The default goes once all workers run this release and `order_paid` sends every currency."""
    write_invoice(Order.objects.get(pk=order_pk), currency)
