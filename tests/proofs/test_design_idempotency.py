"""task-design-patterns: one message delivered fifty times at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers import PostgreSQL, RabbitMQ, Redis
from shop import MakeShop, Shop
from waiting import until

COPIES = 50

# What the page's fake of a remote system was asked for.
REMOTE = """
from crm import client
from celery.signals import task_success

def upsert(email, name, *, idempotency_key):
    note("upsert", key=idempotency_key)

client.upsert_contact = upsert

@task_success.connect
def ended(sender, **extra):
    note("ended", task=sender.name)
"""


@contextmanager
def gate(shop: Shop, postgres: PostgreSQL, hold: str) -> Iterator[None]:
    """Hold what the copies of a message need until all of them stand there, so that they race at the worst moment."""
    name = shop.environment["SHOP_DB"].rpartition("/")[2]
    waiting = "SELECT count(*) = %s FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    shop.do(f"from django.db import transaction\nheld = transaction.atomic(); held.__enter__()\n{hold}")
    yield
    with postgres.connect() as connection:
        until(lambda: connection.execute(waiting, [COPIES, name]).fetchone()[0], 60, "all copies wait for the gate")
    shop.do("transaction.set_rollback(True); held.__exit__(None, None, None)")


def send(shop: Shop, task: str, *arguments: object) -> None:
    shop.do(f"for _ in range({COPIES}): app.send_task({task!r}, {arguments})")


def ended(shop: Shop, task: str, copies: int = COPIES) -> None:
    until(lambda: sum(line["task"] == task for line in shop.ledger("ended")) == copies, 60, f"{task} ended")


@pytest.mark.proves("task-design-patterns#idempotency")
def test_fifty_deliveries_at_once(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Fifty copies of one message, which all wait for the same row and are let go together, give the customer his ten
    points once through the conditional UPDATE; `F()` alone and read-check-save give 500. Fifty copies of the page's
    closing and trimming tasks leave what one leaves, and a late copy reopens nothing. Of fifty copies of the claimed
    effect one calls the remote system; a claim that is written after the call lets all fifty through."""
    shop = shop("task-design-patterns", redis, postgres)
    shop.tasks(
        REMOTE,
        """
        from accounts import tasks as page
        from accounts.models import User
        from django.db.models import F
        from django.utils import timezone
        from orders.models import Order, TaskClaim

        page.add_contact.default_retry_delay = 1

        @shared_task(name="proofs.f_alone")
        def f_alone(order_pk):
            User.objects.filter(orders=order_pk).update(points=F("points") + 10)

        @shared_task(name="proofs.read_check_save")
        def read_check_save(order_pk):
            order = Order.objects.get(pk=order_pk)
            if order.status == "paid":
                order.status = "confirmed"
                order.save()
                f_alone(order_pk)

        @shared_task(name="proofs.claim_afterwards")
        def claim_afterwards(user_pk):
            key, now = f"add-contact:{user_pk}", timezone.now()
            if not TaskClaim.objects.filter(key=key).exists():
                client.upsert_contact("", "", idempotency_key=key)
                TaskClaim.objects.get_or_create(key=key, defaults={"leased_until": now, "done_at": now})
        """,
    )
    shop.worker("-P", "threads", "-c", str(COPIES))
    points = {}
    for number, task in enumerate(("orders.confirm_order", "proofs.f_alone", "proofs.read_check_save")):
        order = shop.do(
            f"user = User.objects.create(username='{number}')\n"
            "order = Order.objects.create(customer=user, status='paid'); result = order.pk"
        )
        rows = "list(Order.objects.select_for_update()), list(User.objects.select_for_update())"
        with gate(shop, postgres, rows):
            send(shop, task, order)
        ended(shop, task)
        points[task.partition(".")[2]] = shop.ask(f"User.objects.get(orders={order}).points")
    assert points == {"confirm_order": 10, "f_alone": 10 * COPIES, "read_check_save": 10 * COPIES}

    with gate(shop, postgres, rows):
        send(shop, "orders.close_order", [True], order)
    ended(shop, "orders.close_order")
    assert shop.ask(f"Order.objects.get(pk={order}).status") == "shipped"
    shop.do(f"Order.objects.filter(pk={order}).update(status='cancelled')")
    shop.do(f"app.send_task('orders.close_order', [[True], {order}])")
    ended(shop, "orders.close_order", COPIES + 1)
    assert shop.ask(f"Order.objects.get(pk={order}).status") == "cancelled"
    product = shop.do("result = Product.objects.create(sku='a', name='  a  ', price=1).pk")
    with gate(shop, postgres, "list(Product.objects.select_for_update())"):
        send(shop, "catalog.trim_names", product, product)
    ended(shop, "catalog.trim_names")
    assert shop.ask(f"Product.objects.get(pk={product}).name") == "a"

    calls = {}
    for task in ("accounts.add_contact", "proofs.claim_afterwards"):
        user = shop.do(f"result = User.objects.create(username={task!r}).pk")
        key = f"add-contact:{user}"
        claim = f"from django.utils import timezone\nTaskClaim.objects.create(key={key!r}, leased_until=timezone.now())"
        with gate(shop, postgres, claim):
            send(shop, task, user)
        ended(shop, task)
        calls[task.partition(".")[2]] = len([line for line in shop.ledger("upsert") if line["key"] == key])
    assert calls == {"add_contact": 1, "claim_afterwards": COPIES}
    evidence["figures"] |= {f"points after {COPIES} deliveries, {name}": value for name, value in points.items()}
    evidence["figures"] |= {f"remote calls of {COPIES} deliveries, {name}": value for name, value in calls.items()}


@pytest.mark.proves("task-design-patterns#idempotency")
def test_claim_of_a_dead_holder(shop: MakeShop, rabbitmq: RabbitMQ, postgres: PostgreSQL) -> None:
    """A worker dies between the remote call and done_at. The redelivery finds the lease taken, comes again after it,
    and repeats the call with the same key; a task that returns when it finds a claim reports success and never does.
    """
    shop = shop("task-design-patterns", rabbitmq, postgres)
    shop.tasks(
        REMOTE,
        """
        import time
        from accounts import tasks as page
        from django.utils import timezone
        from orders.models import TaskClaim

        answer = client.upsert_contact

        def hangs_once(*args, idempotency_key):
            answer(*args, idempotency_key=idempotency_key)
            if not TaskClaim.objects.filter(key="answered " + idempotency_key).exists():
                TaskClaim.objects.create(key="answered " + idempotency_key, leased_until=timezone.now())
                note("hangs")
                time.sleep(1000)

        client.upsert_contact = hangs_once
        # The page's retry comes after its lease; here it comes often, and the proof ends the lease.
        page.add_contact.default_retry_delay, page.add_contact.max_retries = 0.2, None

        @shared_task(name="proofs.returns", acks_late=True)
        def returns(user_pk):
            key, now = f"returns:{user_pk}", timezone.now()
            claim, first = TaskClaim.objects.get_or_create(key=key, defaults={"leased_until": now})
            if not first:
                return
            client.upsert_contact("", "", idempotency_key=key)
            TaskClaim.objects.filter(key=key).update(done_at=timezone.now())
        """,
    )
    worker = shop.worker("-c", "2")
    user = shop.do(
        """
        from django.utils import timezone
        result = User.objects.create(username="a").pk
        for name in ("accounts.add_contact", "proofs.returns"):
            app.send_task(name, [result])
        """
    )
    until(lambda: shop.counts()["hangs"] == 2, what="both have called")
    worker.kill()
    worker = shop.worker("-c", "2")
    until(lambda: worker.output.count("Busy") >= 2 and shop.ledger("ended"), what="one has ended, one comes again")
    assert len(shop.ledger("upsert")) == 2
    shop.do("TaskClaim.objects.update(leased_until=timezone.now())")
    until(lambda: len(shop.ledger("ended")) == 2, what="both have ended")
    calls = [line["key"] for line in shop.ledger("upsert")]
    assert (calls.count(f"add-contact:{user}"), calls.count(f"returns:{user}")) == (2, 1)
    done = "TaskClaim.objects.filter(done_at__isnull=False).values_list('key', flat=True)"
    assert shop.ask(f"list({done})") == [f"add-contact:{user}"]
