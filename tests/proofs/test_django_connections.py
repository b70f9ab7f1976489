"""django-integration: how many database connections workers open, and what is left of them after a restart."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop
from waiting import until

QUERIES = """
from django.db import connection

def set_up(**settings):
    connection.settings_dict.update(settings)

@shared_task
def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        note("query", backend=cursor.fetchone()[0])
"""
POOL = 'from django.db import connection\nconnection.settings_dict["OPTIONS"] = {"pool": True}\n'
REUSE = "CELERY_DB_REUSE_MAX = 100"
RUN = """
from proofs.tasks import query
for result in [query.delay() for _ in range(20)]:
    result.get(timeout=60, propagate=False)
"""


def settings(**options: object) -> str:
    """Code that changes the database's settings before its first connection."""
    return f"from django.db import connection\nconnection.settings_dict.update({options})\n"


@pytest.mark.proves("django-integration#database-connections")
def test_connections_of_20_tasks(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Twenty tasks open twenty connections whatever CONN_MAX_AGE says; a Django pool under prefork opens 80; the same
    pool under threads and gevent opens 4; CELERY_DB_REUSE_MAX opens one per child."""
    cases = {
        "prefork, CONN_MAX_AGE=0": (("-P", "prefork"), {"CONN_MAX_AGE": 0}, {}),
        "prefork, CONN_MAX_AGE=600": (("-P", "prefork"), {"CONN_MAX_AGE": 600}, {}),
        "threads, CONN_MAX_AGE=600": (("-P", "threads"), {"CONN_MAX_AGE": 600}, {}),
        "prefork, pool": (("-P", "prefork"), {"OPTIONS": {"pool": True}}, {}),
        "threads, pool": (("-P", "threads"), {"OPTIONS": {"pool": True}, "CONN_HEALTH_CHECKS": True}, {}),
        "gevent, pool": (("-P", "gevent"), {"OPTIONS": {"pool": True}, "CONN_HEALTH_CHECKS": True}, {}),
        "prefork, CELERY_DB_REUSE_MAX": (("-P", "prefork"), {}, {"CELERY_DB_REUSE_MAX": 100}),
    }
    opened = {}
    for name, (pool, database, more) in cases.items():
        each = shop("django-integration", redis, postgres, **more)
        each.tasks(settings(**database), QUERIES)
        worker = each.worker("-c", "2", *pool)
        each.do(RUN)
        worker.stop()
        opened[name] = postgres.opened(each.environment["SHOP_DB"].rpartition("/")[2], by="query")
    evidence["figures"] |= opened
    assert opened == {}
