"""monitoring-observability: which figures tell of trouble, and which do not."""

from __future__ import annotations

import itertools
import time

import pytest
from redis.exceptions import OutOfMemoryError
from servers import Redis, free_port
from shop import MakeShop, Raised
from waiting import until
from web import scrape


@pytest.mark.proves("monitoring-observability#what-to-watch")
def test_waiting_time_tells_more_than_depth(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A deep queue of quick tasks is nothing, an almost empty one behind a hog is: the depth is larger where the
    waiting time is shorter."""
    shop = shop("monitoring-observability", redis)
    shop.tasks(
        """
        import os, time

        @shared_task(name="proofs.quick", ignore_result=True)
        def quick(): note("quick")

        @shared_task(name="proofs.late", ignore_result=True)
        def late(): note("late")

        @shared_task(name="proofs.hog", ignore_result=True)
        def hog():
            note("hog")
            while not os.path.exists("go-on"):
                time.sleep(0.02)
        """
    )
    folder, port = shop.folder / "metrics", free_port()
    folder.mkdir()
    shop.worker("-c", "1", "-O", "fair", PROMETHEUS_MULTIPROC_DIR=str(folder), METRICS_PORT=str(port))

    def wait(name: str) -> float:
        found = scrape(f"http://127.0.0.1:{port}/metrics")
        parts = [found.get(f'celery_task_wait_seconds_{part}{{task="proofs.{name}"}}', 0) for part in ("sum", "count")]
        return parts[0] / parts[1] if parts[1] else 0

    depth = lambda: redis.client().llen("celery")  # noqa: E731

    shop.do("for _ in range(100): app.send_task('proofs.quick')")
    deepest = depth()
    until(lambda: shop.counts()["quick"] == 100, what="the quick ones ran")
    shop.do("app.send_task('proofs.hog')")
    until(lambda: shop.counts()["hog"], what="the hog runs")
    shop.do("app.send_task('proofs.late')")
    hogged = depth()
    promise, started = max(1, 2 * wait("quick")), time.monotonic()
    until(lambda: time.monotonic() > started + promise, 60, what="the queue's promise is over")
    (shop.folder / "go-on").touch()
    until(lambda: shop.counts()["late"], what="the late one ran")

    late = until(lambda: wait("late"), what="it is in the scrape")
    assert late > promise > wait("quick") and hogged < deepest
    evidence["figures"] |= {
        "quick: depth, mean wait": [deepest, round(wait("quick"), 2)],
        "hog": [hogged, round(late, 1)],
    }


@pytest.mark.proves("monitoring-observability#what-to-watch")
def test_evicted_queue(shop: MakeShop, own_redis: Redis) -> None:
    """A Redis that may evict drops a whole queue when memory is short, and only evicted_keys tells; with noeviction
    the publisher gets an error and what was queued stays."""
    shop = shop("monitoring-observability", own_redis)
    client = own_redis.client()
    shop.do("app.conf.task_publish_retry = False")

    def fill(policy: str) -> None:
        """Queue 20 messages, then leave room for little more."""
        client.config_set("maxmemory", 0)
        client.flushdb()
        shop.do("for _ in range(20): app.send_task('proofs.any')")
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)

    def write() -> None:
        """What else is kept there."""
        for _ in range(200):
            client.set(f"session{next(number)}", "x" * 1000)

    number = itertools.count()
    fill("allkeys-lru")
    until(lambda: write() or not client.exists("celery"), what="the queue is gone")
    assert client.info("stats")["evicted_keys"] > 0
    client.config_resetstat()
    fill("noeviction")
    with pytest.raises(OutOfMemoryError):
        until(write, what="the memory is full")
    with pytest.raises(Raised, match="command not allowed when used memory"):
        shop.do("app.send_task('proofs.any')")
    assert client.llen("celery") == 20 and client.info("stats")["evicted_keys"] == 0
