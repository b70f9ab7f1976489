from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(
    name="payments.charge_payment",
    bind=True,
    acks_late=True,
    autoretry_for=(gateway.GatewayUnavailable,),
    retry_backoff=True,
    max_retries=5,
)
def charge_payment(self, payment_pk):
    payment = Payment.objects.get(pk=payment_pk)
    if payment.status == Payment.Status.CHARGED:
        return
    try:
        # The task's id stays the same over all retries.
        payment.charge_id = gateway.charge(payment.amount, idempotency_key=self.request.id)
        payment.status = Payment.Status.CHARGED
    except gateway.CardDeclined:
        payment.status = Payment.Status.FAILED
    payment.save(update_fields=["status", "charge_id"])
