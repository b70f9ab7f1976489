from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(
    name="payments.charge_payment",
    acks_late=True,
    autoretry_for=(gateway.GatewayUnavailable,),
    retry_backoff=10,
    max_retries=5,
)
def charge_payment(payment_pk):
    payment = Payment.objects.get(pk=payment_pk)
    if payment.status != Payment.Status.PENDING:
        return
    result = {"status": Payment.Status.CHARGED}
    try:
        result["charge_id"] = gateway.charge(payment.amount, idempotency_key=str(payment.idempotency_key))
    except gateway.CardDeclined:
        result["status"] = Payment.Status.FAILED
    Payment.objects.filter(pk=payment_pk, status=Payment.Status.PENDING).update(**result)
