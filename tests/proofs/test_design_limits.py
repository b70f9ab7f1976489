"""task-design-patterns: how fast and in what order tasks run."""

from __future__ import annotations

import time

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop
from waiting import stays, until

PAGE = "task-design-patterns"


@pytest.mark.proves("task-design-patterns#rate-limits")
def test_rate_over_two_workers(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """Two workers with `rate_limit="1/h"` run two in that hour, and the limited messages that they have prefetched keep
    other tasks from running; the page's slots in Redis make it ten a second over both."""
    shop = shop(PAGE, redis)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(
        """
        from celery import current_app
        from crm import client

        def fetch(cursor): note("slots", worker=current_app.current_worker_task.request.hostname)

        client.fetch_page = fetch

        @shared_task(name="proofs.rare", rate_limit="1/h")
        def rare(): note("rare")

        @shared_task(name="proofs.other")
        def other(queue): note("other", queue=queue)
        """
    )
    workers = [shop.worker("-c", "2", "--prefetch-multiplier", "1", "-Q", "celery,crm") for _ in range(2)]
    sent = time.time()  # the first slot is not earlier, so a late first call makes no rate look higher
    shop.do("for n in range(41): app.send_task('accounts.pull_page', [str(n)], queue='crm')")
    until(lambda: shop.counts()["slots"] == 41, 60, "the pages are there")
    rate = 40 / (max(line["at"] for line in shop.ledger("slots")) - sent)
    assert rate <= 10
    assert len({line["worker"] for line in shop.ledger("slots")}) == 2
    shop.do("for _ in range(40): app.send_task('proofs.rare')")
    # The first of each worker runs; after it two wait, one for each of its processes.
    until(lambda: all(worker.output.count("proofs.rare[") >= 3 for worker in workers), what="all slots are taken")
    shop.do("app.send_task('proofs.other', ['celery']); app.send_task('proofs.other', ['crm'], queue='crm')")
    stays(lambda: shop.counts()["other"] == 0, 1, "others wait behind the limited")
    assert shop.counts()["rare"] == 2
    shop.worker("-c", "1", "-Q", "crm")
    until(lambda: shop.counts()["other"] == 1, what="a worker of its own runs its queue")
    assert shop.ledger("other")[0]["queue"] == "crm"
    evidence["figures"] |= {
        "runs in an hour of two workers, rate_limit 1/h": 2,
        "runs/s of two workers, slots of 10/s": round(rate, 1),
    }


@pytest.mark.proves("task-design-patterns#rate-limits")
def test_pause(shop: MakeShop, redis: Redis) -> None:
    """After one 429 with Retry-After no worker calls the remote system until the time is over, but for those that were
    already waiting for their slot; then all pages come, each once. A retry that does not pause calls on."""
    shop = shop(PAGE, redis)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(
        """
        from accounts import tasks as page
        from crm import client
        from shop.locks import LOCKS

        def pause(*arguments, real=page.pause):
            real(*arguments)
            note("p pause")

        page.pause = pause

        def fetch(cursor):
            prefix = cursor[0]
            if LOCKS.set("first:" + prefix, 1, nx=True):
                raise client.CrmUnavailable("429", retry_after=3)
            note(prefix, cursor=cursor)

        client.fetch_page = fetch

        @shared_task(name="proofs.no_pause", bind=True, max_retries=None)
        def no_pause(self, cursor):
            try:
                fetch(cursor)
            except client.CrmUnavailable as exc:
                note("w pause")
                raise self.retry(exc=exc, countdown=exc.retry_after)
        """
    )
    for _ in range(2):
        shop.worker("-c", "1")
    calls = {}
    for prefix, task in (("w", "proofs.no_pause"), ("p", "accounts.pull_page")):
        shop.do(f"for n in range(12): app.send_task({task!r}, ['{prefix}%d' % n])")
        until(lambda prefix=prefix: shop.counts()[prefix] == 12, 60, "all pages are there")
        pause = shop.ledger(f"{prefix} pause")[0]["at"]
        calls[prefix] = sum(pause < line["at"] < pause + 2.9 for line in shop.ledger(prefix))
        assert {line["cursor"] for line in shop.ledger(prefix)} == {f"{prefix}{n}" for n in range(12)}
    assert calls["p"] <= 1 < calls["w"]


@pytest.mark.proves("task-design-patterns#priorities")
@pytest.mark.proves("configuration-guide#quorum-queues-and-delayed-delivery")
@pytest.mark.proves("configuration-guide#queues-and-routing")
def test_priorities(shop: MakeShop, redis: Redis, rabbitmq: RabbitMQ) -> None:
    """On Redis 0 comes first and 3 to 5 share a bucket; on RabbitMQ's classic queue 10 comes first if it was declared
    with x-max-priority, else priorities are ignored; a quorum queue has two levels and gives two of the upper for one
    of the lower. What a worker has prefetched is not overtaken; a queue with a worker of its own need not wait."""
    tasks = """
        from celery import current_app
        from kombu import Queue

        QUORUM = {"x-queue-type": "quorum"}

        @shared_task(name="proofs.ran", acks_late=True)
        def ran(queue, priority): note(queue, priority=priority)

        @shared_task(name="proofs.blocks", acks_late=True)
        def blocks(release):
            import time
            from shop.locks import LOCKS
            note("blocks")
            while not LOCKS.exists(release):
                time.sleep(0.02)
    """
    queues = """
        current_app.conf.task_queues = [
            Queue("plain"),
            Queue("ranked", max_priority=10),
            Queue("quorum", queue_arguments=QUORUM),
        ]
    """
    send = "for n in {1}: app.send_task('proofs.ran', [{0!r}, n], queue={0!r}, priority=n)"
    on_redis, on_rabbitmq = shop(PAGE, redis), shop(PAGE, rabbitmq)
    on_redis.tasks(tasks)
    on_redis.environment["SHOP_LOCKS"] = redis.url(2)
    on_rabbitmq.tasks(tasks, queues)

    def order(shop: MakeShop, queue: str) -> list[int]:
        return [line["priority"] for line in shop.ledger(queue)]

    expected = {
        "plain": [9, 0, 5, 3, 10, 1],
        "ranked": [10, 9, 5, 3, 1, 0],
        "quorum": [5, 6, 0, 9, 10, 4, 1, 2, 3],
    }
    for queue, sent in (("plain", expected["plain"]), ("ranked", expected["plain"])):
        on_rabbitmq.do("from proofs import tasks\n" + send.format(queue, sent))
    on_rabbitmq.do(send.format("quorum", [0, 4, 1, 2, 3, 5, 6, 9, 10]))
    on_redis.do(send.format("celery", [9, 0, 5, 3]))
    one = ("-c", "1", "--prefetch-multiplier", "1")
    on_rabbitmq.worker(*one)
    redis_worker = on_redis.worker(*one)
    for queue, ranked in expected.items():
        until(lambda queue=queue, ranked=ranked: len(order(on_rabbitmq, queue)) == len(ranked), what=queue)
        assert order(on_rabbitmq, queue) == ranked, queue
    until(lambda: len(order(on_redis, "celery")) == 4, what="Redis' have run")
    assert order(on_redis, "celery") == [0, 5, 3, 9]

    redis_worker.stop()
    on_redis.worker("-c", "1")  # prefetches four
    on_redis.do("app.send_task('proofs.blocks', ['first'])")
    until(lambda: on_redis.counts()["blocks"] == 1, what="the worker is busy")
    on_redis.do(send.format("celery", [9, 9, 9]))
    until(lambda: redis.client().llen("celery\x06\x169") == 0, what="three are prefetched")
    on_redis.do(send.format("celery", [0]))
    redis.client(2).set("first", 1)
    until(lambda: len(order(on_redis, "celery")) == 8, what="the rest has run")
    assert order(on_redis, "celery")[4:] == [9, 9, 9, 0]

    on_redis.worker("-c", "1", "-Q", "urgent")
    on_redis.do("for _ in range(4): app.send_task('proofs.blocks', ['second'])")
    until(lambda: on_redis.counts()["blocks"] == 2, what="the worker is busy again")
    on_redis.do(send.format("celery", [0]) + "\n" + send.format("urgent", [0]))
    until(lambda: on_redis.counts()["urgent"] == 1, what="the urgent one has run")
    assert len(order(on_redis, "celery")) == 8
