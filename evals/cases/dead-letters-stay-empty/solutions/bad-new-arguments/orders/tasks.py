from celery import shared_task

from orders import erp
from orders.models import Order


@shared_task(
    name="orders.push_order",
    autoretry_for=(erp.Away,),
    max_retries=3,
    default_retry_delay=60,
    ignore_result=True,
    acks_late=True,
    acks_on_failure=False,  # what failed for good is rejected, so RabbitMQ moves it to dead
)
def push_order(order_pk):
    erp.push(Order.objects.get(pk=order_pk))
