"""django-integration: work that must happen although its message was lost."""

from __future__ import annotations

import json
import signal
import textwrap

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop, Raised
from waiting import until

SIGN_UP = """
import os, signal
from django.db import connection, transaction
from accounts.models import CrmSync
from accounts.tasks import push_contact

def sign_up(name, dies=False):
    with transaction.atomic():
        user = User.objects.create(username=name, email=name + "@shop")
        sync = CrmSync.objects.create(user=user)
        if dies:
            transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
        push_contact.delay_on_commit(sync.pk)
"""


@pytest.mark.proves("django-integration#guaranteed-delivery")
def test_sweeper_recovers(shop: MakeShop, own_redis: Redis, postgres: PostgreSQL) -> None:
    """A process killed between commit and publish, and a sign-up while the broker is down, leave a row and no message.
    Once their lease has run out the page's sweep publishes both, however old they are, and the worker finishes each; a
    bound on the row's age, or on how often it was published while no worker was there, would have given both up."""
    shop = shop("django-integration", own_redis, postgres, results="django-db")
    web = shop.python("web", "manage.py", "shell", "-c", SIGN_UP + "sign_up('killed', dies=True)")
    assert web.process.wait(30) == -signal.SIGKILL
    own_redis.kill()
    shop.do(SIGN_UP)
    with pytest.raises(Raised, match="OperationalError"):
        shop.do("sign_up('refused')")
    own_redis.start()
    shop.do(
        """
        from datetime import timedelta
        from django.db.models import F
        from django.utils import timezone
        from accounts.tasks import sweep_crm
        from shop.sweeper import sweep

        pending = CrmSync.objects.filter(done_at=None)
        """
    )
    queue, runs = own_redis.client(), "sorted(CrmSync.objects.values_list('user__username', 'runs'))"
    shop.do("sweep_crm()")
    assert queue.llen("celery") == 0  # their lease still runs
    shop.do(
        """
        User.objects.update(date_joined=F("date_joined") - timedelta(days=1))
        for _ in range(21):
            pending.update(queued_at=F("queued_at") - timedelta(days=1))
            sweep_crm()
        pending.update(queued_at=F("queued_at") - timedelta(days=1))
        """
    )
    assert queue.llen("celery") == 42 and shop.ask(runs) == [["killed", 0], ["refused", 0]]
    queue.delete("celery")
    shop.worker("-c", "1")
    too_old = "sweep(pending.filter(user__date_joined__gt=timezone.now() - timedelta(hours=6)), push_contact, {})"
    assert shop.ask(too_old.format("timedelta(minutes=15)")) == 0
    shop.do("sweep_crm.delay().get(timeout=30)")
    until(lambda: not shop.ask("pending.count()"), what="both are done")
    assert shop.ask(runs) == [["killed", 1], ["refused", 1]]
    assert shop.ask("User.objects.filter(crm_id='').count()") == 0


# What `call` returns in four threads that start together, each with a connection of its own.
AT_ONCE = """
import threading
from concurrent.futures import ThreadPoolExecutor
from django.db import connection

start = threading.Barrier(4)

def four_times(call):
    def one(_):
        try:
            start.wait(30)
            return call()
        finally:
            connection.close()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(4)))
"""


@pytest.mark.proves("django-integration#guaranteed-delivery")
def test_lease_bounds_the_backlog(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Four concurrent sweeps of three due rows send three messages, and the next sweep none until the lease has run
    out again; without the lease every sweep sends every row. A message that waited longer than its lease is dropped
    in favour of its successor: two copies, one call."""
    shop = shop("django-integration", redis, postgres)
    shop.tasks(
        """
        from accounts import tasks as page
        from accounts.models import CrmSync

        def upsert(email, name, *, idempotency_key):
            note("called")
            return "crm"

        page.upsert_contact = upsert

        def without_a_lease():
            for pk in CrmSync.objects.filter(done_at=None).values_list("pk", flat=True):
                page.push_contact.delay(pk)
        """
    )
    shop.do(SIGN_UP.replace("push_contact.delay_on_commit(sync.pk)", "pass"))
    shop.do(AT_ONCE)
    shop.do(
        """
        from datetime import timedelta
        from django.db.models import F
        from accounts.tasks import sweep_crm
        from proofs.tasks import without_a_lease
        from shop.sweeper import sweep

        for name in "abc":
            sign_up(name)
        def age(**lease):
            CrmSync.objects.update(queued_at=F("queued_at") - timedelta(**lease))
        age(minutes=16)
        four_times(sweep_crm)
        """
    )
    waiting = redis.client()
    assert waiting.llen("celery") == 3
    evidence["figures"]["messages of four sweeps over 3 rows"] = 3
    shop.do("sweep_crm(); sweep_crm()")
    assert waiting.llen("celery") == 3
    shop.do("four_times(without_a_lease)")
    assert waiting.llen("celery") == 15
    evidence["figures"]["the same without a lease"] = 12

    waiting.flushdb()
    shop.do(
        """
        import time
        for lease in (timedelta(seconds=1), timedelta(minutes=1)):
            age(hours=1)
            sweep(CrmSync.objects.all(), push_contact, lease)
        first_expired = time.monotonic() + 1
        """
    )
    assert waiting.llen("celery") == 6
    until(lambda: shop.ask("time.monotonic() > first_expired"), what="the first three messages expired")
    worker = shop.worker("-c", "1")
    until(lambda: not shop.ask("CrmSync.objects.filter(done_at=None).count()"), what="all are done")
    until(lambda: not waiting.exists("celery", "unacked"), what="the queue is empty")
    assert shop.counts()["called"] == 3 == worker.output.count("Discarding revoked task")


@pytest.mark.proves("django-integration#guaranteed-delivery")
def test_outbox_recovers(shop: MakeShop, own_redis: Redis, postgres: PostgreSQL) -> None:
    """While the broker is down the relay keeps every row, and publishes them in order once it is back; a bad row stays,
    is logged, and does not hold up those behind it; a rolled-back row is never sent. A relay killed between publish and
    commit publishes the same message id again."""
    shop = shop("django-integration", own_redis, postgres, results="django-db")
    shop.do(
        """
        import os, signal
        from unittest.mock import patch
        from django.db import transaction
        from orders.models import Outbox
        from orders.tasks import relay_outbox

        def order(*args, rollback=False):
            with transaction.atomic():
                Outbox.objects.create(task="orders.send_receipt", args=args[0] if args[0] == "bad" else args)
                transaction.set_rollback(rollback)

        order(1)
        order("bad")
        order(2, rollback=True)
        order(3)
        """
    )
    own_redis.kill()
    shop.do("relay_outbox()")
    assert shop.ask("Outbox.objects.count()") == 3
    own_redis.start()
    shop.do("relay_outbox()")
    assert messages(own_redis) == ["(1,)", "(3,)"]
    assert shop.ask("[row.args for row in Outbox.objects.all()]") == ["bad"]

    own_redis.client().flushdb()
    ids = shop.do("Outbox.objects.all().delete(); order(4); result = [row.pk for row in Outbox.objects.all()]")
    relay = """
        from orders.tasks import Outbox, relay_outbox
        import os, signal
        Outbox.objects.filter = lambda **rows: os.kill(os.getpid(), signal.SIGKILL)
        relay_outbox()
    """
    killed = shop.python("relay", "manage.py", "shell", "-c", textwrap.dedent(relay))
    assert killed.process.wait(30) == -signal.SIGKILL
    until(lambda: messages(own_redis, "id") == ids, what="its message is out")
    shop.do("relay_outbox()")
    assert messages(own_redis, "id") == ids * 2 and shop.ask("Outbox.objects.count()") == 0


def messages(redis: Redis, header: str = "argsrepr") -> list[str]:
    """A header of each waiting message, the oldest first."""
    return [json.loads(message)["headers"][header] for message in redis.client().lrange("celery", 0, -1)[::-1]]


@pytest.mark.proves("django-integration#guaranteed-delivery")
def test_concurrent_relays(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Four relays at once publish each of 40 rows once; the same relay without the row lock publishes each four
    times."""
    shop = shop("django-integration", redis, postgres)
    shop.do(AT_ONCE)
    shop.do(
        """
        from unittest.mock import patch
        from django.db.models import QuerySet
        from orders.models import Outbox
        from orders.tasks import relay_outbox

        real, published = Outbox.objects.filter, threading.Barrier(4)

        def delete_when_all_have_published(**rows):
            published.wait(30)
            return real(**rows)

        def relay():
            Outbox.objects.bulk_create(Outbox(task="orders.send_receipt", args=[n]) for n in range(40))
            with patch.object(Outbox.objects, "filter", delete_when_all_have_published):
                four_times(relay_outbox)
        """
    )
    shop.do("relay()")
    assert len(messages(redis)) == len(set(messages(redis, "id"))) == 40
    redis.client().flushdb()
    unlocked = """
        with patch.object(QuerySet, "select_for_update", lambda rows, **options: rows.all()):
            relay()
    """
    shop.do(unlocked)
    assert len(messages(redis)) == 160 and len(set(messages(redis, "id"))) == 40
    evidence["figures"] |= {"messages of four relays over 40 rows": 40, "the same without the lock": 160}
