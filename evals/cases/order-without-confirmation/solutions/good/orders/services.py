import logging

from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from orders.models import Order
from orders.tasks import send_confirmation

logger = logging.getLogger(__name__)


def place_order(customer, total):
    with transaction.atomic():
        order = Order.objects.create(customer=customer, total=total, confirmation_queued_at=timezone.now())
        transaction.on_commit(lambda: _confirm(order.pk))
    return order


def _confirm(order_pk):
    try:
        send_confirmation.delay(order_pk)
    except OperationalError:
        logger.warning("Broker down: order %s waits for resend_pending", order_pk)
