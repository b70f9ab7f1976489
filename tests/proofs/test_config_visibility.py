"""configuration-guide: when Redis hands out again what a worker has not acknowledged."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop, Shop
from waiting import stays, until

PAGE = "configuration-guide"
# The page's sweep, five times as often. By default it is 10 and 10, so every 100 s.
SWEEP = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
TASKS = """
import time

@shared_task(name="proofs.early")
def early(): note("early")

@shared_task(name="proofs.late", acks_late=True)
def late():
    note("late")
    time.sleep(3)
    note("late done")

@shared_task(name="proofs.held", acks_late=True)
def held():
    note("held")
    time.sleep(1000)
"""
WITHOUT_EFFECT = """
from celery import current_app
current_app.conf.visibility_timeout = 60
"""


def shop_at(make: MakeShop, redis: Redis, database: int, *code: str, **options: object) -> Shop:
    """A shop with a broker database of its own, and the page's settings but for these transport options."""
    without_effect = {"visibility_timeout": 60}
    shop = make(
        PAGE,
        redis,
        CELERY_BROKER_TRANSPORT_OPTIONS=options,
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS=without_effect,
    )
    shop.environment["SHOP_BROKER"] = redis.url(database)
    shop.tasks(TASKS, *code)
    return shop


def start_two(*shops: Shop) -> None:
    """Two workers for each: a worker sweeps when it starts, so all are there before the messages."""
    for each in shops:
        for _ in range(2):
            each.worker("-c", "4", wait=False)
    workers = [worker for each in shops for worker in each.workers]
    until(lambda: all("ready." in worker.output for worker in workers), 60, "all consume")


@pytest.mark.proves("configuration-guide#visibility-timeout")
@pytest.mark.proves("production-deployment#long-etas")
def test_shorter_than_the_delay(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A countdown with early acknowledgement, and an acks_late run, that are longer than the visibility timeout run
    more than once; with a longer timeout once. `app.conf.visibility_timeout` and the result backend's option do not
    count. Of two apps on one database the shorter timeout wins."""
    short = shop_at(shop, redis, 2, WITHOUT_EFFECT, **SWEEP, visibility_timeout=1)
    longer = shop_at(shop, redis, 3, **SWEEP, visibility_timeout=3600)
    start_two(short, longer)
    for each in (short, longer):
        each.do("app.send_task('proofs.early', countdown=4); app.send_task('proofs.late')")
    until(lambda: short.counts()["early"] > 1 and short.counts()["late done"] > 1, what="both ran again")
    until(lambda: longer.counts()["early"] and longer.counts()["late done"], what="both ran")
    stays(lambda: longer.counts() == {"early": 1, "late": 1, "late done": 1}, 1, "once each")
    evidence["figures"]["runs of a countdown of 4 s, timeout 1 s, two workers"] = short.counts()["early"]

    longer.do("app.send_task('proofs.held')")
    until(lambda: longer.counts()["held"] == 1, what="it runs, with an hour's time")
    other = shop_at(shop, redis, 3, **SWEEP, visibility_timeout=1)
    other.worker("-c", "1", wait=False)
    until(lambda: longer.counts()["held"] + other.counts()["held"] == 2, what="it runs beside itself")


@pytest.mark.proves("configuration-guide#visibility-timeout")
def test_killed_workers_message(shop: MakeShop, redis: Redis) -> None:
    """A worker is killed with an acks_late task in hand. With the page's two options another worker gets it soon after
    the timeout; with kombu's defaults it is not back by then, but a worker that starts sweeps at once."""
    default = shop_at(shop, redis, 2, visibility_timeout=1)
    page = shop_at(shop, redis, 3, **SWEEP, visibility_timeout=1)
    start_two(default, page)
    for each in (default, page):
        each.do("app.send_task('proofs.held')")
        until(lambda each=each: each.counts()["held"], what="the task started")
        pid = each.ledger("held")[0]["pid"]
        next(worker for worker in each.workers if pid in worker.children()).kill()
    until(lambda: page.counts()["held"] > 1, what="it is back")
    stays(lambda: default.counts()["held"] == 1, 1, "it is not")
    default.worker("-c", "1")
    until(lambda: default.counts()["held"] == 2, what="the new worker's first sweep")
