from celery import shared_task

from orders.invoices import write_invoice
from orders.models import Order


@shared_task(name="orders.send_invoice")
def send_invoice(order_pk, currency="EUR"):
    # The default keeps messages that are already queued working.
    write_invoice(Order.objects.get(pk=order_pk), currency)
