"""Beat and its schedules do what the DCE6xx rules say: shown on the installed Celery and django-celery-beat."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, chain, group
from celery.beat import Scheduler, SchedulingError
from celery.schedules import ParseException, crontab, schedule
from celery_audit.rules.schedules import FIELDS, _expand
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def app() -> Celery:
    made = Celery("shop", broker="memory://", set_as_current=False)

    @made.task(name="orders.sync", shared=False)
    def sync(shop_pk: int = 1) -> None: ...

    return made


def beat(app: Celery, **entry: object) -> Scheduler:
    scheduler = Scheduler(app, schedule={}, lazy=True)
    scheduler.merge_inplace({"entry": entry})
    return scheduler


def send(app: Celery, **entry: object) -> object:
    scheduler = beat(app, schedule=60, **entry)
    return scheduler.apply_async(scheduler.schedule["entry"], advance=False)


def django_beat(code: str) -> None:
    """Run code in a process of its own, with django-celery-beat's tables in memory."""
    setup = """
        import django
        from django.conf import settings
        settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes", "django_celery_beat"], USE_TZ=True,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        )
        django.setup()
        from django.apps import apps
        from django.db import connection
        with connection.schema_editor() as editor:
            for model in apps.get_app_config("django_celery_beat").get_models():
                editor.create_model(model)
        from celery import Celery
        from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks
        from django_celery_beat.schedulers import ModelEntry
        app = Celery("shop", broker="memory://")
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", dedent(setup) + dedent(code)], check=True)


@pytest.mark.proves("DCE601")
def test_an_omitted_minute_is_every_minute() -> None:
    assert len(crontab(hour=3).minute) == 60
    assert (len(crontab(day_of_week="mon").minute), len(crontab(day_of_week="mon").hour)) == (60, 24)
    assert crontab(minute=0, hour=3).minute == {0}


def test_a_row_without_minute_is_every_minute_too() -> None:
    django_beat("""
        assert len(CrontabSchedule.objects.create(hour="3").schedule.minute) == 60
    """)


@pytest.mark.proves("DCE602")
def test_an_omitted_hour_is_every_hour() -> None:
    assert len(crontab(minute=0, day_of_month=1).hour) == 24
    assert crontab(minute=0, hour=4, day_of_month=1).hour == {4}


@pytest.mark.proves("DCE603")
def test_invalid_fields_raise() -> None:
    wrong = (
        {"minute": 60}, {"hour": 24}, {"hour": "9-25"}, {"day_of_week": 7}, {"day_of_week": "funday"},
        {"day_of_month": 0}, {"month_of_year": 13}, {"minute": "0/15"}, {"minute": "*/0"}, {"minute": ""},
        {"minute": "1,,2"}, {"minute": None}, {"minute": 1.5}, {"day_of_week": "Mon, Wed"}, {"day_of_month": "L"},
        {"minute": ["0", "30"]}, {"weekday": 1},
    )  # fmt: skip
    for fields in wrong:
        with pytest.raises((ValueError, TypeError, ParseException)):
            crontab(**fields)
    crontab(day_of_week="sun", hour="22-2", month_of_year="sept")


def test_invalid_row_is_stored_and_not_scheduled() -> None:
    django_beat("""
        row = CrontabSchedule.objects.create(minute="0", hour="9", day_of_week="7")
        PeriodicTask.objects.create(name="report", task="orders.report", crontab=row)
        from django_celery_beat.schedulers import DatabaseScheduler
        assert DatabaseScheduler(app, lazy=True).all_as_schedule() == {}
    """)


@pytest.mark.skipif(not hasattr(importlib.import_module("celery.schedules"), "CRON_DAYS_IN_MONTH"), reason="Celery 5.7")
def test_impossible_date_raises() -> None:
    with pytest.raises(ValueError, match="never occurs"):
        crontab(0, 0, day_of_month=30, month_of_year=2)
    crontab(0, 0, day_of_month=29, month_of_year=2)


FIELD_TEXT = st.text("0123456789*/-, aelmnotuw", max_size=8)


@given(st.sampled_from(FIELDS), FIELD_TEXT)
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_the_audit_reads_fields_as_celery_does(field: str, text: str) -> None:
    try:
        theirs = getattr(crontab(**{field: text}), field)
    except (ValueError, ParseException):
        theirs = None
    except IndexError:  # Celery's own parser trips over an empty name
        return
    try:
        ours = _expand(field, text)[0]
    except ValueError:
        ours = None
    assert ours == theirs


@pytest.mark.proves("DCE604")
def test_text_behind_a_field_is_passed_over() -> None:
    line = crontab("*/5 3 * * 1")
    assert (len(line.minute), len(line.hour), len(line.day_of_week)) == (12, 24, 7)
    assert crontab(day_of_week="mon - fri").day_of_week == {1}
    assert crontab(day_of_week="mon; tue").day_of_week == {1}
    right = crontab.from_string("*/5 3 * * 1")
    assert (len(right.minute), right.hour, right.day_of_week) == (12, {3}, {1})


@pytest.mark.proves("DCE605")
def test_positions_are_not_those_of_cron() -> None:
    assert crontab(0, 3, 1).day_of_week == {1}
    assert crontab(*["0", "3", "1", "*", "5"]).day_of_week == {1}
    assert crontab(*["0", "3", "1", "*", "5"]).month_of_year == {5}
    right = crontab.from_string("0 3 1 * 5")
    assert (right.day_of_month, right.day_of_week, len(right.month_of_year)) == ({1}, {5}, 12)


@pytest.mark.proves("DCE606")
def test_steps_begin_anew_each_hour() -> None:
    assert crontab(minute="*/45").minute == {0, 45}
    assert crontab(minute="*/90").minute == {0}
    assert crontab(hour="*/16").hour == {0, 16}


@pytest.mark.proves("DCE607")
def test_an_unknown_name_is_sent(app: Celery) -> None:
    assert "orders.tasks.sink" not in app.tasks
    assert send(app, task="orders.tasks.sink").id


@pytest.mark.proves("DCE608")
def test_misfits_are_not_sent(app: Celery) -> None:
    for wrong in ({"kwargs": {"shop": 1}}, {"args": (1, 2)}, {"args": (1)}, {"args": ("ab")}):
        with pytest.raises(SchedulingError):
            send(app, task="orders.sync", **wrong)
    assert send(app, task="orders.sync", args=(1,)).id


@pytest.mark.proves("DCE609")
def test_unknown_keys_end_beat(app: Celery) -> None:
    for key in ("arg", "option", "tasks", "queue", "expires", "enabled"):
        with pytest.raises(TypeError, match="unexpected keyword"):
            beat(app, task="orders.sync", schedule=60, **{key: 1})
    with pytest.raises(AttributeError):
        beat(app, task="orders.sync").schedule["entry"].is_due()
    beat(app, task="orders.sync", schedule=60, args=(1,), kwargs={}, options={}, relative=True)


@pytest.mark.proves("DCE610")
def test_database_scheduler_keeps_six_options() -> None:
    django_beat("""
        entry = ModelEntry.from_entry(
            "a", app=app, task="t", schedule=60, options={"expires": 5, "countdown": 3, "queue": "q"}
        )
        assert "expires" not in entry.options and "countdown" not in entry.options and entry.options["queue"] == "q"
        entry = ModelEntry.from_entry("b", app=app, task="t", schedule=60, options={"expire_seconds": 5})
        assert "expires" in entry.options
    """)


@pytest.mark.proves("DCE611")
def test_a_text_is_no_schedule(app: Celery) -> None:
    for wrong in ("*/5 * * * *", "60", {"minute": 5}):
        with pytest.raises(AttributeError):
            beat(app, task="orders.sync", schedule=wrong)
    with pytest.raises((TypeError, AttributeError)):  # of a class of its own: Beat writes the app on it
        beat(app, task="orders.sync", schedule=type("uncalled", (crontab,), {}))
    beat(app, task="orders.sync", schedule=crontab.from_string("*/5 * * * *"))


@pytest.mark.proves("DCE612")
def test_no_interval_is_always_due(app: Celery) -> None:
    for wrong in (0, -5, timedelta(0), timedelta(days=-1)):
        assert beat(app, task="orders.sync", schedule=wrong).schedule["entry"].is_due() == (True, 0)
    assert not schedule(60).is_due(datetime.now(UTC)).is_due


@pytest.mark.proves("DCE613")
def test_only_names_and_signatures(app: Celery) -> None:
    task = app.tasks["orders.sync"]
    for wrong in (task.s(1), chain(task.si(1), task.si(1)), group(task.si(1))):
        with pytest.raises(TypeError, match="unhashable"):
            send(app, task=wrong)
    for wrong in ("orders.sync", task()):
        with pytest.raises(AttributeError):
            app.add_periodic_task(60, wrong)
    app.add_periodic_task(60, chain(task.si(1), task.si(1)), name="chain")
    assert app.conf.beat_schedule["chain"]["task"] == "celery.chain"
    with pytest.raises(NotImplementedError):
        app.tasks["celery.chain"]()
    app.add_periodic_task(60, group(task.si(1), task.si(1)), name="group")
    with pytest.raises(SchedulingError):
        send(app, **{key: value for key, value in app.conf.beat_schedule["group"].items() if key != "schedule"})
    app.add_periodic_task(60, task.s(1), name="right")
    assert app.conf.beat_schedule["right"]["task"] == "orders.sync"


@pytest.mark.proves("DCE614")
def test_periodic_task_is_gone() -> None:
    for name in ("celery.task", "celery.decorators"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


@pytest.mark.proves("DCE615")
def test_on_after_configure_is_too_late_for_tasks(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "orders").mkdir()
    (tmp_path / "shop" / "celery.py").write_text(
        "from celery import Celery\napp = Celery('shop', broker='memory://')\napp.autodiscover_tasks(['orders'])\n"
    )
    (tmp_path / "orders" / "tasks.py").write_text(
        dedent("""
        from shop.celery import app

        @app.task
        def sync(): ...

        @app.on_after_configure.connect
        def early(sender, **kwargs):
            sender.add_periodic_task(60, sync.s(), name="configure")

        @app.on_after_finalize.connect
        def late(sender, **kwargs):
            sender.add_periodic_task(60, sync.s(), name="finalize")

        app.add_periodic_task(60, sync.s(), name="direct")
        """)
    )
    code = (
        "from shop.celery import app; from celery.apps.beat import Beat; Beat(app=app, quiet=True).init_loader(); "
        "assert set(app.conf.beat_schedule) == {'finalize', 'direct'}, app.conf.beat_schedule"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.proves("DCE616")
def test_bulk_changes_are_not_seen() -> None:
    django_beat("""
        every = IntervalSchedule.objects.create(every=1, period="minutes")
        row = PeriodicTask.objects.create(name="a", task="t", interval=every)
        before = PeriodicTasks.last_change()
        PeriodicTask.objects.filter(name="a").update(enabled=False)
        PeriodicTask.objects.bulk_update([row], ["enabled"])
        PeriodicTask.objects.bulk_create([PeriodicTask(name="b", task="t", interval=every)])
        assert PeriodicTasks.last_change() == before
        PeriodicTasks.update_changed()
        assert PeriodicTasks.last_change() > before
        before = PeriodicTasks.last_change()
        row.save()
        assert PeriodicTasks.last_change() > before
    """)


@pytest.mark.proves("DCE617")
def test_get_or_create_of_equal_rows_raises() -> None:
    django_beat("""
        for model, fields in ((IntervalSchedule, {"every": 1, "period": "days"}), (CrontabSchedule, {"hour": "3"})):
            model.objects.create(**fields)
            model.objects.create(**fields)
            try:
                model.objects.get_or_create(**fields)
            except model.MultipleObjectsReturned:
                assert model.objects.filter(**fields).first()
            else:
                raise AssertionError(model)
    """)


@pytest.mark.proves("DCE618")
def test_a_local_crontab_pauses_when_the_clock_goes_back() -> None:
    def longest_pause(zone: str) -> timedelta:
        app = Celery("shop", broker="memory://", set_as_current=False)
        app.conf.timezone = zone
        start = moment = last = datetime(2026, 11, 1, 4, tzinfo=UTC)
        every = crontab(minute="*/15", app=app, nowfun=lambda: moment.astimezone(ZoneInfo(zone)))
        pause = timedelta(0)
        while moment < start + timedelta(hours=4):
            if every.is_due(last.astimezone(ZoneInfo(zone))).is_due:
                pause, last = max(pause, moment - last), moment
            moment += timedelta(minutes=5)
        return pause

    assert longest_pause("America/New_York") == timedelta(minutes=75)
    assert longest_pause("UTC") == timedelta(minutes=15)
