from celery import shared_task


@shared_task(name="orders.send_receipt")
def send_receipt(order_pk):
    return f"receipt of order {order_pk}"
