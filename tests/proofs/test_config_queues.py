"""configuration-guide: which queue a message goes to, and which message comes first."""

from __future__ import annotations

import subprocess
import sys

import pytest
from servers import Redis
from shop import MakeShop, Raised
from waiting import until

PAGE = "configuration-guide"
QUEUES = ("default", "mail", "imports")


@pytest.mark.proves("configuration-guide#queues-and-routing")
@pytest.mark.proves("configuration-guide#complete-settings")
def test_typo(shop: MakeShop, redis: Redis) -> None:
    """A misspelt queue is by default one that nobody reads; with the page's settings the publisher gets QueueNotFound
    and a worker that is told to read it ends with ImproperlyConfigured."""
    default, page = shop(PAGE, redis, CELERY_TASK_CREATE_MISSING_QUEUES=True), shop(PAGE, redis)
    send = "app.send_task('any', queue='imprts')"
    default.do(send)
    assert redis.client().llen("imprts") == 1
    with pytest.raises(Raised) as error:
        page.do(send)
    assert error.value.kind == "QueueNotFound"
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-Q", "imprts"]
    done = subprocess.run(
        command, env=page.environment, cwd=page.folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode and "ImproperlyConfigured" in done.stderr


@pytest.mark.proves("configuration-guide#queues-and-routing")
@pytest.mark.proves("configuration-guide#complete-settings")
def test_routes(shop: MakeShop, redis: Redis) -> None:
    """The page's routes send by name; the task's own queue beats them, apply_async(queue=) beats both. A function in a
    list before them routes by arguments, or returns None and leaves it to them."""
    shop = shop(PAGE, redis, CELERY_TASK_ROUTES=["proofs.tasks.by_size", {"*.send_*": {"queue": "mail"}}])
    shop.tasks(
        """
        def by_size(name, args, kwargs, options, task=None, **kw):
            return {"queue": "imports"} if kwargs.get("rows", 0) > 1000 else None

        @shared_task(name="proofs.load")
        def load(rows=0): pass

        @shared_task(name="orders.send_mail")
        def send_mail(): pass

        @shared_task(name="orders.send_own", queue="imports")
        def send_own(): pass
        """
    )
    waiting = redis.client()

    def goes_to(name: str, **options: object) -> str:
        waiting.delete(*QUEUES)
        shop.do(f"from proofs import tasks; tasks.{name}.apply_async(**{options})")
        (queue,) = (queue for queue in QUEUES if waiting.llen(queue))
        return queue

    assert goes_to("load") == "default"
    assert goes_to("send_mail") == "mail"
    assert goes_to("send_own") == "imports"
    assert goes_to("send_own", queue="default") == "default"
    assert goes_to("load", kwargs={"rows": 1001}) == "imports"
    assert goes_to("load", kwargs={"rows": 1}) == "default"


@pytest.mark.proves("configuration-guide#queues-and-routing")
def test_order_of_queues(shop: MakeShop, redis: Redis) -> None:
    """The order of -Q gives no queue precedence: a worker takes from its queues in turns. The transport option
    queue_order_strategy changes that on Redis."""
    first = {}
    for strategy in ("", "priority"):
        redis.client().flushall()
        options = {"queue_order_strategy": strategy} if strategy else {}
        each = shop(PAGE, redis, CELERY_BROKER_TRANSPORT_OPTIONS=options)
        each.tasks("@shared_task(name='proofs.run')\ndef run(queue): note('run', queue=queue)")
        each.do(
            """
            for queue in ("default", "mail"):
                for _ in range(4):
                    app.send_task("proofs.run", [queue], queue=queue)
            """
        )
        each.worker("-c", "1", "-Q", "mail,default", wait=False)
        until(lambda each=each: each.counts()["run"] == 8, 60, "all ran")
        first[strategy] = {line["queue"] for line in each.ledger("run")[:4]}
        each.close()
    assert first == {"": {"mail", "default"}, "priority": {"mail"}}
