from celery import shared_task
from celery.utils.log import get_task_logger

from orders.carrier import quote

logger = get_task_logger(__name__)


@shared_task(name="orders.ship_order")
def ship_order(order_pk):
    logger.info("shipping order %s", order_pk)
    return quote(order_pk)


@shared_task(name="orders.bill_order")
def bill_order(order_pk):
    logger.info("billing order %s", order_pk)
    raise ValueError(f'order {order_pk} has no "billing" address')
