"""error-handling: what is left of a task when its process or its worker dies."""

from __future__ import annotations

import pytest
from servers import RabbitMQ, Redis
from shop import NOTICED_SOON, MakeShop
from waiting import until


@pytest.mark.proves("error-handling#lost-workers")
@pytest.mark.proves("configuration-guide#acknowledgement")
def test_killed_worker(shop: MakeShop, broker: Redis | RabbitMQ) -> None:
    """A worker is killed in the middle: with early acknowledgement the task is lost, with acks_late it runs again."""
    shop = shop("error-handling", broker, CELERY_BROKER_TRANSPORT_OPTIONS=QUICK if isinstance(broker, Redis) else {})
    shop.tasks(
        """
        import time

        @shared_task(name="proofs.early")
        def early(): note("early"); time.sleep(1000)

        @shared_task(name="proofs.late", acks_late=True)
        def late(): note("late"); time.sleep(1000)
        """
    )
    worker = shop.worker("-c", "2")
    shop.do("app.send_task('proofs.early'); app.send_task('proofs.late')")
    until(lambda: shop.counts() == {"early": 1, "late": 1}, what="both tasks started")
    worker.kill()
    shop.worker("-c", "2")
    until(lambda: shop.counts()["late"] == 2, 30, "the late task was delivered again")
    assert shop.counts()["early"] == 1


# How soon Redis gives back what a dead worker held; the defaults are an hour, looked at every 100 seconds.
QUICK = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}


@pytest.mark.proves("error-handling#lost-workers")
@pytest.mark.proves("configuration-guide#acknowledgement")
def test_killed_child(shop: MakeShop, broker: Redis | RabbitMQ, evidence: dict) -> None:
    """A task that kills its pool process is FAILURE with early acknowledgement and with acks_late; with
    reject_on_worker_lost it runs again and again; with retry_on_worker_lost, with acks_late or without, it runs
    max_retries + 1 times and is FAILURE."""
    shop = shop("error-handling", broker)
    shop.tasks(
        NOTICED_SOON,
        """
        import os, signal

        def dies(who):
            note(who)
            os.kill(os.getpid(), signal.SIGKILL)

        bound = {"retry_on_worker_lost": True, "max_retries": 2, "default_retry_delay": 0}
        for name, options in {
            "early": {},
            "late": {"acks_late": True},
            "rejected": {"acks_late": True, "reject_on_worker_lost": True},
            "retried": {"acks_late": True, **bound},
            "early_retried": bound,
        }.items():
            shared_task(name="proofs." + name, **options)(dies)
        """,
    )
    shop.worker("-c", "1")
    runs = {"early": 1, "late": 1, "retried": 3, "early_retried": 3}
    send = "result = app.send_task('proofs.' + {0!r}, [{0!r}]).task_id".format
    state = "app.AsyncResult({!r}).state".format
    for name in runs:
        task_id = shop.do(send(name))
        until(lambda task_id=task_id: shop.ask(state(task_id)) == "FAILURE", 40, f"{name} ended")
        assert shop.ask(f"type(app.AsyncResult({task_id!r}).result).__name__") == "WorkerLostError"
    task_id = shop.do(send("rejected"))
    until(lambda: shop.counts()["rejected"] >= 15, 40, "the rejected task runs on")
    assert shop.ask(state(task_id)) == "PENDING"
    assert {name: shop.counts()[name] for name in runs} == runs
    times = [line["at"] for line in shop.ledger("rejected")]
    evidence["figures"]["reject_on_worker_lost, runs/s"] = round((len(times) - 1) / (times[-1] - times[0]), 1)
