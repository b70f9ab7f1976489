from celery import shared_task

from orders.invoices import write_invoice
from orders.models import Order


@shared_task(name="orders.send_invoice")
def send_invoice(order_pk, currency="EUR"):
    """For messages of the previous release; remove when the queue has drained."""
    write_invoice(Order.objects.get(pk=order_pk), currency)


@shared_task(name="orders.send_invoice_v2")
def send_invoice_v2(order_pk, currency):
    write_invoice(Order.objects.get(pk=order_pk), currency)
