"""django-integration: how many database connections workers open, and what is left of them after a restart."""

from __future__ import annotations

import json

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop, Shop, Worker
from waiting import until

# Workers differ in the database's settings, which each process takes from its environment.
TASKS = """
import json, os, threading
from django.db import connection

connection.settings_dict.update(json.loads(os.environ.get("DB_SETTINGS", "{}")))
if "WITH_RECEIVER" in os.environ:
    import shop.reuse  # as the page has it in shop/celery.py

def look():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

@shared_task
def query(): look()

def wait_for(name):
    while not os.path.exists(os.environ["SHOP_LEDGER"] + name):
        threading.Event().wait(0.02)

@shared_task
def long_phase(closes):
    look()
    if closes:
        connection.close()
    note("long phase", closes=closes)
    wait_for(".go")

@shared_task
def with_thread(closes):
    def run():
        look()
        if closes:
            connection.close()
        note("looked", closes=closes)
        wait_for(".end")
    threading.Thread(target=run, daemon=True).start()
"""
RUN = """
from proofs.tasks import query

def run(times):
    ends = []
    for result in [query.delay() for _ in range(times)]:
        result.get(timeout=60, propagate=False)
        ends.append(result.state)
    return ends.count("FAILURE")
"""
POOL = {"OPTIONS": {"pool": True}}
CHECKED = {"CONN_HEALTH_CHECKS": True}


def worker(
    shop: Shop, pool: str, database: dict, reuse: int | None = None, concurrency: int = 2, **environment: str
) -> Worker:
    """A worker with these settings of the database."""
    settings = json.dumps({"CELERY_DB_REUSE_MAX": reuse})
    return shop.worker(
        *("-P", pool, "-c", str(concurrency)), SHOP_SETTINGS=settings, DB_SETTINGS=json.dumps(database), **environment
    )


def name(shop: Shop) -> str:
    """The name of the shop's database."""
    return shop.environment["SHOP_DB"].rpartition("/")[2]


@pytest.mark.proves("django-integration#database-connections")
def test_connections_of_20_tasks(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Twenty tasks open twenty connections in spite of CONN_MAX_AGE=600, in processes and in threads. Django's pool
    under prefork opens up to four for each task, 80;
    under threads and gevent 4 in all. CELERY_DB_REUSE_MAX opens one in each child."""
    shop = shop("django-integration", redis, postgres)
    shop.tasks(TASKS)
    shop.do(RUN)
    kept = {"CONN_MAX_AGE": 600}
    opened = {}
    for case, pool, database, reuse in [
        ("prefork", "prefork", kept, None),
        ("threads", "threads", kept, None),
        ("prefork with pool", "prefork", POOL, None),
        ("threads with pool", "threads", POOL | CHECKED, None),
        ("gevent with pool", "gevent", POOL | CHECKED, None),
        ("prefork with CELERY_DB_REUSE_MAX", "prefork", {}, 100),
    ]:
        before = postgres.opened(name(shop))
        running = worker(shop, pool, database, reuse)
        assert shop.ask("run(20)") == 0
        running.kill()
        opened[case] = postgres.opened(name(shop)) - before
    evidence["figures"] |= {f"connections, {case}": count for case, count in opened.items()}
    assert [opened["prefork"], opened["threads"]] == [20, 20]
    assert 20 < opened["prefork with pool"] <= 80  # how many of its four a pool had opened when its task ended
    assert max(opened["threads with pool"], opened["gevent with pool"]) <= 4
    assert opened["prefork with CELERY_DB_REUSE_MAX"] <= 2


@pytest.mark.proves("django-integration#database-connections")
def test_restart_of_the_database(shop: MakeShop, redis: Redis, own_postgres: PostgreSQL, evidence: dict) -> None:
    """After a restart of PostgreSQL no task fails with the defaults, all 20 with CELERY_DB_REUSE_MAX alone, and none
    with CONN_MAX_AGE, CONN_HEALTH_CHECKS and the page's receiver. A pool under threads hands out dead connections
    unless CONN_HEALTH_CHECKS is on."""
    shop = shop("django-integration", redis, own_postgres)
    shop.tasks(TASKS)
    shop.do(RUN)
    failed = {}
    for case, pool, database, reuse, environment in [
        ("defaults", "prefork", {}, None, {}),
        ("CELERY_DB_REUSE_MAX alone", "prefork", {}, 100, {}),
        ("with the page's receiver", "prefork", {"CONN_MAX_AGE": 600} | CHECKED, 100, {"WITH_RECEIVER": "1"}),
        ("pool", "threads", POOL, None, {}),
        ("pool, checked", "threads", POOL | CHECKED, None, {}),
    ]:
        running = worker(shop, pool, database, reuse, concurrency=1, **environment)
        assert shop.ask("run(1)") == 0
        own_postgres.restart()
        failed[case] = shop.ask("run(20)")
        running.kill()
    evidence["figures"] |= {f"failures after a restart, {case}": count for case, count in failed.items()}
    assert failed.pop("pool") > 0
    assert list(failed.values()) == [0, 20, 0, 0]


@pytest.mark.proves("django-integration#database-connections")
def test_connections_held(shop: MakeShop, redis: Redis, postgres: PostgreSQL) -> None:
    """A task in a long phase without queries holds its connection unless it calls connection.close(). A thread that a
    task starts keeps a connection of its own after the task's end unless the thread closes it."""
    shop = shop("django-integration", redis, postgres)
    shop.tasks(TASKS)
    running = worker(shop, "prefork", {})

    def held() -> int:
        with postgres.connect() as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            return connection.execute(count, [name(shop)]).fetchone()[0]

    shop.do("from proofs.tasks import long_phase, with_thread\nlong_phase.delay(True)")
    until(lambda: shop.counts()["long phase"] == 1, what="the first is in its long phase")
    until(lambda: held() == 0, what="its connection is closed")
    shop.do("long_phase.delay(False)")
    until(lambda: shop.counts()["long phase"] == 2, what="the second is in its long phase")
    assert held() == 1
    (shop.folder / "ledger.jsonl.go").touch()
    until(lambda: held() == 0, what="both have ended")

    shop.do("with_thread.delay(True).get(timeout=30)")
    until(lambda: shop.counts()["looked"] == 1, what="the first thread has looked")
    until(lambda: held() == 0, what="its connection is closed")
    shop.do("with_thread.delay(False).get(timeout=30)")
    until(lambda: shop.counts()["looked"] == 2, what="the second thread has looked")
    assert held() == 1
    running.kill()
