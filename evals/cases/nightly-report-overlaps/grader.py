"""Whether one report works at a time, on two workers, past the end of a lock, and after a worker's death."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from evals.clock import hours_pass
from evals.trial import PATIENCE, Trial, Verdict
from shop import Shop
from waiting import Late, until

# The CRM answers a run when the grader says so.
SLOW = """
import pathlib as _pathlib, time as _time
from celery import current_task as _task
import crm.client
from proofs.ledger import note as _note

def _fetch_page(cursor=None):
    run, end = _task.request.id, _time.monotonic() + 200
    _note("works", id=run)
    while not _pathlib.Path("go-" + run).exists() and _time.monotonic() < end:
        _time.sleep(0.02)
    _note("worked", id=run)
    return [{"name": "a"}], None

crm.client.fetch_page = _fetch_page
"""


class Night:
    """The runs of a shop."""

    def __init__(self, trial: Trial) -> None:
        self.shop: Shop = trial.shop("redis", "postgres")
        self.shop.configure(SLOW)

    def ids(self, *events: str) -> set[str]:
        return {line["id"] for line in self.shop.ledger() if line["event"] in events}

    def working(self, *runs: str) -> set[str]:
        return (self.ids("works") - self.ids("worked")) & {*runs}

    def start(self, queue: str) -> str:
        return self.shop.do(f"result = app.send_task('orders.nightly_report', queue={queue!r}).id")

    def settled(self, *runs: str) -> None:
        """Wait until each run works or has ended; one that waits for another's end is given some seconds."""
        until(lambda: self.ids("began") >= {*runs}, PATIENCE, "the workers have the runs")
        with suppress(Late):
            until(lambda: self.ids("works", "ended") >= {*runs}, 10)

    def finish(self, *runs: str) -> None:
        for run in runs:
            (self.shop.folder / f"go-{run}").touch()
        until(lambda: self.ids("ended") >= {*runs}, PATIENCE, "the runs have ended")

    def reports(self) -> int:
        return len([*(self.shop.folder / "media" / "reports").glob("*")])


def grade(trial: Trial) -> Iterator[Verdict]:
    night = Night(trial)
    one, two = (night.shop.worker("-P", "threads", "-c", "8", "-Q", queue, wait=False) for queue in ("one", "two"))
    until(lambda: all("ready." in worker.output for worker in (one, two)), 2 * PATIENCE, "the workers are up")

    runs = night.start("one"), night.start("two")
    night.settled(*runs)
    at_once = len(night.working(*runs))
    night.finish(*runs)
    yield Verdict("reports", night.reports() > 0, f"{night.reports()} reports written")
    yield Verdict("one-at-a-time", at_once == 1, f"{at_once} runs worked at once")

    slow = night.start("one")
    night.settled(slow)
    hours_pass(night.shop, trial.servers.redis, 24)
    second = night.start("one")
    night.settled(second)
    night.finish(slow)
    third = night.start("one")
    night.settled(third)
    beside = len(night.working(second, third))
    night.finish(second, third)
    yield Verdict("strangers-lock", beside <= 1, f"{beside} runs at once after a slow one had ended")

    killed = night.start("two")
    until(lambda: night.working(killed), PATIENCE, "it works")
    two.kill()
    hours_pass(night.shop, trial.servers.redis, 24)
    tried = []

    def works() -> bool:
        tried.append(night.start("one"))
        night.settled(tried[-1])
        return bool(night.working(tried[-1]))

    with suppress(Late):  # PostgreSQL takes a moment to notice
        until(works, 8)
    seen = f"{len(night.working(*tried))} of {len(tried)} runs work a day after the death"
    yield Verdict("after-death", bool(night.working(*tried)), seen)
