from celery import shared_task
from django.core.mail import send_mail
from django.utils import timezone

from orders.models import Order


@shared_task(name="orders.send_confirmation", ignore_result=True)
def send_confirmation(order_pk):
    order = Order.objects.select_related("customer").get(pk=order_pk)
    if order.confirmation_sent_at:
        return  # idempotent
    send_mail("Your order", f"We have received order {order.pk}.", None, [order.customer.email])
    order.confirmation_sent_at = timezone.now()
    order.save(update_fields=["confirmation_sent_at"])
