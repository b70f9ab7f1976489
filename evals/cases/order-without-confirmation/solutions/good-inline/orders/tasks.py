from celery import shared_task
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from orders.models import Order


@shared_task(name="orders.send_confirmation", ignore_result=True)
def send_confirmation(order_pk):
    with transaction.atomic():
        pending = Order.objects.select_for_update(skip_locked=True, of=("self",)).select_related("customer")
        order = pending.filter(pk=order_pk, confirmation_sent_at=None).first()
        if order is None:
            return  # sent, or another run is sending it
        send_mail("Your order", f"We have received order {order.pk}.", None, [order.customer.email])
        order.confirmation_sent_at = timezone.now()
        order.save(update_fields=["confirmation_sent_at"])
