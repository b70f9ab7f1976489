"""production-deployment: what a broker's user may do, what a worker accepts, and the check before a deploy."""

from __future__ import annotations

import json
import shlex

import pages
import pytest
import redis
from redis.exceptions import NoPermissionError
from servers import Redis
from shop import MakeShop
from validate.document import parse
from waiting import until

PAGE = pages.SKILL / "references" / "production-deployment.md"


@pytest.mark.proves("production-deployment#security")
def test_broker_user(shop: MakeShop, own_redis: Redis) -> None:
    """The page's ACL is enough for tasks, a chord, results, revocation and inspection, and refuses FLUSHALL, KEYS and
    CONFIG.   A pickle message is refused by
    a worker as the page sets it up; one that accepts pickle runs the sender's code before any task."""
    shop = shop("production-deployment", own_redis)
    command = next(f.content for f in parse("", PAGE.read_text()).fences if "ACL SETUSER" in f.content)
    own_redis.client().execute_command(*shlex.split(command.replace("$REDIS_PASSWORD", "secret"))[1:])
    for name in ("SHOP_BROKER", "SHOP_RESULTS"):
        shop.environment[name] = shop.environment[name].replace("//", "//shop:secret@")
    user = redis.Redis(port=own_redis.port, username="shop", password="secret")
    for refused in (user.flushall, user.keys, user.config_get):
        with pytest.raises(NoPermissionError):
            refused()
    shop.tasks(
        """
        @shared_task
        def double(number): note("double", number=number); return 2 * number

        @shared_task
        def add(numbers): return sum(numbers)

        class Payload:
            def __reduce__(self):
                return (note, ("payload",))
        """
    )
    worker = shop.worker("-c", "1", "-Q", "celery")
    total, revoked = shop.do(
        """
        from celery import chord
        from proofs.tasks import Payload, add, double
        later = double.apply_async((5,), countdown=600)
        later.revoke()
        result = chord([double.s(1), double.s(2)], add.s())().get(timeout=30), later.id
        """
    )
    assert total == 6
    nodes = until(lambda: shop.ask("app.control.inspect(timeout=1).revoked()"), what="the worker answers")
    assert nodes == {worker.node: [revoked]}

    shop.do("app.send_task('proofs.tasks.double', [Payload()], serializer='pickle')")
    until(lambda: "untrusted content of type pickle" in worker.output, what="the message is refused")
    assert shop.counts()["payload"] == 0
    settings = json.dumps({"CELERY_ACCEPT_CONTENT": ["json", "pickle"]})
    shop.worker("-c", "1", "-Q", "open", SHOP_SETTINGS=settings, C_FORCE_ROOT="1")
    shop.do("app.send_task('proofs.tasks.double', [Payload()], serializer='pickle', queue='open')")
    until(lambda: shop.counts()["payload"], what="the sender's code runs")


@pytest.mark.proves("production-deployment#deployment-checklist")
def test_deploy_check(shop: MakeShop) -> None:
    """The page's check passes on safe settings, and refuses each dangerous one by name: eager mode, no hard limit, no
    recycling, pickle, and a worker that gives up on its broker. `migrate --check` fails while a migration waits."""
    shop = shop("production-deployment")
    shop.manage("check", "--deploy", "--tag", "celery")
    dangerous = {
        "task_always_eager": True,
        "task_time_limit": None,
        "worker_max_tasks_per_child": None,
        "accept_content": ["json", "pickle"],
        "broker_connection_max_retries": 100,
    }
    assert shop.do("from shop.celery import SAFE, celery_settings\nresult = sorted(SAFE)") == sorted(dangerous)
    found = shop.do(
        f"""
        result = {{}}
        for name, value in {dangerous}.items():
            safe, app.conf[name] = app.conf[name], value
            result[name] = [error.msg for error in celery_settings(None)]
            app.conf[name] = safe
        """
    )
    assert found == {name: [f"{name} = {value!r}"] for name, value in dangerous.items()}
    shop.environment["SHOP_SETTINGS"] = json.dumps({"CELERY_TASK_ALWAYS_EAGER": True})
    with pytest.raises(AssertionError, match="task_always_eager = True"):
        shop.manage("check", "--deploy", "--tag", "celery")
    shop.manage("migrate", "--check")
    shop.manage("migrate", "orders", "zero")
    with pytest.raises(AssertionError):
        shop.manage("migrate", "--check")
