from celery import shared_task
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.models import User
from orders.models import Order, PointsGiven


@shared_task(name="orders.confirm_order")
def confirm_order(order_pk):
    try:
        with transaction.atomic():
            PointsGiven.objects.create(order_id=order_pk)
            User.objects.filter(orders=order_pk).update(points=F("points") + 10)
            Order.objects.filter(pk=order_pk).update(status="confirmed")
    except IntegrityError:
        return  # another delivery gave them
