import time

import redis
from celery import shared_task
from django.conf import settings

from accounts.models import User
from crm import client

counter = redis.Redis.from_url(settings.CELERY_BROKER_URL)


def allowed():
    key = f"crm-calls:{int(time.time())}"
    calls = counter.incr(key)
    counter.expire(key, 5)
    return calls <= client.CALLS_PER_SECOND


@shared_task(bind=True, name="accounts.sync_contact")
def sync_contact(self, user_pk):
    if not allowed():
        raise self.retry(countdown=1 / client.CALLS_PER_SECOND)
    user = User.objects.get(pk=user_pk)
    crm_id = client.upsert_contact(user.email, user.get_full_name(), idempotency_key=f"user-{user.pk}")
    User.objects.filter(pk=user_pk).update(crm_id=crm_id)
