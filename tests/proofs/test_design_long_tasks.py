"""task-design-patterns: imports that are killed, delivered again, sliced and cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from servers import PostgreSQL, Redis
from shop import NOTICED_SOON, MakeShop, Shop
from waiting import stays, until

PAGE = "task-design-patterns"
ROWS, COPIES = 6000, 50
# Every write of a contact is a row of its own, and goes with its transaction; the row "stop" waits for the proof.
TRIGGER = """
CREATE TABLE written (email text);
CREATE FUNCTION note_write() RETURNS trigger AS $$ BEGIN
    INSERT INTO written VALUES (NEW.email);
    IF NEW.name = 'stop' THEN PERFORM pg_advisory_xact_lock_shared(7); END IF;
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER note_write AFTER INSERT OR UPDATE ON imports_contact FOR EACH ROW EXECUTE FUNCTION note_write();
"""
NEW = """
from django.core.files.base import ContentFile
def new(rows, stop=None):
    lines = ["email,name", *(f"{n}@shop," + ("stop" if n == stop else "a") for n in range(rows))]
    file = ContentFile("\\n".join(lines).encode(), name="contacts.csv")
    return CsvImport.objects.create(file=file, rows_total=rows).pk
"""
# The wrong way: the page's import without its checkpoint.
UNFENCED = """
import csv
from itertools import islice
from imports.models import Contact, CsvImport

@shared_task(name="proofs.unfenced")
def unfenced(import_pk):
    with CsvImport.objects.get(pk=import_pk).file.open("rt") as source:
        rows = csv.DictReader(source)
        while batch := [Contact(**row) for row in islice(rows, 500)]:
            Contact.objects.bulk_create(
                batch, update_conflicts=True, unique_fields=["email"], update_fields=["name"]
            )
"""


Watch = Callable[[Shop], psycopg.Connection]


@pytest.fixture
def watch(postgres: PostgreSQL) -> Iterator[Watch]:
    """A connection of the proof's own to a shop's database, with the trigger in place."""
    with ExitStack() as stack:

        def connect(shop: Shop) -> psycopg.Connection:
            name = shop.environment["SHOP_DB"].rpartition("/")[2]
            connection = stack.enter_context(postgres.connect(name))
            connection.execute(TRIGGER)
            return connection

        yield connect


@contextmanager
def stopped(connection: psycopg.Connection) -> Iterator[None]:
    """Hold an import in the middle of the batch with the row "stop"."""
    connection.execute("SELECT pg_advisory_lock(7)")
    yield
    connection.execute("SELECT pg_advisory_unlock(7)")


def waits(connection: psycopg.Connection, what: str, copies: int = 1) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    until(lambda: connection.execute(query).fetchone()[0] >= copies, what=what)


@pytest.mark.proves("task-design-patterns#long-tasks")
@pytest.mark.proves("task-design-patterns#idempotency")
def test_killed_import(shop: MakeShop, redis: Redis, postgres: PostgreSQL, watch: Watch, evidence: dict) -> None:
    """An import of 6,000 rows is killed in the middle of a batch, then resumed by fifty copies at once: with the page's
    checkpoint every row was written once; without it all that was done before the kill was written again, by each copy.
    The view shows the progress that was committed to those who may see it; an unknown task id is PENDING for ever."""
    shop = shop(PAGE, redis, postgres)
    shop.tasks(UNFENCED)
    connection = watch(shop)
    shop.do(NEW)
    writes = {}
    for task, copies in (("imports.run", COPIES), ("proofs.unfenced", 2)):
        connection.execute("TRUNCATE written, imports_contact")
        shop.do(f"pk = new({ROWS}, stop={ROWS // 2 + 100})")
        worker = shop.worker("-c", "1")
        with stopped(connection):
            shop.do(f"app.send_task({task!r}, [pk])")
            waits(connection, "the import is in the middle of a batch")
            if task == "imports.run":
                assert shop.do(PROGRESS) == [{"status": "running", "done": ROWS // 2, "total": ROWS}, "PENDING"]
            worker.kill()
        redis.client().flushdb()
        worker = shop.worker("-P", "threads", "-c", str(copies))
        shop.do(f"for _ in range({copies}): app.send_task({task!r}, [pk])")
        until(lambda worker=worker, copies=copies: worker.output.count("succeeded in") == copies, 90, "all have ended")
        worker.kill()
        numbers = "SELECT max(n), min(n), count(*) FROM (SELECT count(*) n FROM written GROUP BY email) each"
        writes[task] = connection.execute(numbers).fetchone()
        if task == "imports.run":
            assert shop.ask("list(CsvImport.objects.values_list('status', 'rows_done'))") == [["done", ROWS]]
    assert writes == {"imports.run": (1, 1, ROWS), "proofs.unfenced": (3, 2, ROWS)}
    evidence["figures"] |= {"writes of each row, killed and resumed by 50 copies": 1, "without the checkpoint": 3}


PROGRESS = """
import json
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from imports.views import import_progress

request = RequestFactory().get("/")
request.user = User.objects.create(username="reader")
try:
    import_progress(request, pk)
except PermissionDenied:
    request.user.user_permissions.add(Permission.objects.get(codename="view_csvimport"))
    request.user = User.objects.get(username="reader")
    result = [json.loads(import_progress(request, pk).content), app.AsyncResult("unknown").state]
"""


@pytest.mark.proves("task-design-patterns#long-tasks")
def test_slices(shop: MakeShop, redis: Redis) -> None:
    """An import over its budget sends itself again and goes on where it was: a small task that was sent after it runs
    between two slices, and with one slice only after all rows."""
    shop = shop(PAGE, redis)
    shop.tasks(
        """
        from itertools import count
        from types import SimpleNamespace
        from celery.signals import task_prerun
        from imports import tasks as page
        from imports.models import CsvImport

        ticks = count()
        page.time = SimpleNamespace(monotonic=lambda: next(ticks))  # a second for each batch
        page.BATCH = 10

        @shared_task(name="proofs.budget")
        def budget(seconds): page.BUDGET = seconds

        @shared_task(name="proofs.small")
        def small(import_pk): note("small", done=CsvImport.objects.get(pk=import_pk).rows_done)

        @task_prerun.connect(sender=page.run_import)
        def starts(**extra): note("slice")
        """
    )
    shop.do(NEW)
    found = []
    for budget in (2, 100):
        shop.do(
            f"pk = new(60); app.send_task('proofs.budget', [{budget}])\n"
            "app.send_task('imports.run', [pk]); app.send_task('proofs.small', [pk])"
        )
        if not shop.workers:
            shop.worker("-P", "solo")
        until(lambda: shop.ask("CsvImport.objects.get(pk=pk).status") == "done", what="the import is done")
        until(lambda found=found: len(shop.ledger("small")) == len(found) + 1, what="the small task ran")
        found.append((shop.ledger("small")[-1]["done"], shop.counts()["slice"]))
    (sliced, slices), (whole, all_slices) = found
    assert 0 < sliced < whole == 60
    assert slices == 4 and all_slices == slices + 1


@pytest.mark.proves("task-design-patterns#cancel-a-task")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_cancel_in_the_database(shop: MakeShop, redis: Redis, postgres: PostgreSQL, watch: Watch, pool: str) -> None:
    """While an import is in the middle of a batch its row is set to cancelled: after that batch no other commits, on
    prefork and threads, and a second delivery does nothing; revoke() had no effect on it."""
    shop = shop(PAGE, redis, postgres)
    connection = watch(shop)
    shop.do(NEW)
    worker = shop.worker("-P", pool, "-c", "1")
    cancel = "result = CsvImport.objects.filter(pk=pk, status__in=('pending', 'running')).update(status='cancelled')"
    with ThreadPoolExecutor(1) as apart:
        with stopped(connection):
            shop.do(f"pk = new({ROWS}, stop=1100); sent = app.send_task('imports.run', [pk])")
            waits(connection, "the import is in the middle of a batch")
            shop.do("sent.revoke()")
            until(lambda: "flagged as revoked" in worker.output, what="the worker has heard of it")
            cancelled = apart.submit(shop.do, cancel)
            waits(connection, "the cancellation waits for the batch", 2)
        assert cancelled.result(30) == 1
    until(lambda: worker.output.count("succeeded in") == 1, what="the task has ended")
    shop.do("app.send_task('imports.run', [pk])")
    until(lambda: worker.output.count("succeeded in") == 2, what="the second delivery has ended")
    assert shop.ask("[CsvImport.objects.get().status, CsvImport.objects.get().rows_done]") == ["cancelled", 1500]
    assert shop.ask("Contact.objects.count()") == 1500


# What becomes of a prefetched task that is revoked, and of a running one with terminate=True.
TABLE = {
    "prefork": ("dropped", "killed"),
    "gevent": ("runs", "killed"),
    "threads": ("runs", "runs"),
    "solo": ("dropped", "runs"),
}


@pytest.mark.proves("task-design-patterns#cancel-a-task")
@pytest.mark.parametrize("pool", TABLE)
def test_revoke(shop: MakeShop, redis: Redis, pool: str) -> None:
    """revoke() drops a queued task on every pool, but one that is prefetched still runs on threads and gevent; it has
    no effect on a running one. terminate=True kills the running one on prefork and gevent, not on threads and solo."""
    shop = shop(PAGE, redis)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(NOTICED_SOON, HELD, HELD_TASKS)
    prefetched, terminated = TABLE[pool]
    worker = shop.worker("-P", pool, "-c", "1", "--prefetch-multiplier", "1")
    let_go = redis.client(2)
    shop.do("from proofs.tasks import quick, runs")

    def revoke(name: str, heard: bool = True, **options: bool) -> None:
        before = worker.output.count("flagged as revoked")
        shop.do(f"app.control.revoke({name!r}, **{options})")
        if heard:  # solo listens only when its task is over
            until(lambda: worker.output.count("flagged as revoked") > before, what=f"{name} is revoked")

    def start(task: str, name: str) -> None:
        shop.do(f"{task}.apply_async([{name!r}], task_id={name!r})")

    listens = pool != "solo"
    start("runs", "first")
    until(lambda: shop.counts()["first"] == 1, what="the first runs")
    if listens:
        start("quick", "second")
        until(lambda: "quick[second] received" in worker.output, what="the second is prefetched")
        start("quick", "third")
        revoke("second")
        revoke("third")
    revoke("first", listens)
    stays(lambda: shop.counts()["first ends"] == 0, 0.2, "the first runs on")
    let_go.set("first", 1)
    until(lambda: shop.counts()["first ends"] == 1, what="the first ends by itself")
    if not listens:
        revoke("third")
        start("quick", "third")
    until(lambda: shop.ask("app.AsyncResult('third').state") == "REVOKED", what="the queued one is dropped")
    if listens:
        ends = {"runs": "SUCCESS", "dropped": "REVOKED"}[prefetched]
        until(lambda: shop.ask("app.AsyncResult('second').state") == ends, what=f"the second {prefetched}")
        assert shop.counts()["second"] == (prefetched == "runs")

    start("runs", "terminated")
    until(lambda: shop.counts()["terminated"] == 1, what="the next runs")
    revoke("terminated", heard=False, terminate=True)
    if terminated == "killed":
        until(lambda: shop.ask("app.AsyncResult('terminated').state") == "REVOKED", what="it was killed")
    elif listens:
        until(lambda: "does not implement kill_job" in worker.output, what="the pool cannot")
    let_go.set("terminated", 1)
    start("quick", "last")
    until(lambda: shop.counts()["last"] == 1, what="the worker works on")
    assert shop.counts()["terminated ends"] == (terminated == "runs")
    assert shop.counts()["third"] == 0


HELD = """
import time
from shop.locks import LOCKS

def held(who, stops=lambda: False):
    note(who)
    while not LOCKS.exists(who) and not stops():
        time.sleep(0.02)
    note(who + " ends")
"""
HELD_TASKS = """
@shared_task
def runs(who): held(who)

@shared_task
def quick(who): note(who)
"""


@pytest.mark.proves("task-design-patterns#cancel-a-task")
def test_stamped_and_abortable(shop: MakeShop, redis: Redis) -> None:
    """Revoking by a stamp with terminate kills the workflow's running step; the next one never runs, nor does a later
    task with the stamp, and one with another stamp does. An AbortableTask stops where it asks is_aborted(), running or
    still queued; without the base is_aborted() is an AttributeError."""
    shop = shop(PAGE, redis)
    shop.environment["SHOP_LOCKS"] = redis.url(2)
    shop.tasks(
        NOTICED_SOON,
        HELD,
        HELD_TASKS,
        """
        from celery.contrib.abortable import AbortableTask

        @shared_task(base=AbortableTask, bind=True)
        def abortable(self, who): held(who, self.is_aborted)

        @shared_task(bind=True)
        def bare(self): self.is_aborted()
        """,
    )
    worker = shop.worker("-c", "1", "--prefetch-multiplier", "1")
    shop.do(
        """
        from celery import chain
        from celery.contrib.abortable import AbortableAsyncResult
        from proofs.tasks import abortable, bare, quick, runs

        def stamped(workflow, order):
            workflow.stamp(order=order)
            return workflow.delay()
        running = stamped(chain(runs.si("running"), quick.si("next")), "7").parent
        """
    )
    until(lambda: shop.counts()["running"] == 1, what="the first step runs")
    shop.do("app.control.revoke_by_stamped_headers({'order': ['7']}, terminate=True)")
    until(lambda: shop.ask("running.state") == "REVOKED", what="the step was killed")
    shop.do("later = stamped(quick.si('later'), '7'); stamped(quick.si('other'), '8')")
    until(lambda: shop.counts()["other"] == 1, what="another order's task runs")
    assert shop.ask("later.state") == "REVOKED"
    assert not {"running ends", "next", "later"} & set(shop.counts())

    shop.do("sent = [abortable.delay('abortable'), abortable.delay('queued')]; bare = bare.delay()")
    until(lambda: shop.counts()["abortable"] == 1, what="the abortable task runs")
    shop.do("for each in reversed(sent): AbortableAsyncResult(each.id).abort()")
    until(lambda: {"abortable ends", "queued ends"} <= set(shop.counts()), what="both stop where they ask")
    until(lambda: shop.ask("bare.state") == "FAILURE", what="the bare task has failed")
    until(lambda: "has no attribute 'is_aborted'" in worker.output, what="it is logged, a moment later")
