from celery import Task, shared_task

from orders import erp
from orders.models import Order


class KeptWhenDead(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        """Called once no retry is left: a new message of the task, for support."""
        self.app.send_task(self.name, args, kwargs, exchange="dead", routing_key="orders")


@shared_task(
    base=KeptWhenDead,
    name="orders.push_order",
    autoretry_for=(erp.Away,),
    max_retries=3,
    default_retry_delay=60,
    ignore_result=True,
)
def push_order(order_pk):
    erp.push(Order.objects.get(pk=order_pk))
