"""task-design-patterns: one message delivered fifty times at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers import PostgreSQL, Redis
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


def send(shop: Shop, task: str, argument: int) -> None:
    shop.do(f"for _ in range({COPIES}): app.send_task({task!r}, [{argument}])")


def ended(shop: Shop, task: str) -> None:
    until(lambda: len([line for line in shop.ledger("ended") if line["task"] == task]) == COPIES, 60, f"{task} ended")


@pytest.mark.proves("task-design-patterns#idempotency")
def test_fifty_deliveries_at_once(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Fifty copies of one message, which all wait for the same row and are let go together, give the customer his ten
    points once through the conditional UPDATE; `F()` alone and read-check-save give 500. Of fifty copies of the
    claimed effect one calls the remote system; a claim that is written after the call lets all fifty through."""
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
