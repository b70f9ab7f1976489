import time

from celery import shared_task
from django.core.cache import cache

from accounts.models import User
from crm import client


def allowed():
    key = f"crm-calls:{int(time.time())}"
    cache.add(key, 0, timeout=5)
    return cache.incr(key) <= client.CALLS_PER_SECOND


@shared_task(name="accounts.sync_contact")
def sync_contact(user_pk):
    while not allowed():
        time.sleep(0.1)
    user = User.objects.get(pk=user_pk)
    crm_id = client.upsert_contact(user.email, user.get_full_name(), idempotency_key=f"user-{user.pk}")
    User.objects.filter(pk=user_pk).update(crm_id=crm_id)
