from celery import shared_task
from django.db import transaction
from django.db.models import F

from accounts.models import User
from orders.models import Order


@shared_task(name="orders.confirm_order")
def confirm_order(order_pk):
    order = Order.objects.get(pk=order_pk)
    if order.status == "confirmed":
        return
    with transaction.atomic():
        User.objects.filter(pk=order.customer_id).update(points=F("points") + 10)
        order.status = "confirmed"
        order.save(update_fields=["status"])
