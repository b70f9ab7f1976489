from celery import shared_task

from accounts.models import User
from crm import client
from shop.throttle import reserve


@shared_task(bind=True, name="accounts.sync_contact", max_retries=None)
def sync_contact(self, user_pk, has_slot=False):
    if not has_slot and (wait := reserve("crm", client.CALLS_PER_SECOND)) > 0:
        raise self.retry(countdown=wait, kwargs={"has_slot": True})
    user = User.objects.get(pk=user_pk)
    crm_id = client.upsert_contact(user.email, user.get_full_name(), idempotency_key=f"user-{user.pk}")
    User.objects.filter(pk=user_pk).update(crm_id=crm_id)
