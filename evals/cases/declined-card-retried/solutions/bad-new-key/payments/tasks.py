import uuid

from celery import shared_task
from django.db import transaction

from payments import gateway
from payments.models import Payment


@shared_task(
    name="payments.charge_payment",
    autoretry_for=(gateway.GatewayError,),
    dont_autoretry_for=(gateway.CardDeclined,),
    retry_backoff=True,
    max_retries=5,
)
def charge_payment(payment_pk):
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=payment_pk)
        if payment.status != Payment.Status.PENDING:
            return
        try:
            payment.charge_id = gateway.charge(payment.amount, idempotency_key=str(uuid.uuid4()))
            payment.status = Payment.Status.CHARGED
        except gateway.CardDeclined:
            payment.status = Payment.Status.FAILED
        payment.save(update_fields=["status", "charge_id"])
