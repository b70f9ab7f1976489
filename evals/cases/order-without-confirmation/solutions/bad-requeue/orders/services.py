from django.db import transaction

from orders.models import Order
from orders.tasks import send_confirmation


def place_order(customer, total):
    with transaction.atomic():
        order = Order.objects.create(customer=customer, total=total)
        # robust: without a broker the order stands, and resend_pending sees to its mail.
        transaction.on_commit(lambda: send_confirmation.delay(order.pk), robust=True)
    return order
