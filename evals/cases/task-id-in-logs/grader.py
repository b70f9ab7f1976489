"""Whether each line that a worker logs about a task is JSON that names the task: its own, its helpers', Celery's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from evals.trial import Trial, Verdict, all_ended

SEND = """
result = [app.send_task("orders.ship_order", (4101,)).id, app.send_task("orders.bill_order", (4102,)).id]
"""
OUTSIDE = "import logging; logging.getLogger('orders.views').warning('a page of order %s', 4103)"


class Line(NamedTuple):
    """A line that must be there: what it is called, what it holds, and the task that it must name."""

    title: str
    words: tuple[str, ...]
    id: str
    name: str


def parsed(line: str) -> dict[str, Any]:
    """The object of a line, empty when it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def trouble(output: list[str], wanted: Line) -> str:
    """What is wrong with a line of the output; empty when it is as it should be."""
    found = [line for line in output if all(word in line for word in wanted.words)]
    if not found:
        return f"no line {wanted.title!r}"
    answers = [parsed(line) for line in found]
    if not all(answers):
        return f"{wanted.title!r} is no JSON: {found[0][:90]}"
    named = {(answer.get("task_id"), answer.get("task_name")) for answer in answers}
    return "" if named == {(wanted.id, wanted.name)} else f"{wanted.title!r} names {sorted(map(str, named))}"


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis")
    worker = shop.worker("-c", "2", wait=False)
    shipped, billed = shop.do(SEND)
    all_ended(shop, 2)
    states = {line["task"]: line["state"] for line in shop.ledger("ended")}
    yield Verdict("runs", states == {"orders.ship_order": "SUCCESS", "orders.bill_order": "FAILURE"}, str(states))

    shop.do(OUTSIDE)
    web = (shop.folder / "driver.log").read_text(errors="replace")
    worker.stop()
    output = worker.output.splitlines()
    errors = (web + worker.output).count("--- Logging error ---")
    seen = "a page of order 4103" in web
    yield Verdict("outside", seen and not errors, f"{'printed' if seen else 'not printed'}, {errors} errors in logging")

    ship, bill = (shipped, "orders.ship_order"), (billed, "orders.bill_order")
    own = [
        Line("shipping", ("shipping order 4101",), *ship),
        Line("helper", ("quotes order 4101",), *ship),
        Line("billing", ("billing order 4102",), *bill),
    ]
    celery = [
        Line("received", (f"[{shipped}] received",), *ship),
        Line("received", (f"[{billed}] received",), *bill),
        Line("succeeded", (f"[{shipped}] succeeded",), *ship),
    ]
    failure = Line("failure", (f"[{billed}]", "raised unexpected", "Traceback (most recent", "in bill_order"), *bill)
    for criterion, lines in (("own-lines", own), ("celery-lines", celery), ("failure", [failure])):
        wrong = [why for line in lines if (why := trouble(output, line))]
        yield Verdict(criterion, not wrong, "; ".join(wrong) or f"{len(lines)} of {len(lines)} lines as asked")

    counts = [sum(all(word in text for word in line.words) for text in output) for line in (*own, *celery, failure)]
    yield Verdict("once", max(counts) < 2, f"printed {counts} times")
