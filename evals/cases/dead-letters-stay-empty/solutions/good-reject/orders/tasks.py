from celery import shared_task
from celery.exceptions import MaxRetriesExceededError, Reject

from orders import erp
from orders.models import Order


@shared_task(bind=True, name="orders.push_order", max_retries=3, ignore_result=True, acks_late=True)
def push_order(self, order_pk):
    order = Order.objects.get(pk=order_pk)
    try:
        erp.push(order)
    except erp.Refused as refusal:
        raise Reject(refusal, requeue=False) from refusal
    except erp.Away as outage:
        try:
            raise self.retry(countdown=60)
        except MaxRetriesExceededError:
            raise Reject(outage, requeue=False) from outage
