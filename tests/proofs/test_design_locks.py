"""task-design-patterns: what locks hold, for how long, and after a death."""

from __future__ import annotations

import time

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop
from waiting import until

PAGE = "task-design-patterns"


@pytest.mark.proves("task-design-patterns#locks")
def test_slow_holder(shop: MakeShop, redis: Redis) -> None:
    """A holder outlives the expiry of its lock, and a second one enters. When the first leaves, the page's Redis lock
    says LockNotOwnedError and stays the second's; `cache.delete` frees it and a third enters. A LocMemCache locks
    nothing for another process. Of two values under one lock, a message that returns loses the newer, one that retries
    keeps it."""
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis.url(3)},
        "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    shop = shop(PAGE, redis, CACHES=caches)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(
        """
        import time
        from contextlib import contextmanager
        from django.core.cache import cache
        from redis.exceptions import LockError
        from shop.locks import LOCKS, redis_lock

        @contextmanager
        def cache_lock(name, seconds):
            if not cache.add(name, 1, seconds):
                raise LockError
            yield
            cache.delete(name)

        def hold(who, lock):
            try:
                with lock:
                    note(who + " in")
                    while not LOCKS.exists("leave:" + who):
                        time.sleep(0.02)
            except LockError as error:
                note(who + " out", error=type(error).__name__)
            else:
                note(who + " out", error="")

        @shared_task(name="proofs.redis")
        def with_redis(who, seconds): hold(who, redis_lock("job", seconds))

        @shared_task(name="proofs.cache")
        def with_cache(who, seconds): hold(who, cache_lock("job", seconds))

        @shared_task(name="proofs.value", bind=True, max_retries=None, default_retry_delay=0.1)
        def value(self, key, number):
            try:
                with redis_lock(key, 600):
                    note(key + " in", number=number)
                    while number == 1 and not LOCKS.exists("leave:" + key):
                        time.sleep(0.02)
                    LOCKS.set(key, number)
            except LockError:
                note(key + " taken", number=number)
                if key == "retries":
                    raise self.retry()
        """
    )
    shop.worker("-P", "threads", "-c", "6")
    locks = redis.client(2)

    def start(kind: str, who: str, seconds: int, sign: str) -> None:
        shop.do(f"app.send_task('proofs.{kind}', [{kind + who!r}, {seconds}])")
        until(lambda: shop.counts()[f"{kind}{who} {sign}"] == 1, what=f"{kind}: {who} {sign}")

    def leave(who: str) -> str:
        locks.set(f"leave:{who}", 1)
        return until(lambda: shop.ledger(f"{who} out"), what=f"{who} leaves")[0]["error"]

    third = {}
    for kind, gone in (
        ("redis", lambda: not locks.exists("lock:job")),
        ("cache", lambda: not redis.client(3).keys("*job")),
    ):
        start(kind, "first", 1, "in")
        until(gone, what="the lock has expired under its holder")
        start(kind, "second", 600, "in")
        error = leave(f"{kind}first")
        start(kind, "third", 600, "out" if kind == "redis" else "in")
        third[kind] = (error, shop.counts()[f"{kind}third in"])
    assert third == {"redis": ("LockNotOwnedError", 0), "cache": ("", 1)}
    assert shop.ledger("redisthird out")[0]["error"] == "LockError"
    in_two_processes = "from django.core.cache import caches; print(caches['local'].add('job', 1))"
    assert shop.manage("shell", "-c", in_two_processes).split()[-1] == "True"
    assert shop.do("from django.core.cache import caches\nresult = caches['local'].add('job', 1)") is True

    for key in ("returns", "retries"):
        for number, sign in ((1, "in"), (2, "taken")):
            shop.do(f"app.send_task('proofs.value', [{key!r}, {number}])")
            until(lambda key=key, sign=sign: shop.counts()[f"{key} {sign}"] >= 1, what=f"{key}: {number} {sign}")
        locks.set(f"leave:{key}", 1)
    until(lambda: locks.get("retries") == b"2", what="the newer value arrives")
    assert locks.get("returns") == b"1"


@pytest.mark.proves("task-design-patterns#locks")
def test_killed_holder(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """While it lives, a holder keeps others from its advisory lock, its Redis lock and its row, which skip_locked
    leaves out. After kill -9 the advisory lock and the row are free at once; the Redis lock is held until it expires.
    """
    shop = shop(PAGE, redis, postgres)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(
        """
        import time
        from django.db import transaction
        from orders.models import Order
        from shop.locks import advisory_lock, redis_lock

        @shared_task(name="proofs.holds")
        def holds(order_pk):
            with advisory_lock("job") as held, redis_lock("job", 600), transaction.atomic():
                Order.objects.select_for_update().get(pk=order_pk)
                note("holds", held=held)
                time.sleep(1000)
        """
    )
    orders = shop.do(
        """
        customer = User.objects.create(username="a")
        result = [Order.objects.create(customer=customer).pk for _ in range(2)]
        app.send_task("proofs.holds", [result[0]])
        """
    )
    free = """
        from django.db import transaction
        from redis.exceptions import LockError
        from shop.locks import advisory_lock, redis_lock

        with transaction.atomic():
            rows = list(Order.objects.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
        with advisory_lock("job") as advisory:
            pass
        try:
            with redis_lock("job", 600):
                remote = True
        except LockError:
            remote = False
        result = [rows, advisory, remote]
    """
    worker = shop.worker("-c", "1")
    until(lambda: shop.ledger("holds"), what="the task holds all three")
    assert shop.ledger("holds")[0]["held"] is True
    assert shop.do(free) == [orders[1:], False, False]
    worker.kill()
    killed = time.monotonic()
    until(lambda: shop.do(free)[:2] == [orders, True], what="PostgreSQL has let go")
    evidence["figures"]["seconds until an advisory lock is free after kill -9"] = round(time.monotonic() - killed, 2)
    assert shop.do(free) == [orders, True, False]
    locks = redis.client(2)
    assert locks.ttl("lock:job") > 0
    locks.pexpire("lock:job", 1)  # ten minutes later
    until(lambda: shop.do(free) == [orders, True, True], what="the Redis lock has expired")
