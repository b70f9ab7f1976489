"""production-deployment: how many workers and slots there are, and what tells a scaler that more are needed."""

from __future__ import annotations

import os
from statistics import quantiles

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("production-deployment#scaling")
def test_queue_length(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """On Redis the one list that KEDA's scaler reads is empty although four messages wait: those with a priority are in
    other lists, those prefetched and those with an ETA are with a worker. The page's minReplicaCount keeps one there to
    hold them."""
    shop = shop(
        "production-deployment", redis, CELERY_TASK_DEFAULT_QUEUE="default", CELERY_WORKER_PREFETCH_MULTIPLIER=1
    )
    shop.tasks(
        """
        import os, time

        @shared_task
        def busy():
            note("busy")
            while not os.path.exists("open"):
                time.sleep(0.05)
        """
    )
    worker = shop.worker("-c", "1")
    shop.do(
        """
        from proofs.tasks import busy
        busy.apply_async(countdown=600)
        """
    )
    until(lambda: worker.output.count("received") == 1, what="the ETA is held")
    shop.do("for _ in range(2): busy.delay()")
    until(lambda: worker.output.count("received") == 3 and shop.counts()["busy"] == 1, what="the worker has all three")
    shop.do("for _ in range(2): busy.apply_async(priority=6)")
    waiting = {"ready": redis.client().llen("default"), "held": redis.client().hlen("unacked")}
    in_priority = sum(redis.client().llen(key) for key in redis.client().keys("default\x06\x16*"))
    assert waiting == {"ready": 0, "held": 2} and in_priority == 2
    evidence["figures"]["messages that wait while the list is empty"] = 4


@pytest.mark.proves("production-deployment#capacity")
def test_slots(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """23.6 arrivals/s of 0.15 s each keep 3.5 slots busy. With 5 slots, the formula's number, the queue stays short;
    with 3 it grows as long as messages come."""
    shop = shop("production-deployment", redis)
    shop.tasks(
        """
        import time

        @shared_task
        def io(slots, number, sent):
            note(slots, number=number, waited=time.time() - sent)
            time.sleep(0.15)
        """
    )
    for slots in ("5", "3"):
        shop.worker("-P", "threads", "-c", slots, "-Q", slots, wait=False)
    for worker in shop.workers:
        until(lambda worker=worker: "ready." in worker.output, 60, "both are up")
    shop.do(
        """
        import time
        from proofs.tasks import io
        begin = time.time()
        for number in range(120):
            while time.time() < begin + number / 23.6:
                time.sleep(0.005)
            for slots in "53":
                io.apply_async((slots, number, time.time()), queue=slots)
        """
    )
    until(lambda: shop.counts() == {"5": 120, "3": 120}, what="all have run")
    p95 = {slots: quantiles([line["waited"] for line in shop.ledger(slots)], n=20)[-1] for slots in "53"}
    assert p95["5"] < p95["3"]
    last = [line["waited"] for line in shop.ledger("3")]
    assert max(last[:30]) < min(last[90:]), "with 3 slots the queue only grows"
    evidence["figures"] |= {f"p95 wait with {slots} slots, s": round(wait, 2) for slots, wait in p95.items()}


@pytest.mark.proves("production-deployment#worker-command")
def test_worker_command(shop: MakeShop, rabbitmq: RabbitMQ) -> None:
    """Pinned to one CPU, --concurrency auto starts one child where the default counts the host's CPUs. Two workers of
    one name collide on RabbitMQ: the second ends with RESOURCE_LOCKED. --purge throws away what waits."""
    shop = shop("production-deployment", rabbitmq)
    shop.tasks("@shared_task\ndef tick(): pass")
    ready = lambda worker: "ready." in worker.output  # noqa: E731
    first = [shop.python(name, "-c", PINNED, "-n", f"{name}@proof", *how) for name, how in SIZES.items()]
    for worker in first:
        until(lambda worker=worker: ready(worker), 60, "the worker is up")
    shop.ask("app.send_task('proofs.tasks.tick', queue='purged')")
    same = shop.python("same", "-c", PINNED, "-n", "default@proof", "-c", "1")
    purges = shop.worker("-Q", "purged", "-c", "1", "--purge")
    assert [len(worker.children()) for worker in first] == [os.cpu_count(), 1]
    assert "purge: Erased 1 message" in purges.output
    until(lambda: same.process.poll() is not None, 60, "the second of one name ends")
    assert "RESOURCE_LOCKED" in same.output and not ready(same)


SIZES = {"default": (), "auto": ("--concurrency", "auto")}
# A worker on one CPU of the machine.
PINNED = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "INFO", *sys.argv[1:]])
"""
