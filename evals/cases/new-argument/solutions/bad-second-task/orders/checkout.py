from orders.models import Order
from orders.tasks import send_invoice_v2


def order_paid(order, currency):
    """The payment provider's callback, with the currency that was charged."""
    Order.objects.filter(pk=order.pk).update(status=Order.Status.PAID)
    send_invoice_v2.delay_on_commit(order.pk, currency)
