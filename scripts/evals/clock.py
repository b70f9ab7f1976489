"""Time that passes for a project: all it has stored becomes older. What waits in a process's memory does not."""

from __future__ import annotations

from servers import Redis
from shop import Shop

DATABASES = 16  # Redis's default
AGE = """
import datetime
from django.apps import apps
from django.db.models import DateField, ExpressionWrapper, F

for model in apps.get_models():
    for field in model._meta.local_fields:
        if isinstance(field, DateField) and not model._meta.proxy:
            earlier = F(field.name) - datetime.timedelta(hours={})
            earlier = ExpressionWrapper(earlier, output_field=type(field)())
            model._base_manager.update(**{{field.name: earlier}})
"""


def hours_pass(shop: Shop, redis: Redis, hours: float) -> None:
    """Rows get older, keys with an expiry expire, what a worker has not acknowledged waits longer."""
    shop.do(AGE.format(hours))
    for number in range(DATABASES):
        client = redis.client(number)
        for key in client.scan_iter():
            if (left := client.pttl(key)) > 0:
                client.pexpire(key, max(1, left - int(hours * 3600_000)))
        for tag in client.zrange("unacked_index", 0, -1):
            client.zincrby("unacked_index", -hours * 3600, tag)
