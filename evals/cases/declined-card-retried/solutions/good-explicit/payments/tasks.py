from celery import shared_task

from payments import gateway
from payments.models import Payment


@shared_task(name="payments.charge_payment", bind=True, max_retries=5)
def charge_payment(self, payment_pk):
    payment = Payment.objects.get(pk=payment_pk)
    if payment.status == Payment.Status.CHARGED:
        return
    try:
        payment.charge_id = gateway.charge(payment.amount, idempotency_key=f"payment-{payment.pk}")
    except gateway.CardDeclined:
        payment.status = Payment.Status.FAILED
    except gateway.GatewayUnavailable as error:
        if self.request.retries < self.max_retries:
            raise self.retry(exc=error, countdown=10 * 2**self.request.retries)
        payment.status = Payment.Status.REVIEW
    else:
        payment.status = Payment.Status.CHARGED
    payment.save(update_fields=["status", "charge_id"])
