from celery import shared_task

from orders import erp
from orders.models import Order


@shared_task(
    name="orders.push_order",
    autoretry_for=(erp.Away,),
    max_retries=3,
    default_retry_delay=60,
    ignore_result=True,
    # A message is acknowledged after the task, so a failed one goes to the dead letter exchange.
    acks_late=True,
    reject_on_worker_lost=True,
)
def push_order(order_pk):
    erp.push(Order.objects.get(pk=order_pk))
