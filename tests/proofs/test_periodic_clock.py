"""periodic-tasks: when Beat sends. Its own scheduler runs here, under a clock that the proofs move."""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pages
import pytest
from celery import Celery, _state
from celery.beat import PersistentScheduler, ScheduleEntry, Scheduler
from celery.schedules import crontab
from django_celery_beat.tzcrontab import TzAwareCrontab

PAGE = pages.SKILL / "references" / "periodic-tasks.md"
AMSTERDAM, NEW_YORK = ZoneInfo("Europe/Amsterdam"), ZoneInfo("America/New_York")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 6, 1, tzinfo=AMSTERDAM)  # which is the 1st, too


class Clock:
    """The time, for Beats and by hand; what they have sent: entry → times as the clock on the wall shows them."""

    def __init__(self, now: datetime, schedules: dict[str, Any], **settings: Any) -> None:
        self.now = now
        self.sent: dict[str, list[datetime]] = defaultdict(list)
        self.app = Celery("clock", set_as_current=False, broker="memory://")
        entries = {name: {"task": name, "schedule": copy(schedule)} for name, schedule in schedules.items()}
        self.app.conf.update(beat_schedule=entries, timezone=str(now.tzinfo), result_expires=None, **settings)
        self.app.now = lambda: self.now

    def beat(self, kind: type[Scheduler] = Scheduler, **options: Any) -> Scheduler:
        """A Beat that starts now."""
        sent = self.sent

        class Beat(kind):
            def apply_async(self, entry: ScheduleEntry, **rest: Any) -> None:
                sent[entry.name].append(self.app.now())

        return Beat(app=self.app, **options)

    def wait(self, elapsed: timedelta) -> None:
        self.now = (self.now.astimezone(UTC) + elapsed).astimezone(self.now.tzinfo)

    def run(self, beat: Scheduler, elapsed: timedelta) -> None:
        """Let Beat work for so long: it sleeps as long as each tick asks for."""
        end = self.now.astimezone(UTC) + elapsed
        while (left := end - self.now) > timedelta(0):
            self.wait(min(left, timedelta(seconds=max(beat.tick(), 0.001))))

    def times(self, name: str) -> list[str]:
        return [f"{moment + timedelta(seconds=0.5):%H:%M}" for moment in self.sent[name]]

    def gap(self, name: str) -> int:
        """The longest silence between two runs, in minutes."""
        moments = [moment.astimezone(UTC) for moment in self.sent[name]]
        return round(max(later - earlier for earlier, later in pairwise(moments)) / timedelta(minutes=1))


def after(start: datetime, schedules: dict[str, Any], elapsed: timedelta, **settings: Any) -> Clock:
    """The clock, once a Beat that began at ``start`` has worked for so long."""
    clock = Clock(start, schedules, **settings)
    clock.run(clock.beat(), elapsed)
    return clock


def rows(section: str) -> list[list[str]]:
    """The cells of the section's table."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def written(arguments: str) -> crontab:
    """The crontab with these arguments, at 09:00 unless they say otherwise."""
    return eval(f"crontab(**{{'minute': 0, 'hour': 9}} | dict({arguments}))")


CHANGES = {  # the nights of 2026 in which the clock goes forward and back
    AMSTERDAM: (datetime(2026, 3, 29), datetime(2026, 10, 25)),
    NEW_YORK: (datetime(2026, 3, 8), datetime(2026, 11, 1)),
}


@pytest.mark.proves("periodic-tasks#time-zones-and-dst")
@pytest.mark.parametrize("zone", CHANGES, ids=str)
def test_clock_changes(zone: ZoneInfo, evidence: dict) -> None:
    """A local crontab at 02:30 is sent once in the night the clock goes forward (at 03:30) and once when it goes back,
    but `*/15` is silent for 75 minutes when it goes back; the interval and the crontab in UTC stay steady in both."""
    schedules = {row[0]: eval(row[0].strip("`").partition("` sent")[0]) for row in rows("Time zones and DST")}
    half_past, half_hourly, quarters, hourly, daily = schedules
    forward, back = (
        after(night.replace(tzinfo=zone) + timedelta(minutes=1), schedules, 9 * HOUR) for night in CHANGES[zone]
    )
    assert forward.times(half_past) == ["03:30"] and back.times(half_past) == ["02:30"]
    assert forward.times(half_hourly) == ["01:00", "01:30", "03:00", "03:30"]
    assert back.times(half_hourly) == ["01:00", "01:30", "02:00", "02:30", "03:00", "03:30"]
    assert [clock.gap(quarters) for clock in (forward, back)] == [15, 75]
    assert [clock.gap(hourly) for clock in (forward, back)] == [60, 60]

    in_utc = [
        after(night.replace(tzinfo=zone).astimezone(ZoneInfo("UTC")), {quarters: schedules[quarters]}, 9 * HOUR)
        for night in CHANGES[zone]
    ]
    assert [clock.gap(quarters) for clock in in_utc] == [15, 15]

    noons = [night.replace(tzinfo=zone) + timedelta(hours=-36) for night in CHANGES[zone]]
    assert [after(noon, {daily: schedules[daily]}, 4 * DAY).times(daily)[:3] for noon in noons] == [
        ["12:00", "13:00", "13:00"],
        ["12:00", "11:00", "11:00"],
    ]
    evidence["figures"]["silence of */15 when the clock goes back, minutes"] = back.gap(quarters)


@pytest.mark.proves("periodic-tasks#time-zones-and-dst")
def test_clock_changes_for_rows() -> None:
    """A database row's crontab follows the row's own zone, with Celery's in UTC: 02:30 is sent once in each of the
    two nights in New York, and `*/15` is silent for 75 minutes all the same."""
    seen = []
    for night in CHANGES[NEW_YORK]:
        clock = Clock(night.replace(tzinfo=NEW_YORK).astimezone(ZoneInfo("UTC")), {})

        class Row(TzAwareCrontab):
            def nowfunc(self, clock: Clock = clock) -> datetime:
                return clock.now.astimezone(self.tz)

        rows = {"half_past": Row(minute=30, hour=2, tz=NEW_YORK), "quarters": Row(minute="*/15", tz=NEW_YORK)}
        clock.app.conf.beat_schedule = {name: {"task": name, "schedule": row} for name, row in rows.items()}
        clock.run(clock.beat(), 9 * HOUR)
        local = [moment.astimezone(NEW_YORK) + timedelta(seconds=0.5) for moment in clock.sent["half_past"]]
        seen.append(([f"{moment:%H:%M}" for moment in local], clock.gap("quarters")))
    assert seen == [(["03:30"], 15), (["02:30"], 75)]


@pytest.mark.proves("periodic-tasks#crontab")
def test_what_crontabs_mean() -> None:
    """Every row of the page's table, sent by Beat over a day, a month or a year: an omitted field is "every", the third
    argument is the day of the week, days of week and month are joined by AND, `*/45` is :00 and :45, and what cannot
    be is a ValueError; the cures fire as often as meant."""

    def count(schedule: crontab, elapsed: timedelta, start: datetime = MONDAY - timedelta(seconds=1)) -> int:
        return len(after(start, {"it": schedule}, elapsed, beat_max_loop_interval=86_400).sent["it"])

    table = rows("Crontab")
    wrong = [row[0].strip("`") for row in table]
    assert wrong[:2] == ["crontab(hour=3)", 'crontab(day_of_week="mon,wed")']
    assert count(eval(wrong[0]), DAY) == 60 and count(crontab(hour=3, minute=0), DAY) == 1
    assert count(eval(wrong[1]), 7 * DAY) == 2 * 24 * 60
    assert count(crontab(minute=0, hour=3, day_of_week="mon,wed"), 7 * DAY) == 2
    assert count(eval(wrong[2]), 30 * DAY) == 24 and count(crontab(minute=0, hour=0, day_of_month=1), 30 * DAY) == 1

    third = after(MONDAY, {"wrong": eval(wrong[3]), "right": crontab.from_string("0 3 1 * *")}, 30 * DAY)
    assert {moment.weekday() for moment in third.sent["wrong"]} == {0} and len(third.sent["wrong"]) == 5
    assert [moment.day for moment in third.sent["right"]] == [1]

    fridays = after(MONDAY, {"both": written(wrong[4])}, 400 * DAY)
    assert {(moment.day, moment.weekday()) for moment in fridays.sent["both"]} == {(13, 4)}
    three_quarters = {"wrong": eval(f"crontab({wrong[5]})"), "right": timedelta(minutes=45)}
    clock = after(MONDAY + timedelta(minutes=1), three_quarters, 3 * HOUR)
    assert clock.times("wrong")[:3] == ["00:45", "01:00", "01:45"] and clock.gap("right") == 45
    assert count(written(wrong[6]), 365 * DAY) == 7

    assert wrong[7] == "day_of_week=7`, `L`, `?`, `1#2`, `0/15"
    for refused in ("day_of_week=7", "day_of_month='L'", "day_of_month='?'", "day_of_week='1#2'", "minute='0/15'"):
        with pytest.raises(ValueError, match=r"[Ii]nvalid"):
            written(refused)
    with pytest.raises(ValueError, match="30"):
        written("day_of_month=30, month_of_year=2")


@pytest.mark.proves("periodic-tasks#static-schedule")
@pytest.mark.proves("periodic-tasks#missed-runs")
def test_missed_ticks() -> None:
    """The page's schedule sends 24 and 288 messages a day: the crontab by the wall clock, the interval from the last
    send. After three days without Beat one overdue message of each follows, never one per missed tick. A nightly
    crontab missed at 03:00 is sent at 09:00 by default; with the page's starting deadline it waits for the next 03:00,
    and the interval does not."""
    names: dict[str, Any] = {}
    block = next(block for block in pages.blocks(PAGE) if block.name == "shop/settings.py")
    exec(block.fence.content, names)
    schedules = {name: entry["schedule"] for name, entry in names["CELERY_BEAT_SCHEDULE"].items()}
    deadline = {"beat_cron_starting_deadline": names["CELERY_BEAT_CRON_STARTING_DEADLINE"]}

    clock = Clock(MONDAY + timedelta(minutes=2), schedules, **deadline)
    beat = clock.beat()
    clock.run(beat, DAY)
    assert {name: len(times) for name, times in clock.sent.items()} == {"daily-totals": 24, "sync-contacts": 288 - 1}
    assert clock.times("daily-totals")[:2] == ["00:15", "01:15"] and clock.times("sync-contacts")[0] == "00:07"

    clock.sent.clear()
    clock.wait(3 * DAY)
    clock.run(beat, timedelta(minutes=4))
    assert {name: len(times) for name, times in clock.sent.items()} == {"daily-totals": 1, "sync-contacts": 1}

    nightly = {"nightly": crontab(hour=3, minute=0), "interval": 6 * HOUR}
    for settings, expected in (({}, ["09:00", "03:00"]), (deadline, ["03:00", "03:00"])):
        clock = Clock(MONDAY + timedelta(hours=2), nightly, **settings)
        beat = clock.beat()
        clock.wait(7 * HOUR)
        clock.run(beat, 2 * DAY)
        assert clock.times("nightly")[:2] == expected and clock.times("interval")[0] == "09:00"


@pytest.mark.proves("periodic-tasks#run-one-beat")
def test_schedule_file_over_deploys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: dict) -> None:
    """Five deploys, 6 s apart, of a Beat with an interval of 8 s: with a new schedule file each time nothing is ever
    sent, with the file kept it is. A daily interval under daily deploys never runs without the file, a crontab does."""
    short, long = {"short": timedelta(seconds=8)}, {"interval": DAY, "crontab": crontab(hour=3, minute=0)}
    sent: dict[str, list[int]] = defaultdict(list)
    for keeps_file in (False, True):
        for schedules, apart in ((short, timedelta(seconds=6)), (long, DAY - timedelta(minutes=10))):
            clock = Clock(MONDAY, schedules)
            monkeypatch.setattr(_state._tls, "current_app", clock.app)  # a schedule from the file asks for it
            for deploy in range(6):
                name = f"{keeps_file}-{'short' in schedules}-{0 if keeps_file else deploy}"
                beat = clock.beat(PersistentScheduler, schedule_filename=str(tmp_path / name))
                clock.run(beat, apart)
                beat.close()
            for entry in schedules:
                sent[entry].append(len(clock.sent[entry]))
    assert sent == {"short": [0, 4], "interval": [0, 5], "crontab": [6, 6]}
    evidence["figures"] |= {"runs of an 8 s interval over five deploys, file lost": 0, "file kept": sent["short"][1]}
