"""django-integration: calls to other systems, second deliveries and stale rows."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis
from shop import NOTICED_SOON, MakeShop
from waiting import until

# A remote system that keeps one contact for each key, and a new one for each call without a key.
CRM = """
import os, signal, uuid
from django.db import connection, transaction
from django.utils import timezone
from accounts import tasks as page
from accounts.models import CrmSync, User

def contact(key, dies):
    note("contact", key=key, in_transaction=connection.in_atomic_block)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return "crm-" + key

def first_time(user):
    flag = os.path.join(os.path.dirname(os.environ["SHOP_LEDGER"]), user)
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def upsert(email, name, *, idempotency_key):
    return contact(idempotency_key, dies=first_time(email))

page.upsert_contact = upsert

@shared_task
def without_a_key(sync_pk):
    sync = CrmSync.objects.get(pk=sync_pk)
    if not sync.done_at:
        contact(uuid.uuid4().hex, dies=first_time("without_a_key"))
        CrmSync.objects.filter(pk=sync_pk).update(done_at=timezone.now())

@shared_task(bind=True)
def keyed_by_the_request(self, sync_pk):
    sync = CrmSync.objects.get(pk=sync_pk)
    if not sync.done_at:
        contact(self.request.id, dies=self.request.retries and first_time("keyed_by_the_request"))
        if not self.request.retries:
            raise self.retry(countdown=0)
        CrmSync.objects.filter(pk=sync_pk).update(done_at=timezone.now())

@shared_task
def marked_first(sync_pk):
    if CrmSync.objects.filter(pk=sync_pk, done_at=None).update(done_at=timezone.now()):
        if first_time("marked_first"):
            os.kill(os.getpid(), signal.SIGKILL)
        contact("marked", dies=False)

@shared_task
def inside_atomic(sync_pk):
    with transaction.atomic():
        CrmSync.objects.select_for_update().get(pk=sync_pk)
        contact("inside", dies=False)
        note("holds")
        while not os.path.exists(os.environ["SHOP_LEDGER"] + ".go"):
            pass
        raise ValueError
"""


@pytest.mark.proves("django-integration#external-calls-and-database-writes")
def test_killed_after_the_call(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """A worker process is killed between the call and the write, and the row is swept: with the row's key the remote
    system has one contact, without a key two, and two with the request's id, which survives a retry but no sweep.
    Marking the row done before the call loses the call. A call inside `atomic` keeps the row locked, and its contact
    stays when the transaction is rolled back."""
    shop = shop("django-integration", redis, postgres)
    shop.tasks(NOTICED_SOON, CRM)
    shop.worker("-c", "1")
    shop.do(
        """
        from datetime import timedelta
        from django.utils import timezone
        from accounts.tasks import push_contact
        from proofs import tasks
        from shop.sweeper import sweep

        def start(task):
            user = User.objects.create(username=task.name, email=task.name + "@shop")
            sync = CrmSync.objects.create(user=user, queued_at=timezone.now() - timedelta(hours=1))
            task.delay(sync.pk)
            return sync.pk
        """
    )
    results = redis.client(1)
    keys, swept = {}, {}

    def a_child_died() -> bool:
        return any(b"WorkerLostError" in results.get(key) for key in results.keys("celery-task-meta-*"))

    for name in ("push_contact", "tasks.without_a_key", "tasks.keyed_by_the_request", "tasks.marked_first"):
        before = len(shop.ledger("contact"))
        pk = shop.do(f"result = start({name})")
        until(a_child_died, what=f"{name} is lost")
        results.flushdb()
        swept[name] = shop.ask(f"sweep(CrmSync.objects.filter(pk={pk}, done_at=None), {name}, timedelta(minutes=1))")
        until(lambda pk=pk: shop.ask(f"CrmSync.objects.get(pk={pk}).done_at"), what=f"{name} is done")
        keys[name] = len({line["key"] for line in shop.ledger("contact")[before:]})
    assert list(keys.values()) == [1, 2, 2, 0]
    assert list(swept.values()) == [1, 1, 1, 0]
    assert {line["in_transaction"] for line in shop.ledger("contact")} == {False}
    evidence["figures"] |= {f"contacts, {name.removeprefix('tasks.')}": count for name, count in keys.items()}

    pk = shop.do("result = start(tasks.inside_atomic)")
    until(lambda: shop.counts()["holds"], what="the call was made")
    with postgres.connect(shop.environment["SHOP_DB"].rpartition("/")[2]) as connection:
        free = "SELECT count(*) FROM (SELECT FROM accounts_crmsync WHERE id = %s FOR UPDATE SKIP LOCKED) AS row"
        assert connection.execute(free, [pk]).fetchone() == (0,)
        (shop.folder / "ledger.jsonl.go").touch()
        until(lambda: connection.execute(free, [pk]).fetchone() == (1,), what="the row is free again")
    assert shop.ask(f"CrmSync.objects.get(pk={pk}).done_at") is None
    assert shop.ledger("contact")[-1]["key"] == "inside"


# `twice(call)` and `often(n, call)`: what calls that start together return or raise, each on its own connection.
TOGETHER = """
import threading
from concurrent.futures import ThreadPoolExecutor
from django.db import connection, transaction
from django.db.models import F
from catalog.models import Product

def often(times, call):
    start = threading.Barrier(times)
    def one(_):
        try:
            start.wait(30)
            return call()
        except Exception as error:
            return type(error).__name__
        finally:
            connection.close()
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))
"""


@pytest.mark.proves("django-integration#idempotent-orm-writes")
def test_deliveries_at_once(shop: MakeShop, postgres: PostgreSQL, evidence: dict) -> None:
    """50 concurrent deliveries of the page's `award_points` give the points once; 50 of a bare F() update give them 50
    times. A conditional update and a row lock have one winner each, get_or_create on a unique key makes one row, and
    bulk_create with update_conflicts keeps one row for each key."""
    shop = shop("django-integration", database=postgres)
    shop.do(TOGETHER)
    shop.do(
        """
        from accounts.tasks import award_points
        user = User.objects.create(username="customer")
        order = Order.objects.create(customer=user, total=10)

        def points(call):
            User.objects.update(points=0)
            often(50, call)
            return User.objects.get().points

        def bare():
            User.objects.filter(pk=user.pk).update(points=F("points") + 10)

        def conditional():
            return Order.objects.filter(pk=order.pk, status="new").update(status="paid") == 1

        def locked():
            with transaction.atomic():
                row = Order.objects.select_for_update(no_key=True).get(pk=order.pk)
                if row.status != "paid":
                    return False
                row.status = "shipped"
                row.save(update_fields=["status"])
                return True

        def created():
            return Product.objects.get_or_create(sku="one", defaults={"name": "one", "price": 1})[1]

        def upserted():
            rows = [Product(sku=sku, name="n", price=1) for sku in "ab"]
            update = {"update_conflicts": True, "unique_fields": ["sku"], "update_fields": ["price"]}
            Product.objects.bulk_create(rows, **update)
        """
    )
    assert shop.ask("points(bare)") == 500
    assert shop.ask("points(lambda: award_points(order.pk))") == 10
    for way in ("conditional", "locked", "created"):
        assert sorted(shop.ask(f"often(20, {way})")) == [False] * 19 + [True], way
    assert set(shop.ask("often(20, upserted)")) == {None}
    assert shop.ask("sorted(Product.objects.values_list('sku', flat=True))") == ["a", "b", "one"]
    evidence["figures"] |= {"points, 50 deliveries": 10, "points, 50 deliveries of a bare F()": 500}


@pytest.mark.proves("django-integration#idempotent-orm-writes")
def test_wrong_writes(shop: MakeShop, postgres: PostgreSQL) -> None:
    """Two deliveries of F("points") + 10 in update_or_create(defaults=) give 20. Without a unique constraint two
    concurrent get_or_create leave two rows, and the next call raises MultipleObjectsReturned. select_for_update()
    blocks the insert of a child row, with no_key=True it goes through."""
    shop = shop("django-integration", database=postgres)
    shop.do(TOGETHER)
    assert shop.do(
        """
        from django.db import OperationalError
        from django.db.models.query import QuerySet
        from unittest.mock import patch

        user = User.objects.create(username="customer")
        for _ in range(2):
            User.objects.update_or_create(pk=user.pk, defaults={"points": F("points") + 10})
        both_have_looked, get = threading.Barrier(2), QuerySet.get

        def look(rows, *args, **named):
            try:
                return get(rows, *args, **named)
            finally:
                both_have_looked.wait(30)

        def create():
            return Product.objects.get_or_create(name="same", defaults={"price": 1, "sku": threading.get_ident()})[1]

        with patch.object(QuerySet, "get", look):
            made = often(2, create)
        result = [User.objects.get().points, made, often(1, create)]
        """
    ) == [20, [True, True], ["MultipleObjectsReturned"]]
    assert shop.do(
        """
        def child_of_locked(**how):
            with transaction.atomic():
                User.objects.select_for_update(**how).get(pk=user.pk)
                def insert():
                    with connection.cursor() as cursor:
                        cursor.execute("SET lock_timeout = '200ms'")
                    Order.objects.create(customer_id=user.pk)
                return often(1, insert)

        result = child_of_locked() + child_of_locked(no_key=True)
        """
    ) == ["OperationalError", None]


@pytest.mark.proves("django-integration#fresh-rows")
def test_stale_rows(shop: MakeShop) -> None:
    """The page's `send_receipt` reads the primary: the row that the router's lagging replica lacks is found, where a
    plain get() raises DoesNotExist; an order deleted meanwhile is logged and skipped. A bare save() puts back a status
    changed meanwhile; save(update_fields=) and update() leave it."""
    shop = shop("django-integration")
    assert (
        shop.do(
            """
        import shutil
        from django.core import mail
        from django.db import connections, router
        from orders.tasks import logger, send_receipt
        from unittest.mock import patch

        class ReadsTheReplica:
            def db_for_read(self, model, **hints):
                return "replica"

        default = connections.settings["default"]
        connections.settings["replica"] = {**default, "NAME": default["NAME"] + ".replica"}
        shutil.copy(default["NAME"], connections.settings["replica"]["NAME"])
        user = User.objects.create(username="customer", email="customer@shop")
        order = Order.objects.create(customer=user)
        router.routers = [ReadsTheReplica()]
        send_receipt(order.pk)
        try:
            Order.objects.get(pk=order.pk)
        except Order.DoesNotExist:
            result = len(mail.outbox)
        router.routers = []
        """
        )
        == 1
    )
    assert shop.do(
        """
        with patch.object(logger, "warning") as warning:
            send_receipt(0)
        result = [len(mail.outbox), warning.call_args.args]
        """
    ) == [1, ["Order %s is gone", 0]]
    assert shop.do(
        """
        def status_after(write):
            Order.objects.update(status="new")
            read = Order.objects.get()
            read.total = 5
            Order.objects.update(status="cancelled")
            write(read)
            return Order.objects.get().status

        result = [
            status_after(lambda read: read.save()),
            status_after(lambda read: read.save(update_fields=["total"])),
            status_after(lambda read: Order.objects.filter(pk=read.pk).update(total=5)),
        ]
        """
    ) == ["new", "cancelled", "cancelled"]
