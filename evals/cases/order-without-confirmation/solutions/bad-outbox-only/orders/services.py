from django.db import transaction

from orders.models import Order, Outbox
from orders.tasks import send_confirmation


def place_order(customer, total):
    with transaction.atomic():
        order = Order.objects.create(customer=customer, total=total)
        Outbox.objects.create(task=send_confirmation.name, args=[order.pk])  # resend_pending publishes it
    return order
