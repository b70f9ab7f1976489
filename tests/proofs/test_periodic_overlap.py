"""periodic-tasks: runs that would overlap, and messages that came too late."""

from __future__ import annotations

import re
import time

import pytest
from servers import Redis
from shop import MakeShop
from waiting import until

SLOW = """
import os, time
from pathlib import Path
from imports import tasks as page

def fetch_page(cursor):
    note("fetch")
    while not Path(f"go-{os.getpid()}").exists():
        time.sleep(0.05)
    Path(f"go-{os.getpid()}").unlink()
    return [{"email": "a@shop", "name": "A"}], None

page.fetch_page = fetch_page

class NoLock:
    def lock(self, *args, **options): return self
    def acquire(self, **options): return True
    def release(self): pass

@shared_task(name="proofs.unlocked")
def unlocked():
    locks, page.LOCKS = page.LOCKS, NoLock()
    page.sync_contacts()
    page.LOCKS = locks
"""


@pytest.mark.proves("periodic-tasks#overlap")
def test_lock(shop: MakeShop, redis: Redis) -> None:
    """A second delivery of the page's task while the first runs ends at once; without the lock both work. A holder that
    was slower than its lock leaves the next one's lock alone. A worker that is killed keeps the lock for at most the
    300 s that it was taken for, then the next run works."""
    shop = shop("periodic-tasks", redis)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(SLOW)
    worker = shop.worker("-c", "3")
    lock, key = redis.client(2), "lock:sync-contacts"

    def send(name: str = "imports.sync_contacts") -> None:
        shop.do(f"app.send_task({name!r})")

    def fetching(number: int) -> int:
        """Wait until so many runs have begun to work, and return the process of the last."""
        until(lambda: shop.counts()["fetch"] == number, what=f"{number} have begun")
        return shop.ledger("fetch")[-1]["pid"]

    def go(*pids: int) -> None:
        for pid in pids:
            (shop.folder / f"go-{pid}").touch()

    def ended() -> int:
        return len(re.findall(r"Task imports\.sync_contacts\[\S+ succeeded", worker.output))

    send("proofs.unlocked")
    first = fetching(1)
    send("proofs.unlocked")
    go(first, fetching(2))
    until(lambda: worker.output.count("succeeded") == 2, what="both have worked")

    send()
    slow = fetching(3)
    send()
    until(lambda: ended() == 1, what="the second has ended")
    assert shop.counts()["fetch"] == 3
    assert shop.do("from imports.tasks import sync_contacts; result = sync_contacts.time_limit * 1000") < lock.pttl(key)

    lock.pexpire(key, 1)  # as if 300 s had passed
    until(lambda: not lock.exists(key))
    send()
    fetching(4)
    of_the_next = lock.get(key)
    go(slow)
    until(lambda: ended() == 2, what="the slow one has ended")
    assert lock.get(key) == of_the_next

    worker.kill()
    assert 0 < lock.pttl(key) <= 300_000
    worker = shop.worker("-c", "3")
    send()
    until(lambda: ended() == 1, what="the next has ended at once")
    assert shop.counts()["fetch"] == 4
    lock.pexpire(key, 1)
    until(lambda: not lock.exists(key))
    send()
    go(fetching(5))
    until(lambda: ended() == 2, what="it has worked")
    assert not lock.exists(key)
    assert shop.ask("Contact.objects.count()") == 1


@pytest.mark.proves("periodic-tasks#overlap")
def test_late_messages(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """Beat goes on while no worker runs. Messages that expire before their successor are dropped, those that do not all
    run one after the other when the worker is back; the page's interval entry expires within its interval."""
    entries = {
        "expiring": {"task": "proofs.expiring", "schedule": 0.3, "options": {"expires": 0.2}},
        "lasting": {"task": "proofs.lasting", "schedule": 0.3},
    }
    shop = shop("periodic-tasks", redis, CELERY_BEAT_SCHEDULE=entries)
    shop.tasks(
        """
        @shared_task(name="proofs.expiring")
        def expiring(): note("expiring")

        @shared_task(name="proofs.lasting")
        def lasting(): note("lasting")
        """
    )
    assert shop.do(
        """
        from shop.settings import CELERY_BEAT_SCHEDULE
        entry = CELERY_BEAT_SCHEDULE["sync-contacts"]
        result = entry["options"]["expires"] < entry["schedule"].total_seconds()
        """
    )
    beat = shop.beat()
    until(lambda: all(beat.output.count(f"due task {name} ") >= 5 for name in entries), what="messages pile up")
    beat.kill()
    killed = time.time()
    missed = redis.client().llen("celery")
    until(lambda: time.time() > killed + 0.3, what="the last message has expired")
    worker = shop.worker("-c", "1")
    until(lambda: worker.output.count("received") == missed, what="the worker has taken all")
    until(lambda: not redis.client().exists("celery", "unacked"), what="all have ended")
    assert shop.counts()["expiring"] == 0 and shop.counts()["lasting"] >= 4
    evidence["figures"]["runs after a worker's absence, with expires"] = 0
