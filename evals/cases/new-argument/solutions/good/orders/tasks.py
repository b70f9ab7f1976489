from celery import shared_task

from orders.invoices import write_invoice
from orders.models import Order


@shared_task(name="orders.send_invoice")
def send_invoice(order_pk, currency="EUR"):
    """Release 1: accepts the currency. Release 2: `order_paid` passes it. Release 3: the default goes."""
    write_invoice(Order.objects.get(pk=order_pk), currency)
