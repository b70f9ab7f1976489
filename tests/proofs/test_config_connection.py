"""configuration-guide: what the connection settings do while the broker is away, full or not who it should be."""

from __future__ import annotations

import contextlib
import threading

import pytest
import redis as redis_py
from servers import Redis
from shop import MakeShop, Raised, Shop
from waiting import stays, until

PAGE = "configuration-guide"
TASKS = """
@shared_task(name="proofs.run")
def run(): note("run")
"""


@pytest.mark.proves("configuration-guide#complete-settings")
def test_outage(shop: MakeShop, own_redis: Redis) -> None:
    """Redis goes away for longer than the worker is told to try: it exits, with the default of 100 tries as with one.
    With the page's None it is still there when Redis comes back, and works."""
    exits, page = shop(PAGE, own_redis, CELERY_BROKER_CONNECTION_MAX_RETRIES=1), shop(PAGE, own_redis)
    for each in (exits, page):
        each.tasks(TASKS)
        each.worker("-c", "1", wait=False)
    for each in (exits, page):
        until(lambda each=each: "ready." in each.workers[0].output, 60, "it consumes")
    own_redis.kill()
    until(lambda: exits.workers[0].process.poll() is not None, what="it has exited")
    until(lambda: "(2/None)" in page.workers[0].output, what="the other has tried twice")
    own_redis.start()
    page.do("app.send_task('proofs.run')")
    until(lambda: page.counts()["run"], what="the task ran")
    assert exits.workers[0].process.returncode


@pytest.mark.proves("configuration-guide#complete-settings")
def test_exhausted_pool(shop: MakeShop) -> None:
    """All connections of the pool are taken: a control command waits without end by default and raises OperationalError
    with the page's broker_pool_acquire_timeout, here of one second; .delay() waits without end in spite of it."""
    default = shop(PAGE, CELERY_BROKER_POOL_ACQUIRE_TIMEOUT=None)
    page, publisher = (shop(PAGE, CELERY_BROKER_POOL_ACQUIRE_TIMEOUT=1) for _ in range(2))
    control, publish = "app.control.broadcast('ping')", "app.send_task('any', queue='default', ignore_result=True)"
    for each in (default, page, publisher):
        each.do("held = [app.pool.acquire(block=True) for _ in range(app.pool.limit)]")

    def hang(each: Shop, code: str) -> None:
        with contextlib.suppress(AssertionError):  # the end of its process
            each.do(code)

    waiting = [threading.Thread(target=hang, args=each) for each in ((default, control), (publisher, publish))]
    for thread in waiting:
        thread.start()
    with pytest.raises(Raised) as error:
        page.do(control)
    assert error.value.kind == "OperationalError"
    stays(lambda: all(thread.is_alive() for thread in waiting), 1, "both wait on")
    for each in (default, publisher):
        each.close()
    for thread in waiting:
        thread.join(10)


@pytest.mark.proves("configuration-guide#redis-broker")
def test_eviction(shop: MakeShop, own_redis: Redis, evidence: dict) -> None:
    """A cache in another database of the broker's server pushes the queue out under allkeys-lru; under noeviction
    the cache's writes fail and the queue stays."""
    shop = shop(PAGE, own_redis)
    broker, cache = own_redis.client(), own_redis.client(2)
    left = {}
    for policy in ("allkeys-lru", "noeviction"):
        broker.flushall()
        shop.do("for _ in range(50): app.send_task('any', queue='default', ignore_result=True)")
        assert broker.llen("default") == 50
        broker.config_set("maxmemory-policy", policy)
        broker.config_set("maxmemory", broker.info("memory")["used_memory"] + 2_000_000)
        refused = 0
        for number in range(1000):
            try:
                cache.set(f"page{number}", b"1" * 10_000)
            except redis_py.exceptions.OutOfMemoryError:
                refused += 1
        left[policy] = broker.llen("default")
        assert bool(refused) == (policy == "noeviction")
        broker.config_set("maxmemory", 0)
    assert left == {"allkeys-lru": 0, "noeviction": 50}
    evidence["figures"] |= {f"{policy}: messages left of 50": count for policy, count in left.items()}
