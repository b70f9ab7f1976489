from celery import shared_task
from django.db import transaction
from django.db.models import F

from accounts.models import User
from orders.models import Order


@shared_task(name="orders.confirm_order", acks_late=True)
def confirm_order(order_pk):
    with transaction.atomic():
        User.objects.filter(orders=order_pk).update(points=F("points") + 10)
        Order.objects.filter(pk=order_pk).update(status="confirmed")
