"""configuration-guide: what each pool does with limits, what workers take in advance, when children are renewed."""

from __future__ import annotations

import os

import pytest
from servers import Redis
from shop import NOTICED_SOON, MakeShop, Shop
from waiting import stays, until

PAGE = "configuration-guide"
QUEUES = {"CELERY_TASK_CREATE_MISSING_QUEUES": True}  # a queue for each worker
# Tasks that last until the proof opens the gate, so that nothing depends on how fast the machine is.
GATE = """
import os, time
from pathlib import Path

def wait():
    while not Path("gate").exists():
        time.sleep(0.05)
"""


def open_gate(shop: Shop) -> None:
    (shop.folder / "gate").touch()


def all_ready(shop: Shop) -> None:
    until(lambda: all("ready." in worker.output for worker in shop.workers), 60, "all workers consume")


# soft limit, hard limit, revoke(terminate=True): what the page's table says.
TABLE = {
    "prefork": (True, True, True),
    "gevent": (False, True, True),
    "threads": (False, False, False),
    "solo": (False, False, False),
}


@pytest.mark.proves("configuration-guide#pools-and-concurrency")
def test_limits_of_each_pool(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """Soft limits act on prefork only, hard limits and revoke(terminate=True) on prefork and gevent. Threads says that
    terminate is not implemented; a busy solo worker answers no ping and reads the revoke afterwards."""
    shop = shop(PAGE, redis, **QUEUES)
    shop.tasks(
        NOTICED_SOON,
        GATE,
        """
        from celery.exceptions import SoftTimeLimitExceeded

        @shared_task(name="proofs.run")
        def run(task_id, pool):
            note("start")
            try:
                wait()
            except SoftTimeLimitExceeded:
                note("soft", pool=pool)
                wait()
            note("end", task_id=task_id)
        """,
    )
    workers = {pool: shop.worker("-P", pool, "-c", "2", "-Q", pool, wait=False) for pool in TABLE}
    all_ready(shop)
    # The solo worker's one task is limited and revoked.
    limited = {pool: f"{pool} limited" for pool in TABLE}
    revoked = {pool: f"{pool} revoked" for pool in TABLE} | {"solo": limited["solo"]}
    shop.do(
        f"""
        limits = {{"soft_time_limit": 1, "time_limit": 2}}
        for ids, options in (({limited}, limits), ({revoked}, {{}})):
            for pool, id in ids.items():
                if (pool, options) != ("solo", {{}}):
                    app.send_task("proofs.run", [id, pool], queue=pool, task_id=id, **options)
        """
    )
    until(lambda: shop.counts()["start"] == 7, what="all run")
    answers = shop.ask("[next(iter(reply)) for reply in app.control.ping(timeout=20, limit=3)]")
    assert sorted(answers) == sorted(worker.node for pool, worker in workers.items() if pool != "solo")
    shop.do(f"app.control.revoke({[*revoked.values()]}, terminate=True)")
    state = lambda task_id: shop.ask(f"app.AsyncResult({task_id!r}).state")  # noqa: E731
    for pool in ("prefork", "gevent"):
        until(lambda pool=pool: "Hard time limit (2s) exceeded" in workers[pool].output, what=f"{pool}'s hard limit")
        until(lambda pool=pool: state(revoked[pool]) == "REVOKED", what=f"{pool}'s task is terminated")
    until(lambda: "NotImplementedError" in workers["threads"].output, what="threads cannot")
    stays(lambda: not shop.counts()["end"], 1, "none went through")
    open_gate(shop)
    until(lambda: shop.counts()["end"] >= 3, what="the others go through")
    ends = {line["task_id"] for line in shop.ledger("end")}
    soft = {line["pool"] for line in shop.ledger("soft")}
    seen = {pool: (pool in soft, limited[pool] not in ends, revoked[pool] not in ends) for pool in TABLE}
    assert seen == TABLE
    evidence["figures"] |= {f"{pool}: soft, hard, terminate": list(TABLE[pool]) for pool in TABLE}


@pytest.mark.proves("configuration-guide#pools-and-concurrency")
def test_concurrency_in_a_container(shop: MakeShop, redis: Redis) -> None:
    """A worker that may use one CPU starts as many children as the host has CPUs; with "auto" it starts one."""
    (cpu, *_) = everywhere = os.sched_getaffinity(0)
    default, auto = shop(PAGE, redis), shop(PAGE, redis, CELERY_WORKER_CONCURRENCY="auto")
    os.sched_setaffinity(0, {cpu})  # what is started now inherits it
    try:
        for each in (default, auto):
            each.worker(wait=False)
    finally:
        os.sched_setaffinity(0, everywhere)
    for each, children in ((default, os.cpu_count()), (auto, 1)):
        all_ready(each)
        assert f"concurrency: {children} (prefork)" in each.workers[0].output


@pytest.mark.proves("configuration-guide#child-process-limits")
def test_child_limits(shop: MakeShop, redis: Redis) -> None:
    """A child is replaced after its number of tasks, and after a task that has taken more memory than the limit: that
    task itself is not stopped. On the threads pool neither does anything."""
    shop = shop(PAGE, redis, **QUEUES)
    shop.tasks(
        """
        import os

        @shared_task(name="proofs.take")
        def take(megabytes, queue):
            taken = b"1" * (megabytes << 20)
            note(queue, child=os.getpid())
        """
    )
    limits = ("-c", "1", "--max-tasks-per-child", "3", "--max-memory-per-child", "300000")
    for pool in ("prefork", "threads"):
        shop.worker("-P", pool, "-Q", pool, *limits, wait=False)
    all_ready(shop)
    sizes = [1, 1, 1, 1, 400, 1]
    for pool in ("prefork", "threads"):
        shop.do(f"for size in {sizes}: app.send_task('proofs.take', [size, {pool!r}], queue={pool!r})")
        until(lambda pool=pool: shop.counts()[pool] == len(sizes), what="all ran")
    first, second, third, fourth, huge, last = (line["child"] for line in shop.ledger("prefork"))
    assert first == second == third != fourth
    assert fourth == huge != last
    assert len({line["child"] for line in shop.ledger("threads")}) == 1


# Messages that a worker of two slots holds beyond those it runs: (multiplier, acks_late) → what the page's table says.
HELD = {
    ("4", False): 8,
    ("4", True): 6,
    ("1", False): 2,
    ("1", True): 0,
    ("off", False): 0,
    ("off", True): 0,
}


@pytest.mark.proves("configuration-guide#prefetch")
def test_held_in_advance(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """What workers of two slots hold beyond what they run, of 14 long tasks: the page's table. What is held behind a
    long task waits although another worker idles; with acks_late and multiplier 1 the other worker takes it."""
    shop = shop(PAGE, redis, **QUEUES)
    shop.tasks(
        GATE,
        """
        def run(queue):
            note(queue)
            wait()

        shared_task(name="proofs.early")(run)
        shared_task(name="proofs.late", acks_late=True)(run)
        """,
    )
    queues = {f"q{multiplier}{late}": (multiplier, late) for multiplier, late in HELD}
    for queue, (multiplier, _) in queues.items():
        prefetch = ("--disable-prefetch",) if multiplier == "off" else ("--prefetch-multiplier", multiplier)
        shop.worker("-c", "2", "-Q", queue, *prefetch, wait=False)
    all_ready(shop)
    names = {queue: "proofs.late" if late else "proofs.early" for queue, (_, late) in queues.items()}
    shop.do(
        f"""
        for queue, name in {names}.items():
            for _ in range(14):
                app.send_task(name, [queue], queue=queue)
        """
    )
    until(lambda: shop.counts() == dict.fromkeys(queues, 2), what="every worker runs two")
    waiting = redis.client()

    def held() -> dict[tuple[str, bool], int]:
        return {how: 14 - 2 - waiting.llen(queue) for queue, how in queues.items()}

    until(lambda: held() == HELD, what="the table")
    stays(lambda: held() == HELD, 1, "the table")
    evidence["figures"] |= {f"×{how[0]}, acks_late {how[1]}: held": count for how, count in HELD.items()}

    # A second worker gets what is still in the queues, and what is held waits beside it.
    shop.worker("-c", "24", "-Q", "q4True,q1True")
    until(lambda: shop.counts()["q1True"] == 14, what="the second worker takes all that ×1 and acks_late leave")
    until(lambda: shop.counts()["q4True"] == 8, what="and of the other queue what is not held")
    stays(lambda: shop.counts()["q4True"] == 8, 1, "six tasks wait beside idle slots")
