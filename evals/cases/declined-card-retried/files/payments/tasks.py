import uuid

from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(name="payments.charge_payment", autoretry_for=(Exception,), retry_backoff=True, max_retries=5)
def charge_payment(payment_pk):
    payment = Payment.objects.get(pk=payment_pk)
    payment.charge_id = gateway.charge(payment.amount, idempotency_key=str(uuid.uuid4()))
    payment.status = Payment.Status.CHARGED
    payment.save()
