from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(
    name="payments.charge_payment",
    autoretry_for=(Exception,),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=5,
)
def charge_payment(payment_pk):
    payment = Payment.objects.get(pk=payment_pk)
    if payment.status == Payment.Status.CHARGED:
        return
    try:
        payment.charge_id = gateway.charge(payment.amount, idempotency_key=str(payment.idempotency_key))
    except gateway.CardDeclined:
        payment.status = Payment.Status.FAILED
        payment.save(update_fields=["status"])
        raise
    payment.status = Payment.Status.CHARGED
    payment.save(update_fields=["status", "charge_id"])
