"""periodic-tasks: what Beat starts: claims, missed days, spread, skipped days, long work, cleanup."""

from __future__ import annotations

import json

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop
from waiting import until

TOGETHER = """
import threading
from concurrent.futures import ThreadPoolExecutor
from django.db import connection

def together(run, number):
    def one(_):
        try:
            return run()
        finally:
            connection.close()
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))
"""


def queued(redis: Redis) -> list[dict]:
    return [json.loads(message)["headers"] for message in redis.client().lrange("celery", 0, -1)]


@pytest.mark.proves("periodic-tasks#dynamic-schedules")
def test_due_table(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """40 digests are three days overdue. Two ticks at once, with a batch of 20: the page's claim sends each once and
    moves it into the future, the same without the row lock sends 20 twice. A tick that fails sends nothing. The next
    time stays at 08:00 local time all year, also where the clock changes, once a day."""
    shop = shop("periodic-tasks", redis, postgres)
    shop.do(
        TOGETHER
        + """
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo
from accounts.tasks import start_due_digests
from django.utils import timezone

for n in range(40):
    user = User.objects.create(username=f"user{n}")
    DigestSchedule.objects.create(user=user, next_run_at=timezone.now())
real = DigestSchedule.next_after

def two_ticks():
    DigestSchedule.objects.update(next_run_at=timezone.now() - timedelta(days=3))
    both_have_read, first = threading.Barrier(2), threading.local()
    def next_after(row, moment):
        if not hasattr(first, "seen"):
            first.seen = both_have_read.wait(30)
        return real(row, moment)
    DigestSchedule.next_after = next_after
    together(lambda: start_due_digests(batch=20), 2)
    DigestSchedule.next_after = real
"""
    )

    def sent() -> tuple[int, int]:
        messages = [message["argsrepr"] for message in queued(redis)]
        redis.client().delete("celery")
        return len(messages), len(set(messages))

    shop.do("two_ticks()")
    assert sent() == (40, 40)
    assert shop.ask("DigestSchedule.objects.filter(next_run_at__lte=timezone.now()).count()") == 0
    assert shop.ask("start_due_digests()") == 0
    shop.do(
        """
        lock = DigestSchedule.objects.select_for_update
        DigestSchedule.objects.select_for_update = lambda **options: DigestSchedule.objects.all()
        two_ticks()
        DigestSchedule.objects.select_for_update = lock
        """
    )
    assert sent() == (40, 20)
    evidence["figures"] |= {"digests sent twice by two ticks": 0, "the same without the row lock": 20}

    assert (
        shop.do(
            """
        def fails(*args):
            raise OSError
        update, DigestSchedule.objects.bulk_update = DigestSchedule.objects.bulk_update, fails
        DigestSchedule.objects.update(next_run_at=timezone.now())
        try:
            start_due_digests()
        except OSError:
            result = DigestSchedule.objects.filter(next_run_at__lte=timezone.now()).count()
        """
        )
        == 40
    )
    assert sent() == (0, 0)

    year = """
        zone = ZoneInfo({zone!r})
        row = DigestSchedule(hour={hour}, time_zone={zone!r})
        moment, runs = datetime(2026, 1, 1, tzinfo=zone), []
        while moment.year == 2026:
            moment = row.next_after(moment).astimezone(ZoneInfo("UTC")).astimezone(zone)
            runs.append(moment)
        result = [len(runs), len({{run.date() for run in runs}}), sorted({{run.hour for run in runs}})]
    """.format
    for zone in ("Europe/Amsterdam", "America/New_York"):
        assert shop.do(year(zone=zone, hour=8)) == [366, 366, [8]]
        assert shop.do(year(zone=zone, hour=2)) == [366, 366, [2, 3]]  # at 03:00 where there is no 02:00


@pytest.mark.proves("periodic-tasks#missed-runs")
def test_missed_days(shop: MakeShop, postgres: PostgreSQL) -> None:
    """Nothing ran for three days. A task that sums up "yesterday" stores one of them; the page's stores all three, with
    eight deliveries at once as with one, and a further delivery stores none."""
    shop = shop("periodic-tasks", database=postgres)
    shop.do(
        TOGETHER
        + """
from datetime import datetime, timedelta
from django.db.models import Sum
from django.utils import timezone
from orders.tasks import daily_totals

today = timezone.localdate()
timezone.localdate = lambda *args, **options: today  # should midnight come
days = [today - timedelta(days=n) for n in (3, 2, 1)]
customer = User.objects.create(username="customer")
for day in days:
    for total in (day.day, 100):
        order = Order.objects.create(customer=customer, total=total)
        noon = timezone.make_aware(datetime.combine(day, datetime.min.time())) + timedelta(hours=12)
        Order.objects.filter(pk=order.pk).update(created_at=noon)
DailyTotal.objects.create(day=today - timedelta(days=4), amount=0)

def stored():
    rows = {row.day: row.amount for row in DailyTotal.objects.filter(day__in=days)}
    return [row_day for row_day in days if rows.get(row_day) == row_day.day + 100]
"""
    )
    yesterday_only = """
        amount = Order.objects.filter(created_at__date=days[-1]).aggregate(amount=Sum("total"))["amount"]
        DailyTotal.objects.create(day=days[-1], amount=amount)
        result = len(stored())
        DailyTotal.objects.filter(day=days[-1]).delete()
    """
    assert shop.do(yesterday_only) == 1
    assert shop.do("together(daily_totals, 8); result = len(stored())") == 3
    assert shop.ask("[daily_totals(), DailyTotal.objects.count()]") == [0, 4]


@pytest.mark.proves("periodic-tasks#spread-the-load")
def test_spread(shop: MakeShop, redis: Redis) -> None:
    """The page's spread gives each key the same offset every time, inside the window, and an expiry after it. A window
    below the visibility timeout runs each once; one above it runs the late ones several times."""
    quick = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    shop = shop("periodic-tasks", redis, CELERY_BROKER_TRANSPORT_OPTIONS=quick)
    shop.tasks("@shared_task(name='proofs.piece')\ndef piece(pk, run): note(run, pk=pk)")
    shop.do("from proofs.tasks import piece; from shop.spread import spread")
    offsets = """
        from datetime import datetime
        sent = []
        class Recorder:
            def apply_async(self, args, **options):
                sent.append((args[0], options["countdown"], options["expires"]))
        spread(Recorder(), range(0, 90_000, 7), "digest")
        spread(Recorder(), range(0, 90_000, 7), "digest")
        half = len(sent) // 2
        busiest = max(sum(1 for one in sent[:half] if one[1] == second) for second in range(1800))
        result = [sent[:half] == sent[half:], all(0 <= one[1] < 1800 < one[2] for one in sent), busiest]
    """
    assert shop.do(offsets) == [True, True, 8]  # of 12,858, which would all start at once

    shop.worker("-c", "2")
    shop.do("spread(piece, range(4), 'narrow', window=2); spread(piece, range(5, 7), 'wide', window=7)")
    until(lambda: {line["pk"] for line in shop.ledger()} == set(range(7)) - {4}, what="all have run")
    until(lambda: shop.counts()["wide"] > 2, what="what waited longer than the visibility timeout ran again")
    assert shop.counts()["narrow"] == 4


@pytest.mark.proves("periodic-tasks#skip-rules")
def test_payouts(shop: MakeShop, redis: Redis) -> None:
    """Friday 22:00 in New York: the page's starter sends the chain with Friday's date, while `timezone.now().weekday()`
    says Saturday and sends none. Saturday and a holiday send none. The steps run after midnight, still with Friday's
    date; a step that asks for the date itself gets Saturday's."""
    shop = shop("periodic-tasks", redis)
    shop.tasks(
        """
        from celery.signals import task_prerun

        @task_prerun.connect
        def starts(task, args, **rest):
            note(task.name, args=list(args))
        """
    )
    shop.do(
        """
        from datetime import datetime
        from zoneinfo import ZoneInfo
        from django.utils import timezone
        from payments.tasks import start_payouts
        real = timezone.now

        def at(day, hour):
            moment = datetime(2026, 11, day, hour, tzinfo=ZoneInfo("America/New_York")).astimezone(ZoneInfo("UTC"))
            timezone.now = lambda: moment

        BankHoliday.objects.create(day="2026-11-26")
        """
    )
    for day, hour in ((26, 22), (28, 12), (29, 23)):
        shop.do(f"at({day}, {hour}); start_payouts()")
    assert queued(redis) == []
    assert shop.do("at(27, 22); start_payouts(); result = timezone.now().weekday()") == 5
    assert [message["task"] for message in queued(redis)] == ["payments.collect_payouts"]
    assert shop.do("at(28, 1); result = str(timezone.localdate(timezone=ZoneInfo('America/New_York')))") == "2026-11-28"
    shop.do("timezone.now = real")
    shop.worker("-c", "1")
    until(lambda: shop.ledger("payments.send_payouts"), what="the chain has run")
    assert [line["args"] for line in shop.ledger()] == [["2026-11-27"], ["2026-11-27"]]


@pytest.mark.proves("periodic-tasks#long-periodic-work")
def test_long_work(shop: MakeShop, redis: Redis) -> None:
    """Ten pieces in one task exceed its time limit, and each further run begins with the first again; a starter that
    sends ten small tasks to their own queue, each with that limit, gets all done. A Beat entry that names a chain in
    place of a task is never sent."""
    shop = shop("periodic-tasks", redis)
    shop.tasks(
        """
        import time
        from celery import chain, current_app

        def work(n, who):
            time.sleep(0.3)
            note(who, n=n)

        @shared_task(name="proofs.whole", time_limit=2)
        def whole():
            note("begins")
            for n in range(10):
                work(n, "whole")

        @shared_task(name="proofs.piece", time_limit=2)
        def piece(n): work(n, "piece")

        @shared_task(name="proofs.start")
        def start():
            for n in range(10):
                piece.apply_async((n,), queue="pieces")

        current_app.conf.beat_schedule = {
            "chain": {"task": chain(piece.si(1), piece.si(2)), "schedule": 1},
            "start": {"task": "proofs.start", "schedule": 1},
        }
        """
    )
    worker = shop.worker("-c", "2", "-Q", "celery,pieces")
    for run in (1, 2):
        shop.do("app.send_task('proofs.whole')")
        until(lambda run=run: worker.output.count("Hard time limit (2s) exceeded") == run, what="the limit was reached")
    assert shop.counts()["begins"] == 2
    assert 9 not in {line["n"] for line in shop.ledger("whole")}
    beat = shop.beat()
    until(lambda: "Message Error" in beat.output and "task start" in beat.output, what="Beat has tried both")
    until(lambda: {line["n"] for line in shop.ledger("piece")} == set(range(10)), what="the pieces are done")


@pytest.mark.proves("periodic-tasks#result-cleanup")
def test_cleanup(shop: MakeShop, redis: Redis) -> None:
    """Beat sends celery.backend_cleanup at 04:00 where results do not expire by themselves: for django-db and not for
    Redis; the DatabaseScheduler for both. It deletes what is older than `result_expires`; an entry of the same name
    changes its time."""
    names = {"core": "celery.beat:PersistentScheduler", "database": "django_celery_beat.schedulers:DatabaseScheduler"}
    found = {}
    for results in ("django-db", redis.url(1)):
        here = shop("periodic-tasks", redis, results=results)
        for name, scheduler in names.items():
            found[name, results[:5]] = here.do(
                f"""
                from celery.schedules import crontab
                from celery.utils.imports import symbol_by_name
                app.conf.beat_schedule = {{}}
                beat = symbol_by_name({scheduler!r})(app, schedule_filename="beat-schedule")
                entry = beat.schedule.get("celery.backend_cleanup")
                result = entry and [sorted(entry.schedule.hour), sorted(entry.schedule.minute)]
                """
            )
    daily = [[4], [0]]
    assert found == {
        ("core", "djang"): daily,
        ("core", "redis"): None,
        ("database", "djang"): daily,
        ("database", "redis"): daily,
    }

    here = shop("periodic-tasks", redis, results="django-db")
    assert here.do(
        """
        from datetime import timedelta
        from celery.beat import PersistentScheduler
        from celery.schedules import crontab
        from django.utils import timezone
        for days in (0, 2):
            TaskResult.objects.create(task_id=f"{days} days")
            TaskResult.objects.filter(task_id=f"{days} days").update(date_done=timezone.now() - timedelta(days=days))
        app.tasks["celery.backend_cleanup"]()
        own = {"task": "celery.backend_cleanup", "schedule": crontab(minute=30, hour=1)}
        app.conf.beat_schedule = {"celery.backend_cleanup": own}
        changed = PersistentScheduler(app, schedule_filename="beat-schedule").schedule
        hours = {name: list(entry.schedule.hour) for name, entry in changed.items()}
        result = [[row.task_id for row in TaskResult.objects.all()], hours]
        """
    ) == [["0 days"], {"celery.backend_cleanup": [1]}]
