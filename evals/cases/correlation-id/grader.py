"""Whether one request's id reaches every task that follows from it, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from evals.trial import PATIENCE, Trial, Verdict
from shop import Raised
from waiting import Late, until

STEPS = """
from shop.request_id import request_id

@shared_task
def step(name): note(name, id=request_id.get())

@shared_task
def outer(): step.delay("nested")

@shared_task(bind=True, max_retries=1)
def retried(self):
    note(f"run-{self.request.retries}", id=request_id.get())
    if not self.request.retries:
        raise self.retry(countdown=0)
"""
# In a context of its own, as a request is.
REQUEST = """
import contextvars
from celery import chain, chord
from proofs.tasks import outer, request_id, retried, step

def request(value, view):
    def answer():
        request_id.set(value)
        return view()
    return contextvars.Context().run(answer)
"""
DIRECT = """
def view():
    step("direct")
    return request_id.get()
result = request("r-direct", view)
"""
STARTED = {
    "first": ("step.delay('plain')", ["plain"]),
    "chain": ("chain(step.si('one'), step.si('two'), step.si('three')).delay()", ["one", "two", "three"]),
    "nested": ("outer.delay()", ["nested"]),
    "retry": ("retried.delay()", ["run-0", "run-1"]),
    "chord": ("chord([step.si('head'), step.si('head')], step.si('body')).delay()", ["head", "head", "body"]),
}


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "", STEPS)
    shop.do(REQUEST)
    shop.worker("-c", "1")

    def seen(names: list[str]) -> list[str]:
        """The ids that these steps saw, once all of them ran."""
        with suppress(Late):  # what is missing then is missing in the verdict
            until(lambda: all(shop.counts()[name] >= names.count(name) for name in names), PATIENCE)
        return [line["id"] for line in shop.ledger() if line["event"] in names]

    for criterion, (code, names) in STARTED.items():
        shop.do(f"request('r-{criterion}', lambda: {code})")
        ids = seen(names)
        yield Verdict(criterion, ids == [f"r-{criterion}"] * len(names), f"{', '.join(names)} saw {ids}")

    shop.do("request('', lambda: step.delay('bare'))")
    ids = seen(["bare"])
    yield Verdict("next-task", len(ids) == 1 and not str(ids[0]).startswith("r-"), f"the next task saw {ids}")
    try:
        after = shop.do(DIRECT)
    except Raised as error:
        yield Verdict("direct-call", False, str(error).splitlines()[0])
    else:
        ids = seen(["direct"])
        yield Verdict("direct-call", [*ids, after] == ["r-direct"] * 2, f"inside {ids}, afterwards {after!r}")
