"""periodic-tasks: schedules in the database, and what becomes of them."""

from __future__ import annotations

import json

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop, Raised
from waiting import until

DATABASE = "django_celery_beat.schedulers:DatabaseScheduler"
TICK = """
every = IntervalSchedule.objects.create(every=300_000, period=IntervalSchedule.MICROSECONDS)
PeriodicTask.objects.create(name="tick", task="proofs.tick", interval=every)
"""


def messages(redis: Redis) -> list[dict]:
    """The headers and properties of what is in the queue, whatever its priority."""
    client = redis.client()
    lists = [key for key in client.keys("celery*") if client.type(key) == b"list"]
    found = [json.loads(message) for key in lists for message in client.lrange(key, 0, -1)]
    return [message["headers"] | message["properties"] for message in found]


def queued(redis: Redis) -> list[str]:
    return [message["task"].removeprefix("proofs.") for message in messages(redis)]


@pytest.mark.proves("periodic-tasks#database-scheduler")
def test_change_while_beat_runs(shop: MakeShop, redis: Redis, postgres: PostgreSQL) -> None:
    """While Beat runs, `QuerySet.update(enabled=False)` leaves a job running and a row of `bulk_create()` is not seen,
    until `PeriodicTasks.update_changed()`; `save()`, `update_or_create()` and `delete()` take effect by themselves."""
    # Beat saves a row whole after a send, over an edit of that very moment; not so often here.
    often = {"CELERY_BEAT_MAX_LOOP_INTERVAL": 1, "CELERY_BEAT_SYNC_EVERY": 0}
    shop = shop("periodic-tasks", redis, postgres, CELERY_BEAT_SCHEDULER=DATABASE, **often)
    shop.do(TICK + "row = PeriodicTask.objects.create(name='job', task='proofs.job', interval=every)")
    beat = shop.beat()

    def goes_on(name: str) -> None:
        seen = queued(redis).count(name)
        until(lambda: queued(redis).count(name) >= seen + 3, what=f"{name} goes on")

    def noticed(change: str) -> None:
        seen = beat.output.count("Schedule changed")
        shop.do(change)
        until(lambda: beat.output.count("Schedule changed") > seen, what=f"Beat has noticed {change}")

    def is_silent(name: str) -> None:
        seen = queued(redis).count(name)
        goes_on("tick")
        assert queued(redis).count(name) == seen

    goes_on("job")
    shop.do(
        """
        PeriodicTask.objects.filter(name="job").update(enabled=False)
        PeriodicTask.objects.bulk_create([PeriodicTask(name="bulk", task="proofs.bulk", interval=every)])
        """
    )
    goes_on("job")
    is_silent("bulk")
    noticed("PeriodicTasks.update_changed()")
    is_silent("job")
    goes_on("bulk")
    noticed("row.refresh_from_db(); row.enabled = True; row.save()")
    goes_on("job")
    noticed("PeriodicTask.objects.update_or_create(name='job', defaults={'enabled': False})")
    is_silent("job")
    noticed("PeriodicTask.objects.get(name='bulk').delete()")
    is_silent("bulk")


@pytest.mark.proves("periodic-tasks#database-scheduler")
@pytest.mark.proves("periodic-tasks#arguments-and-options")
def test_rows(shop: MakeShop, redis: Redis) -> None:
    """Beat was away: an overdue crontab row is made up for only within 2 hours of its one plain hour, or at any time
    when that is 4 UTC, when it is written as a range or comes from the settings; a row whose hour is still to come is
    sent early. With the page's starting deadline nothing is early and nothing late. A row that is invalid is skipped
    without a word. A row sends `expire_seconds`, priority and headers; `expires` and `countdown` of a settings entry
    vanish. Arguments are those of Beat's start."""
    sent = {}
    for name, deadline in {"default": {"CELERY_BEAT_CRON_STARTING_DEADLINE": None}, "page": {}}.items():
        redis.client().flushall()
        options = {"expires": 60, "countdown": 60, "expire_seconds": 90, "headers": {"who": "beat"}, "priority": 3}
        schedule = {
            "options": {"task": "proofs.options", "schedule": 0.3, "options": options},
            "expires": {"task": "proofs.expires", "schedule": 0.3, "options": {"expires": 60}},
        }
        here = shop("periodic-tasks", redis, CELERY_BEAT_SCHEDULER=DATABASE, CELERY_BEAT_SCHEDULE=schedule, **deadline)
        here.tasks(
            """
            from datetime import datetime, timedelta, timezone
            from celery import current_app
            from celery.schedules import crontab

            hours_ago = lambda hours: (datetime.now(timezone.utc) - timedelta(hours=hours)).hour
            # Hour 4 is always loaded, and six hours ago must not be it.
            away = next(hour for hour in (hours_ago(6), hours_ago(7)) if hour != 4)
            local = lambda hour: datetime.now(timezone.utc).replace(hour=hour).astimezone(current_app.timezone).hour
            current_app.conf.beat_schedule["frozen"] = {
                "task": "proofs.frozen", "schedule": 0.3, "args": [str(datetime.now())]
            }
            current_app.conf.beat_schedule["settings"] = {
                "task": "proofs.settings", "schedule": crontab(minute=0, hour=local(away))
            }
            """
        )
        here.do(
            TICK
            + """
from datetime import datetime, timedelta, timezone
from proofs.tasks import away, hours_ago

now = datetime.now(timezone.utc)
recent = now - timedelta(minutes=30)
for name, minute, hour in [
    ("recent", recent.minute, recent.hour),
    ("missed", 0, hours_ago(1)),
    ("out_of_window", 0, away),
    ("range", 0, f"{away}-{away}"),
    ("early", 0, hours_ago(-2)),
    ("four", 0, 4),
    ("settings", 0, 0),
]:
    crontab = CrontabSchedule.objects.create(minute=minute, hour=hour, timezone="UTC")
    row = {"crontab": crontab, "last_run_at": now - timedelta(days=2)}
    PeriodicTask.objects.create(name=name, task=f"proofs.{name}", **row)
for name, fields in {"seventh": {"day_of_week": "7"}, "february": {"day_of_month": 30, "month_of_year": 2}}.items():
    crontab = CrontabSchedule.objects.create(minute="*", hour="*", **fields)
    crontab.full_clean()
    PeriodicTask.objects.create(name=name, task=f"proofs.{name}", crontab=crontab, last_run_at=now - timedelta(days=2))
            """
        )
        beat = here.beat()
        until(lambda: min(map(queued(redis).count, ALWAYS)) >= 3, what="Beat has had its turns")
        beat.kill()
        sent[name] = set(queued(redis)) - ALWAYS
        assert "seventh" not in beat.output and "february" not in beat.output
    sent["page"] -= {"four"}  # whether it is late depends on the hour
    assert sent == {"default": {"recent", "missed", "four", "range", "early", "settings"}, "page": {"recent"}}
    for invalid in ("CrontabSchedule(day_of_week='7')", "CrontabSchedule(day_of_month=30, month_of_year=2)"):
        with pytest.raises(Raised, match="ValueError"):
            here.do(f"{invalid}.schedule")

    last = {message["task"]: message for message in messages(redis)}
    kept, dropped = last["proofs.options"], last["proofs.expires"]
    assert kept["who"] == "beat" and kept["periodic_task_name"] == "options" and kept["celery_beat_task"] is True
    assert (kept["priority"], kept["expiration"], kept["eta"]) == (3, "90000", None)
    assert dropped["expires"] is None and "expiration" not in dropped
    assert len({message["argsrepr"] for message in messages(redis) if message["task"] == "proofs.frozen"}) == 1


ALWAYS = {"tick", "options", "expires", "frozen"}


@pytest.mark.proves("periodic-tasks#database-scheduler")
def test_settings_and_duplicates(shop: MakeShop) -> None:
    """A settings entry overwrites its row's schedule, arguments and options at each start, leaves `enabled`, and its
    row stays when the entry is gone. Two equal schedules make get_or_create raise; filter().first() takes one."""
    shop = shop("periodic-tasks", CELERY_BEAT_SCHEDULER=DATABASE)
    schedule = {"owned": {"task": "proofs.owned", "schedule": 60, "args": ["settings"]}}
    start = """
        from django_celery_beat.schedulers import DatabaseScheduler
        app.conf.beat_schedule = {}
        DatabaseScheduler(app)
        row = PeriodicTask.objects.get(name="owned")
        result = [row.interval.every, row.args, row.expire_seconds, row.enabled]
    """.format
    assert shop.do(start(schedule)) == [60, '["settings"]', None, True]
    shop.do(
        """
        row.interval = IntervalSchedule.objects.create(every=5, period="seconds")
        row.args, row.expire_seconds, row.enabled = '["admin"]', 5, False
        row.save()
        """
    )
    assert shop.do(start(schedule)) == [60, '["settings"]', None, False]
    assert shop.do(start({})) == [60, '["settings"]', None, False]

    shop.do("same = {'every': 7, 'period': 'days'}; IntervalSchedule.objects.create(**same)")
    shop.do("IntervalSchedule.objects.create(**same)")
    with pytest.raises(Raised, match="MultipleObjectsReturned"):
        shop.do("IntervalSchedule.objects.get_or_create(**same)")
    find = "(IntervalSchedule.objects.filter(**same).first() or IntervalSchedule.objects.create(**same)).pk"
    assert shop.ask(find) == shop.ask(find)


@pytest.mark.proves("periodic-tasks#database-scheduler")
def test_broker_down_at_the_tick(shop: MakeShop, own_redis: Redis, postgres: PostgreSQL) -> None:
    """The broker is down at the tick: nothing is sent, yet `last_run_at` and `total_run_count` advance, and the run is
    not made up for when the broker is back."""
    # The results are elsewhere, or the backend would try for 20 s before the publish gets its turn.
    shop = shop("periodic-tasks", own_redis, postgres, "django-db", CELERY_BEAT_SCHEDULER=DATABASE)
    shop.do(TICK)
    beat = shop.beat()
    until(lambda: "tick" in queued(own_redis), what="Beat sends")  # at its start it would wait for the broker
    own_redis.stop()
    shop.do(
        """
        from datetime import timedelta
        from django.utils import timezone
        hourly = IntervalSchedule.objects.create(every=1, period="hours")
        before = timezone.now() - timedelta(hours=2)
        row = PeriodicTask.objects.create(name="job", task="proofs.job", interval=hourly, last_run_at=before)
        """
    )
    row = "PeriodicTask.objects.get(name='job')"
    until(lambda: "Couldn't apply scheduled task job" in beat.output, what="the send has failed")
    until(lambda: shop.ask(f"{row}.total_run_count") == 1, what="the row says that it has run")
    assert shop.ask(f"{row}.last_run_at > before")
    own_redis.start()
    before = queued(own_redis).count("tick")
    until(lambda: queued(own_redis).count("tick") > before, what="Beat sends again")
    assert "job" not in queued(own_redis)


@pytest.mark.proves("periodic-tasks#time-zones-and-dst")
def test_zone_of_new_rows(shop: MakeShop) -> None:
    """With CELERY_TIMEZONE settings entries and new rows follow it. Without, settings entries follow Django's
    TIME_ZONE, but new CrontabSchedule rows are in UTC; a row's own time zone holds in either case."""
    zones = {}
    for name, zone in {"set": "Europe/Amsterdam", "unset": None}.items():
        here = shop("periodic-tasks", CELERY_TIMEZONE=zone)
        own = "str(CrontabSchedule(timezone='America/New_York').schedule.tz)"
        zones[name] = here.ask(f"[str(app.timezone), str(CrontabSchedule().timezone), {own}]")
    assert zones == {
        "set": ["Europe/Amsterdam", "Europe/Amsterdam", "America/New_York"],
        "unset": ["Europe/Amsterdam", "UTC", "America/New_York"],
    }
