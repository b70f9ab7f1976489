from celery import shared_task
from django.core.mail import send_mail

from orders.models import Order


@shared_task(name="orders.send_reminder", ignore_result=True)
def send_reminder(order_pk):
    order = Order.objects.select_related("customer").get(pk=order_pk)
    if order.status == Order.Status.NEW:
        send_mail("Your order waits", f"Order {order.pk} is not paid yet.", None, [order.customer.email])
