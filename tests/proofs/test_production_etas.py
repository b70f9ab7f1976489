"""production-deployment: what a broker does to messages that wait long for their time."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("production-deployment#long-etas")
def test_eta_on_redis(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A countdown longer than Redis's visibility timeout runs more than once: with 1.5 s and 5 s, two or three times.
    The page's task finds what is due in the database: a second run changes nothing, and what is not due or paid
    stays."""
    options = {"visibility_timeout": 1.5, "unacked_restore_interval": 0.2, "unacked_restore_throttle": 1}
    shop = shop("production-deployment", redis, CELERY_BROKER_TRANSPORT_OPTIONS=options)
    shop.tasks("@shared_task\ndef cancel(): note('cancel')")
    shop.worker("-c", "1")
    shop.do("app.send_task('proofs.tasks.cancel', countdown=5)")
    changed = shop.do(
        """
        from datetime import timedelta
        from django.utils import timezone
        user = User.objects.create(username="buyer")
        for status, hours in [("new", 47), ("new", 49), ("paid", 49)]:
            order = Order.objects.create(customer=user, status=status)
            Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - timedelta(hours=hours))
        result = [app.send_task("orders.cancel_unpaid").get(timeout=30) for _ in range(2)]
        """
    )
    assert changed == [1, 0]
    assert sorted(shop.ask("list(Order.objects.values_list('status', flat=True))")) == ["cancelled", "new", "paid"]
    until(lambda: shop.counts()["cancel"] >= 2, what="the ETA's task ran again")
    until(lambda: redis.client().hlen("unacked") == 0, what="all copies ran")
    evidence["figures"]["runs of a 5 s countdown, visibility timeout 1.5 s"] = shop.counts()["cancel"]
