"""error-handling: what is left of a task when its process or its worker dies."""

from __future__ import annotations

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("error-handling#lost-workers")
@pytest.mark.proves("configuration-guide#acknowledgement")
def test_killed_worker(shop: MakeShop, broker: Redis | RabbitMQ) -> None:
    """A worker is killed in the middle: with early acknowledgement the task is lost, with acks_late it runs again."""
    shop = shop("error-handling", broker, CELERY_BROKER_TRANSPORT_OPTIONS=QUICK if isinstance(broker, Redis) else {})
    shop.tasks(
        """
        import time

        @shared_task(name="proofs.early")
        def early(): note("early"); time.sleep(1000)

        @shared_task(name="proofs.late", acks_late=True)
        def late(): note("late"); time.sleep(1000)
        """
    )
    worker = shop.worker("-c", "2")
    shop.do("app.send_task('proofs.early'); app.send_task('proofs.late')")
    until(lambda: shop.counts() == {"early": 1, "late": 1}, what="both tasks started")
    worker.kill()
    shop.worker("-c", "2")
    until(lambda: shop.counts()["late"] == 2, 30, "the late task was delivered again")
    assert shop.counts()["early"] == 1


# How soon Redis gives back what a dead worker held; the defaults are an hour, looked at every 100 seconds.
QUICK = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
