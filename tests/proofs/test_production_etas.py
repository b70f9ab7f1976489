"""production-deployment: what a broker does to messages that wait long for their time."""

from __future__ import annotations

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("production-deployment#long-etas")
def test_eta_on_redis(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A countdown longer than Redis's visibility timeout runs more than once: 1.5 s and 5 s here.
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


@pytest.mark.proves("production-deployment#long-etas")
def test_eta_on_rabbitmq(shop: MakeShop, own_rabbitmq: RabbitMQ) -> None:
    """An ETA past consumer_timeout ends the worker with 406, its message returns, and ends the next worker too. On a
    quorum queue with native delayed delivery the worker lives and the task runs once."""
    own_rabbitmq.control("eval", "application:set_env(rabbit, consumer_timeout, 1000).")
    own_rabbitmq.control("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    shop = shop("production-deployment", own_rabbitmq)
    shop.tasks(
        """
        from celery import current_app
        from kombu import Exchange, Queue

        quorum = Queue("quorum", Exchange("quorum", "topic"), "quorum", queue_arguments={"x-queue-type": "quorum"})
        current_app.conf.task_queues = [Queue("classic"), quorum]

        @shared_task(bind=True)
        def later(self): note("ran", key=self.request.delivery_info["routing_key"])
        """
    )
    send = "from proofs.tasks import later\nlater.apply_async(countdown={}, queue={!r})"
    native = shop.worker("-c", "1", "-Q", "quorum")  # a worker declares what delays the messages
    shop.do(send.format(4, "quorum"))
    shop.do(send.format(600, "classic"))
    for _ in range(2):  # the second gets what the first had held
        worker = shop.worker("-c", "1", "-Q", "classic", wait=False)
        assert worker.process.wait(60) != 0
        assert "PRECONDITION_FAILED - delivery acknowledgement on channel" in worker.output
    until(lambda: shop.counts()["ran"] == 1, what="the delayed one has run")
    assert native.process.poll() is None
    assert shop.ledger("ran")[0]["key"].endswith(".0.1.0.0.quorum"), "it waited in the exchange: 4 s, in binary"
