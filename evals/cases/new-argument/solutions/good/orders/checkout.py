from orders.models import Order
from orders.tasks import send_invoice


def order_paid(order, currency):
    """The payment provider's callback, with the currency that was charged."""
    Order.objects.filter(pk=order.pk).update(status=Order.Status.PAID)
    # Next release, when every worker accepts it: send_invoice.delay_on_commit(order.pk, currency=currency)
    send_invoice.delay_on_commit(order.pk)
