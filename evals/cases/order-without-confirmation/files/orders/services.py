from django.db import transaction

from orders.models import Order
from orders.tasks import send_confirmation


def place_order(customer, total):
    with transaction.atomic():
        order = Order.objects.create(customer=customer, total=total)
        send_confirmation.delay_on_commit(order.pk)
    return order
