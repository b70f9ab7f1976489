"""What graders share that kill processes: no waiting for what takes minutes in earnest, and telling what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shop import Shop
from waiting import Late, until

from .trial import Trial

PATIENCE = 120  # seconds, for what must come: a loaded machine needs many, an idle one none of them
# A retry comes at once, whatever delay was chosen; the ledger also tells which tasks failed for good.
AT_ONCE = """
from celery.app.task import Task
from celery.signals import task_failure

later = Task.signature_from_request

def at_once(self, *args, countdown=None, eta=None, **options):
    return later(self, *args, **options)

Task.signature_from_request = at_once

@task_failure.connect
def gave_up(sender, task_id, **_): note("failed", task=sender.name, id=task_id)
"""


def came(condition: Callable[[], object], seconds: float) -> bool:
    """Whether a condition came true in time."""
    try:
        return bool(until(condition, seconds))
    except Late:
        return False


def unended(shop: Shop) -> set[str]:
    """The ids of the tasks that were begun and have neither ended nor failed."""
    closed = {line["id"] for line in shop.ledger("failed")}
    closed |= {line["id"] for line in shop.ledger("ended") if line["state"] != "RETRY"}
    return {line["id"] for line in shop.ledger("began")} - closed


def accepted(shop: Shop) -> bool:
    """Whether the worker has taken note that a task runs: from here on one that is acknowledged early is lost."""
    (reply,) = shop.ask("app.control.broadcast('active', reply=True, limit=1, timeout=20)") or [{}]
    return any(reply.values())


def past_visibility(trial: Trial) -> Callable[[], bool]:
    """Let the visibility timeout end for all that Redis has handed out, and tell when a worker has put it back.

    A worker looks when it starts. Messages handed out later are not touched.
    """
    client = trial.servers.redis.client()
    held = client.zrange("unacked_index", 0, -1)
    for tag in held:
        client.zadd("unacked_index", {tag: 0})
    client.delete("unacked_mutex")  # a killed worker may have held it
    score = partial(client.zscore, "unacked_index")
    return lambda: all(score(tag) is None for tag in held)
