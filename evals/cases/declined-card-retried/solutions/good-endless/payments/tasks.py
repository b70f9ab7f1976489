from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(
    name="payments.charge_payment",
    autoretry_for=(gateway.GatewayUnavailable,),
    retry_backoff=5,
    retry_backoff_max=900,
    max_retries=None,  # once every quarter of an hour until the gateway answers
)
def charge_payment(payment_pk):
    waiting = Payment.objects.filter(pk=payment_pk, status=Payment.Status.PENDING)
    payment = waiting.first()
    if payment is None:
        return
    try:
        charge_id = gateway.charge(payment.amount, idempotency_key=str(payment.idempotency_key))
    except gateway.CardDeclined:
        waiting.update(status=Payment.Status.FAILED)
    else:
        waiting.update(status=Payment.Status.CHARGED, charge_id=charge_id)
