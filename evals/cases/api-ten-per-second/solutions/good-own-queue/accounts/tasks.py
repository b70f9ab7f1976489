import time

from celery import shared_task

from accounts.models import User
from crm import client
from shop.throttle import reserve


@shared_task(name="accounts.sync_contact", queue="crm")
def sync_contact(user_pk):
    time.sleep(reserve("crm", client.CALLS_PER_SECOND))  # the queue has workers of its own
    user = User.objects.get(pk=user_pk)
    crm_id = client.upsert_contact(user.email, user.get_full_name(), idempotency_key=f"user-{user.pk}")
    User.objects.filter(pk=user_pk).update(crm_id=crm_id)
