"""error-handling: a message that kills its worker's child each time."""

from __future__ import annotations

import pytest
from servers import RabbitMQ, Redis
from shop import NOTICED_SOON, MakeShop
from waiting import stays, until


@pytest.mark.proves("error-handling#poison-messages")
def test_bounded_redeliveries(shop: MakeShop, broker: Redis | RabbitMQ, evidence: dict) -> None:
    """With reject_on_worker_lost alone a task that kills its child runs without end on Redis; a quorum queue drops it
    silently after 21 runs, still PENDING. On the page's BoundedTask it runs four times and ends in FAILURE with a
    dead letter; the tasks beside it all run once."""
    on_redis = isinstance(broker, Redis)
    shop = shop("error-handling", broker, **({} if on_redis else {"CELERY_TASK_DEFAULT_QUEUE_TYPE": "quorum"}))
    shop.tasks(
        NOTICED_SOON,
        """
        import os, signal, time
        from orders.poison import BoundedTask

        def poison(who):
            note(who)
            os.kill(os.getpid(), signal.SIGKILL)

        lost = {"acks_late": True, "reject_on_worker_lost": True}
        shared_task(name="proofs.bounded", base=BoundedTask, **lost)(poison)
        shared_task(name="proofs.unbounded", **lost)(poison)

        @shared_task(name="proofs.innocent", acks_late=True)
        def innocent(number):
            note("innocent", number=number)
        """,
    )
    worker = shop.worker("-c", "1")
    bounded, *innocent = shop.do(
        """
        send = lambda name, *args: app.send_task("proofs." + name, args).id
        result = [send("bounded", "bounded"), *(send("innocent", number) for number in range(10))]
        """
    )
    state = "app.AsyncResult({!r}).state".format
    until(lambda: shop.ask(state(bounded)) == "FAILURE", 60, "the bounded task ended")
    dead = "DeadLetter.objects.filter(task_id={!r}).values_list('error', flat=True).first()".format
    assert until(lambda: shop.ask(dead(bounded)), what="its dead letter").startswith("PoisonMessage('4 redel")
    assert shop.ask(f"Redelivery.objects.get(task_id={bounded!r}).count") == 4
    until(lambda: shop.counts()["innocent"] >= 10, 30, "the others ran")
    assert shop.ask(f"all(app.AsyncResult(id).state == 'SUCCESS' for id in {innocent})")

    unbounded = shop.do("result = send('unbounded', 'unbounded')")
    runs = 22 if on_redis else 21
    until(lambda: shop.counts()["unbounded"] >= runs, 60, "the unbounded task runs on")
    if not on_redis:
        stays(lambda: shop.counts()["unbounded"] == runs, 1.5, "the queue has dropped it")
    assert shop.ask(state(unbounded)) == "PENDING" and shop.ask(dead(unbounded)) is None
    counts = shop.counts()
    assert counts["bounded"] == 4 and counts["innocent"] == 10
    times = [line["at"] for line in shop.ledger("unbounded")]
    evidence["figures"] |= {
        "runs, bounded": 4,
        "runs, unbounded": "no end" if on_redis else runs,
        "unbounded runs/s": round((len(times) - 1) / (times[-1] - times[0]), 1),
    }
    worker.kill()
