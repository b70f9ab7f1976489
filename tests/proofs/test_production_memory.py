"""production-deployment: what limits on a child's memory do, and locks that a fork copies."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop
from waiting import stays, until


@pytest.mark.proves("production-deployment#memory")
def test_memory_limit(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A task that takes 300 MB under a limit of 150 MB completes, and the next runs in a new child; small tasks keep
    theirs. The limit is compared with the peak, so memory that was given back counts. A limit below the size of a
    fresh child, and not only a leak, makes a new process for every task. A task limit recycles too."""
    shop = shop("production-deployment", redis)
    shop.tasks(
        """
        import mmap, resource

        @shared_task(bind=True)
        def take(self, megabytes):
            block = mmap.mmap(-1, megabytes << 20) if megabytes else None
            if block:
                for page in range(0, len(block), mmap.PAGESIZE):
                    block[page] = 1
                block.close()  # given back before the task ends
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            note(self.request.delivery_info["routing_key"], megabytes=megabytes, peak=peak)
        """
    )
    limits = {
        "limited": ("--max-memory-per-child", "150000"),
        "tiny": ("--max-memory-per-child", "20000"),
        "counted": ("--max-tasks-per-child", "2"),
    }
    for queue, options in limits.items():
        shop.worker("-c", "1", "-Q", queue, *options, wait=False)
    shop.do(
        f"for queue in {[*limits]}:\n  for size in (0, 0, 300 * (queue == 'limited'), 0):\n"
        "    app.send_task('proofs.tasks.take', [size], queue=queue)"
    )
    until(lambda: shop.counts() == dict.fromkeys(limits, 4), 60, "all have run")
    first, second, big, after = shop.ledger("limited")
    assert big["peak"] > 300 << 10 and first["peak"] < 150_000
    assert first["pid"] == second["pid"] == big["pid"] != after["pid"]
    assert len({line["pid"] for line in shop.ledger("tiny")}) == 4
    one, two, three, four = (line["pid"] for line in shop.ledger("counted"))
    assert one == two != three == four
    evidence["figures"]["peak RSS of a fresh child, MB"] = round(first["peak"] / 1024)


@pytest.mark.proves("production-deployment#memory")
def test_lock_held_at_fork(shop: MakeShop, redis: Redis) -> None:
    """A thread that is started at import holds a lock while the pool forks: 0 of 4 tasks that need the lock end. With
    --pool-start-method spawn all 4 do."""
    shop = shop("production-deployment", redis, CELERY_WORKER_PROC_ALIVE_TIMEOUT=60)
    shop.tasks(
        """
        import os, threading, time

        LOCK = threading.Lock()
        held = threading.Event()

        def library():
            with LOCK:
                held.set()
                while not os.path.exists("open"):
                    time.sleep(0.02)

        threading.Thread(target=library, daemon=True).start()
        held.wait()

        @shared_task(bind=True)
        def needs(self):
            queue = self.request.delivery_info["routing_key"]
            note(queue + " started")
            with LOCK:
                note(queue)
        """
    )
    shop.worker("-c", "2", "-Q", "fork", wait=False)
    shop.worker("-c", "2", "-Q", "spawn", "--pool-start-method", "spawn", wait=False)
    for worker in shop.workers:
        until(lambda worker=worker: "ready." in worker.output, 60, "both are up")
    (shop.folder / "open").touch()  # in each process that has the thread, the lock is free from now on
    shop.do("for queue in ('fork', 'spawn') * 4: app.send_task('proofs.tasks.needs', queue=queue)")
    until(lambda: shop.counts()["spawn"] == 4, 60, "the spawned children are through")
    until(lambda: shop.counts()["fork started"] == 2, what="both forked children have a task")
    stays(lambda: shop.counts()["fork"] == 0, 1, "and hang")
