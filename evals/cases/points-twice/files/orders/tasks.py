from celery import shared_task

from orders.models import Order


@shared_task(name="orders.confirm_order")
def confirm_order(order_pk):
    order = Order.objects.select_related("customer").get(pk=order_pk)
    order.customer.points += 10
    order.customer.save()
    order.status = "confirmed"
    order.save()
