"""django-integration: what the page's tests notice, and what eager mode does not show."""

from __future__ import annotations

import re

import pytest
from servers import PostgreSQL, Redis
from shop import NOTICED_SOON, MakeShop, Shop
from waiting import stays, until

# What the page says of TestCase, as a test: nothing commits in it, so nothing is sent.
UNCAPTURED = """

class Uncaptured(TestCase):
    def test_nothing_is_sent(self):
        user = User.objects.create(username="ada")
        with patch.object(send_receipt, "apply_async") as publish:
            place_order(user.pk)
        publish.assert_not_called()
"""


def changed(shop: Shop, file: str, old: str, new: str) -> None:
    path = shop.folder / file
    text = path.read_text()
    assert old in text, f"{file} has no {old}"
    path.write_text(text.replace(old, new))


@pytest.mark.proves("django-integration#testing")
def test_the_pages_tests(shop: MakeShop, postgres: PostgreSQL) -> None:
    """The page's tests hold on PostgreSQL with a real worker in a thread. They fail when the service publishes with
    `.delay()`, when `award_points` loses its guard, and when the worker's test is a TestCase, whose rows the worker
    cannot see. In a TestCase without captureOnCommitCallbacks nothing is sent."""
    shop = shop("django-integration", database=postgres)
    shop.manage("makemigrations", "--verbosity", "0")
    with (shop.folder / "orders" / "tests.py").open("a") as tests:
        tests.write(UNCAPTURED)
    shop.manage("test", "orders", "--noinput", "--keepdb")
    changed(shop, "orders/services.py", "delay_on_commit", "delay")
    changed(shop, "accounts/tasks.py", "if created:", "if True:")
    changed(shop, "orders/tests.py", "(TransactionTestCase)", "(TestCase)")
    with pytest.raises(AssertionError) as failures:
        shop.manage("test", "orders", "--noinput", "--keepdb")
    named = set(re.findall(r"^(?:FAIL|ERROR): (\w+)", str(failures.value), re.MULTILINE))
    assert named == {"test_publishes_after_commit", "test_second_delivery", "test_receipt", "test_nothing_is_sent"}


TASKS = """
import os, time

in_worker = "IN_WORKER" in os.environ

@shared_task(bind=True, max_retries=1)
def retried(self):
    note("retried")
    if not self.request.retries:
        raise self.retry(countdown=600)

@shared_task(time_limit=1)
def limited():
    time.sleep(60 if in_worker else 1.2)
    note("limited")

@shared_task
def routed(): note("routed")

@shared_task(acks_late=True, reject_on_worker_lost=True)
def redelivered():
    note("redelivered")
    if in_worker and sum("redelivered" in line for line in open(os.environ["SHOP_LEDGER"])) == 1:
        os.kill(os.getpid(), 9)

@shared_task
def returns(): return 1
"""


@pytest.mark.proves("django-integration#testing")
def test_what_eager_hides(shop: MakeShop, redis: Redis) -> None:
    """Eager mode runs a retry at once, past a time limit, whatever the queue, never a second time, and a result looked
    up by its id is PENDING. A worker waits with the retry, kills at the limit, leaves the queue it does not consume,
    runs a task again whose process died, and answers by id."""
    send = """
        import proofs.tasks
        ids = {name: app.tasks["proofs.tasks." + name].delay().id
               for name in ("retried", "limited", "routed", "redelivered", "returns")}
        def state(name):
            return app.AsyncResult(ids[name]).state
    """
    routes = {"CELERY_TASK_ROUTES": {"proofs.tasks.routed": {"queue": "elsewhere"}}}
    eager = shop("django-integration", redis, CELERY_TASK_ALWAYS_EAGER=True, **routes)
    real = shop("django-integration", redis, **routes)
    for each in (eager, real):
        each.tasks(NOTICED_SOON, TASKS)
    real.worker("-c", "1", IN_WORKER="1")
    for each in (eager, real):
        each.do(send)

    assert eager.counts() == {"retried": 2, "limited": 1, "routed": 1, "redelivered": 1}
    assert set(eager.ask("[state(name) for name in ids]")) == {"PENDING"}
    until(lambda: real.ask("state('returns')") == "SUCCESS", what="the last has ended")
    until(lambda: real.ask("state('limited')") == "FAILURE", what="the limit was kept")
    until(lambda: real.counts()["redelivered"] == 2, what="it was delivered again")
    assert real.ask("state('retried')") == "RETRY"
    stays(lambda: real.counts() == {"retried": 1, "redelivered": 2}, 0.5, "nothing else runs")
    assert redis.client().llen("elsewhere") == 1
