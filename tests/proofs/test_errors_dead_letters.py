"""error-handling: dead letters, in the database and in RabbitMQ."""

from __future__ import annotations

import shlex

import pages
import pytest
from servers import PostgreSQL, RabbitMQ, Redis
from shop import NOTICED_SOON, MakeShop
from validate.document import parse
from waiting import until


@pytest.mark.proves("error-handling#dead-letters-in-the-database")
def test_concurrent_replays(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Final failures are kept with typed arguments. Four concurrent replays send one message, under the old id; the
    same without the row lock sends four. A replay whose publish fails keeps the letter open; a task that is not listed
    is never sent; a failure of the replay opens the letter again."""
    shop = shop("error-handling", redis, postgres)
    shop.tasks(
        """
        from accounts import tasks as page
        from celery import current_app
        from crm.client import CrmRejected
        from kombu.utils.json import loads
        from orders.models import DeadLetter

        def upsert(email, name, *, idempotency_key):
            note("upsert", key=idempotency_key)
            raise CrmRejected("422")

        page.upsert_contact = upsert

        @shared_task(name="proofs.typed")
        def typed(*args, **kwargs):
            note("typed")
            raise ValueError

        def unlocked(pk, both_have_read):
            letter = DeadLetter.objects.get(pk=pk, replayed=False)
            both_have_read.wait(30)
            letter.replayed = True
            letter.save()
            args, kwargs = loads(letter.payload)
            current_app.send_task(letter.name, args, kwargs, task_id=letter.task_id)
            return True
        """
    )
    worker = shop.worker("-c", "2")
    old = shop.do(
        """
        import datetime, decimal, uuid
        typed = [decimal.Decimal("1.10"), uuid.UUID(int=1), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)]
        user = User.objects.create(username="contact", email="contact@shop")
        result = app.send_task("accounts.sync_contact", [user.pk]).id
        app.send_task("proofs.typed", typed, {"amount": typed[0]})
        """
    )
    until(lambda: shop.ask("DeadLetter.objects.count()") == 2, what="both ended in the table")
    worker.stop()
    assert shop.do(
        """
        from kombu.utils.json import loads
        from orders.dead_letters import replay
        listed, unlisted = (DeadLetter.objects.get(name=name) for name in ("accounts.sync_contact", "proofs.typed"))
        args, kwargs = loads(unlisted.payload)
        result = [args == typed, kwargs == {"amount": typed[0]}, replay(unlisted.pk), listed.task_id]
        """
    ) == [True, True, False, old]

    waiting = redis.client()
    four = """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from django.db import connection
        from orders.dead_letters import replay
        from proofs.tasks import unlocked

        start = threading.Barrier(4)
        def one(_):
            try:
                {}
            finally:
                connection.close()
        with ThreadPoolExecutor(4) as pool:
            result = sorted(pool.map(one, range(4)))
    """
    assert shop.do(four.format("return unlocked(listed.pk, start)")) == [True] * 4
    assert waiting.llen("celery") == 4
    waiting.delete("celery")
    shop.do("DeadLetter.objects.update(replayed=False)")
    shop.do(
        """
        real = app.send_task
        def fails(*args, **kwargs):
            raise OSError
        app.send_task = fails
        try:
            replay(listed.pk)
        except OSError:
            pass
        app.send_task = real
        """
    )
    assert waiting.llen("celery") == 0 and shop.ask("DeadLetter.objects.filter(replayed=True).count()") == 0
    assert shop.do(four.format("start.wait(30); return replay(listed.pk)")) == [False, False, False, True]
    assert waiting.llen("celery") == 1
    shop.worker("-c", "1")
    until(lambda: shop.counts()["upsert"] == 2, what="the replay ran")
    assert {line["key"] for line in shop.ledger("upsert")} == {old}
    until(lambda: shop.ask("DeadLetter.objects.filter(replayed=False).count()") == 2, what="it is open again")
    assert shop.counts()["typed"] == 1
    evidence["figures"] |= {"messages of four concurrent replays": 1, "the same without the lock": 4}


@pytest.mark.proves("error-handling#dead-letters-in-rabbitmq")
def test_dead_letter_exchange(shop: MakeShop, rabbitmq: RabbitMQ, evidence: dict) -> None:
    """The page's policy takes effect on a queue that exists; until its command has made the exchange, dead letters
    vanish. A failed acks_late task is acked and reaches `dead` only with acks_on_failure=False or by a Reject; a hard
    time limit stays acked, and with acks_on_timeout=False it is requeued in a loop. A message that kills its child goes
    to `dead` after 11 runs, and the tasks beside it all run. What is in `dead` can be looked at 30 times; without
    the page's limit a quorum queue drops it at the 21st look."""
    queue = {"CELERY_TASK_DEFAULT_QUEUE": "default", "CELERY_TASK_DEFAULT_QUEUE_TYPE": "quorum"}
    shop = shop("error-handling", rabbitmq, **queue)
    shop.tasks(
        NOTICED_SOON,
        """
        import os, signal, time
        from celery.exceptions import Reject

        def fails(name):
            note(name)
            if name == "rejects":
                raise Reject("no", requeue=False)
            if name == "poison":
                os.kill(os.getpid(), signal.SIGKILL)
            if name.startswith("slow"):
                time.sleep(60)
            raise ValueError

        for name, options in {
            "acked": {},
            "fails": {"acks_on_failure": False},
            "rejects": {},
            "slow": {"acks_on_failure": False, "time_limit": 1},
            "slow_loop": {"acks_on_timeout": False, "time_limit": 1},
            "poison": {"acks_on_failure": False, "reject_on_worker_lost": True},
        }.items():
            shared_task(name="proofs." + name, acks_late=True, **options)(fails)

        @shared_task(name="proofs.innocent", acks_late=True)
        def innocent(): note("innocent")
        """,
    )
    host = shop.environment["SHOP_BROKER"].rpartition("/")[2]
    worker = shop.worker("-c", "2")

    def send(*names: str) -> list[str]:
        return shop.do(f"result = [app.send_task('proofs.' + name, [name]).id for name in {names}]")

    def messages() -> dict[str, int]:
        lines = rabbitmq.control("list_queues", "-p", host, "name", "messages", "--no-table-headers").splitlines()
        return {name: int(number) for name, number in (line.split("\t") for line in lines)}

    def dead() -> list[str]:
        return shop.do(
            """
            from orders.management.commands.declare_dead_letters import DEAD
            result = []
            with app.connection_for_read() as connection:
                queue = DEAD.bind(connection.channel())
                while message := queue.get():
                    result.append(message.headers["task"])
            """  # the channel's end gives them back
        )

    policy = next(fence for fence in parse("", PAGE.read_text()).fences if "set_policy" in fence.content)
    command = [host if part == "shop" else part for part in shlex.split(policy.content.replace("\\\n", ""))]
    rabbitmq.control(*command[1:])
    until(lambda: "dlx" in rabbitmq.control("list_queues", "-p", host, "name", "policy"), what="the policy applies")
    send("fails")
    until(lambda: "raised unexpected: ValueError" in worker.output, what="the first has failed")
    until(lambda: messages()["default"] == 0, what="it has vanished")
    shop.manage("declare_dead_letters")
    assert messages()["dead"] == 0

    ids = send("acked", "fails", "rejects", "slow", "poison")
    shop.do("for _ in range(10): app.send_task('proofs.innocent')")
    ended = f"[app.AsyncResult(id).state for id in {ids[:4]}]"
    until(lambda: shop.ask(ended) == ["FAILURE"] * 4, 60, "four have failed")
    until(lambda: {"default": 0, "dead": 3}.items() <= messages().items(), 60, "the dead letters are in their queue")
    assert sorted(dead()) == ["proofs.fails", "proofs.poison", "proofs.rejects"]
    looks = shop.do(
        """
        import time
        from kombu import Queue

        def look(queue):
            end = time.monotonic() + 3  # what was published or put back is there a moment later
            while time.monotonic() < end:
                if message := queue.get():
                    return message
                time.sleep(0.02)

        plain = Queue("plain", durable=True, queue_arguments={"x-queue-type": "quorum"})
        result = {}
        with app.connection_for_read() as connection:
            plain.bind(connection.default_channel).declare()
            connection.Producer().publish({}, routing_key="plain")
            for name in ("plain", "dead"):
                bound = Queue(name, no_declare=True).bind(connection.default_channel)
                result[name] = 0
                while result[name] < 30 and (message := look(bound)):
                    result[name] += 1
                    message.requeue()
        """
    )
    assert looks == {"plain": 21, "dead": 30}
    runs = {"acked": 1, "fails": 2, "rejects": 1, "slow": 1, "poison": 11, "innocent": 10}
    assert {name: shop.counts()[name] for name in runs} == runs
    send("slow_loop")
    until(lambda: shop.counts()["slow_loop"] == 3, 40, "a timeout that is not acked comes again")
    worker.kill()
    evidence["figures"] |= {"runs of a poison message, delivery-limit 10": 11, "looks at a dead letter": looks}


PAGE = pages.SKILL / "references" / "error-handling.md"
