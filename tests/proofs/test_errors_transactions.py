"""error-handling: a retry and the transaction around it."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("error-handling#retry-and-transactions")
def test_retry_inside_and_outside(shop: MakeShop, redis: Redis, postgres: PostgreSQL) -> None:
    """A retry raised inside `atomic` undoes each attempt's counter and drops its on_commit: three runs leave one,
    raised outside they leave three. A locked row (nowait) and a deadlock end a task without autoretry; with
    autoretry_for=(OperationalError,) it runs again in a transaction of its own, and each write is there once."""
    shop = shop("error-handling", redis, postgres)
    shop.tasks(
        """
        import time
        from django.db import OperationalError, transaction
        from django.db.models import F
        from orders.models import Order
        from proofs import ledger

        def add(pk):
            Order.objects.filter(pk=pk).update(total=F("total") + 1)

        @shared_task(bind=True, max_retries=2, default_retry_delay=0)
        def inside(self, pk):
            note("inside")
            with transaction.atomic():
                add(pk)
                transaction.on_commit(lambda: note("inside, committed"))
                if self.request.retries < 2:
                    raise self.retry()

        @shared_task(bind=True, max_retries=2, default_retry_delay=0)
        def outside(self, pk):
            note("outside")
            with transaction.atomic():
                add(pk)
                transaction.on_commit(lambda: note("outside, committed"))
            if self.request.retries < 2:
                raise self.retry()

        def locked(pk):
            note("locked %s" % pk)
            with transaction.atomic():
                Order.objects.select_for_update(nowait=True).get(pk=pk)
                add(pk)

        def crossed(name, first, second):
            with transaction.atomic():
                add(first)
                note(name)
                while sum(name in line for line in open(ledger.os.environ["SHOP_LEDGER"])) < 2:
                    time.sleep(0.02)
                add(second)

        again = {"autoretry_for": (OperationalError,), "max_retries": None, "default_retry_delay": 0}
        for run in (locked, crossed):
            shared_task(name="proofs." + run.__name__)(run)
            shared_task(name="proofs.again_" + run.__name__, **again)(run)
        """
    )
    worker = shop.worker("-c", "2")
    pks = shop.do(
        """
        user = User.objects.create(username="customer")
        result = [Order.objects.create(customer=user).pk for _ in range(8)]
        """
    )
    totals = f"[int(Order.objects.get(pk=pk).total) for pk in {pks}]"

    def send(name: str, *args: object) -> str:
        return shop.do(f"result = app.send_task('proofs.{name}', {args!r}).id")

    def states(*ids: str) -> list[str]:
        return sorted(shop.ask(f"[app.AsyncResult(id).state for id in {ids!r}]"))

    for number, name in enumerate(("inside", "outside")):
        task_id = shop.do(f"result = app.send_task('proofs.tasks.{name}', [{pks[number]}]).id")
        until(lambda task_id=task_id: states(task_id) == ["SUCCESS"], what=f"{name} ended")
    counts = {name: shop.counts()[name] for name in ("inside", "inside, committed", "outside", "outside, committed")}
    assert counts == {"inside": 3, "inside, committed": 1, "outside": 3, "outside, committed": 3}

    with postgres.connect(shop.environment["SHOP_DB"].rpartition("/")[2]) as connection:
        with connection.transaction():
            connection.execute("SELECT 1 FROM orders_order WHERE id IN (%s, %s) FOR UPDATE", pks[2:4])
            wrong, right = send("locked", pks[2]), send("again_locked", pks[3])
            until(lambda: states(wrong) == ["FAILURE"], what="the one is given up")
            until(lambda: shop.counts()[f"locked {pks[3]}"] > 1, what="the other is tried again")
        until(lambda: states(right) == ["SUCCESS"], what="it got the lock")

    one, two, three, four = pks[4:]
    ids = send("crossed", "wrong", one, two), send("crossed", "wrong", two, one)
    until(lambda: states(*ids) == ["FAILURE", "SUCCESS"], what="PostgreSQL ended one of the two")
    ids = send("again_crossed", "right", three, four), send("again_crossed", "right", four, three)
    until(lambda: states(*ids) == ["SUCCESS", "SUCCESS"], what="both ended")
    assert worker.output.count("deadlock detected") and shop.counts()["right"] >= 3
    assert shop.ask(totals) == [1, 3, 0, 1, 1, 1, 2, 2]
