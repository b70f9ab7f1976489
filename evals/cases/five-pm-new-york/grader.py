"""Until when a worker holds the reminder of a winter's day, a summer's day and the days on which the clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from evals.trial import PATIENCE, Trial, Verdict
from waiting import Late, until

NEW_YORK = ZoneInfo("America/New_York")
WAITING = "(app.control.inspect(timeout=5, limit=1).scheduled() or {}).get('w1@proof', [])"
ZONES = "import django.conf; result = [str(app.conf.timezone), django.conf.settings.TIME_ZONE]"


def sunday(year: int, month: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


def right(eta: datetime | None, day: date) -> bool:
    """Whether it is five there on that day; a countdown may be some seconds old when it is published."""
    five = datetime(day.year, day.month, day.day, 17, tzinfo=NEW_YORK)
    return eta is not None and abs(eta.timestamp() - five.timestamp()) < 60


def say(eta: datetime | None) -> str:
    return "no message" if eta is None else f"{eta.astimezone(NEW_YORK):%d %B %H:%M} in New York"


def grade(trial: Trial) -> Iterator[Verdict]:
    year = date.today().year + 1
    winter, summer, forward, back = date(year, 1, 15), date(year, 7, 15), sunday(year, 3, 2), sunday(year, 11, 1)
    shop = trial.shop()
    shop.do("from datetime import date; from orders.reminders import schedule_reminder")
    ids = [
        shop.ask(f"schedule_reminder({pk}, date.fromisoformat('{day}'))")
        for pk, day in enumerate((winter, summer, forward, back), 1)
    ]
    shop.worker("-P", "solo")
    held: list[dict] = []

    def all_held() -> bool:
        held[:] = shop.ask(WAITING)
        return len(held) >= len(ids)

    with suppress(Late):  # what is missing then is missing in the verdict
        until(all_held, PATIENCE)
    etas = {}
    for entry in held:
        for order in (*entry["request"]["args"], *entry["request"]["kwargs"].values()):
            etas[str(order)] = datetime.fromisoformat(entry["eta"])

    kept = {(entry["request"]["id"], entry["request"]["name"]) for entry in held}
    wanted = {(task_id, "orders.send_reminder") for task_id in ids}
    evidence = f"{len(held)} messages wait in the worker, {len(kept & wanted)} of them under an id that was returned"
    yield Verdict("schedules", kept == wanted and len(held) == 4, evidence)
    yield Verdict("winter", right(etas.get("1"), winter), say(etas.get("1")))
    yield Verdict("summer", right(etas.get("2"), summer), say(etas.get("2")))
    changes = right(etas.get("3"), forward) and right(etas.get("4"), back)
    yield Verdict("clock-changes", changes, f"{say(etas.get('3'))}, {say(etas.get('4'))}")
    zones = shop.do(ZONES)
    yield Verdict("others-unmoved", zones == ["Europe/Amsterdam"] * 2, f"Celery {zones[0]}, Django {zones[1]}")
