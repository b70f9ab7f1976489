"""error-handling: which hooks run when a task has finally failed, and how often."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis
from shop import NOTICED_SOON, MakeShop
from waiting import stays, until

# Calls of task_failure, Task.on_failure and the errback, as the page's table has them.
TABLE = {
    "exception": (1, 1, 1),
    "soft": (1, 1, 1),
    "autoretry": (1, 1, 1),
    "retry_exc": (1, 1, 1),
    "retry_bare": (1, 1, 1),
    "hard": (2, 1, 2),
    "killed": (1, 0, 1),
    "rejected": (1, 0, 1),
}
ERRORS = {
    "autoretry": "OSError",
    "retry_exc": "OSError",
    "retry_bare": "MaxRetriesExceededError",
    "soft": "SoftTimeLimitExceeded",
    "hard": "TimeLimitExceeded",
    "killed": "WorkerLostError",
    "rejected": "Reject",
}


@pytest.mark.proves("error-handling#exhausted-retries")
def test_hooks_at_the_end(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """task_failure is the one hook that hears of every end: Task.on_failure misses a killed child and a Reject, a hard
    limit calls it twice, and all that is not raised in the task runs in the worker's main process. A retry calls only
    task_retry; exhausted retries end with the original exception, so `except MaxRetriesExceededError` beside
    retry(exc=exc) is dead code. A receiver that upserts keeps one row each; a dead worker calls nothing; on Redis a
    rejected message is gone."""
    shop = shop("error-handling", redis, postgres)  # three processes write at once
    shop.tasks(
        NOTICED_SOON,
        """
        import os, signal, time
        from celery.contrib.django.task import DjangoTask
        from celery.exceptions import MaxRetriesExceededError, Reject
        from celery.signals import task_failure, task_retry

        class Hooked(DjangoTask):
            abstract = True
            max_retries = 1
            default_retry_delay = 0

            def on_failure(self, exc, *rest):
                note("on_failure", task=self.name)

        @task_failure.connect
        def failed(sender, exception, **extra):
            note("task_failure", task=sender.name, error=type(exception).__name__)

        @task_retry.connect
        def again(sender, **extra):
            note("task_retry", task=sender.name)

        @shared_task
        def errback(request, exc, traceback, name):
            note("errback", task=name)

        def hooked(**options):
            return lambda run: shared_task(name=run.__name__, base=Hooked, **options)(run)

        @hooked()
        def exception(): raise ValueError

        @hooked(soft_time_limit=1)
        def soft(): time.sleep(60)

        @hooked(autoretry_for=(OSError,))
        def autoretry(): raise OSError

        @hooked(bind=True)
        def retry_exc(self):
            try:
                raise OSError
            except OSError as exc:
                try:
                    raise self.retry(exc=exc)
                except MaxRetriesExceededError:
                    note("unreachable")

        @hooked(bind=True)
        def retry_bare(self): raise self.retry()

        @hooked(time_limit=1)
        def hard(): time.sleep(60)

        @hooked()
        def killed(): os.kill(os.getpid(), signal.SIGKILL)

        @hooked(acks_late=True)
        def rejected(): raise Reject("no", requeue=False)

        @hooked(acks_late=True)
        def dead():
            note("dead")
            time.sleep(60)
        """,
    )
    worker = shop.worker("-c", "2")
    send = (
        "from proofs.tasks import errback\nresult = []\nfor name in {}:\n"
        "    result.append(app.send_task(name, link_error=errback.s(name)).id)"
    )

    def calls() -> dict[str, tuple[int, ...]]:
        ledger = [(line["event"], line.get("task")) for line in shop.ledger()]
        hooks = ("task_failure", "on_failure", "errback")
        return {name: tuple(ledger.count((hook, name)) for hook in hooks) for name in TABLE}

    ids = []
    # The hard limit comes last, alone: what is given to the child that is about to be killed would die with it.
    for names in ([name for name in TABLE if name != "hard"], ["hard"]):
        ids += shop.do(send.format(names))
        ended = lambda names=names: all(all(map(int.__ge__, calls()[name], TABLE[name])) for name in names)  # noqa: E731
        until(ended, 30, f"{names} have ended")
    stays(lambda: calls() == TABLE, 1, "no further call")
    assert shop.counts()["unreachable"] == 0
    failures = shop.ledger("task_failure")
    assert {line["task"]: line["error"] for line in failures} == ERRORS | {"exception": "ValueError"}
    assert {line["task"] for line in failures if line["pid"] == worker.pid} == {"hard", "killed", "rejected"}
    assert sorted(line["task"] for line in shop.ledger("task_retry")) == ["autoretry", "retry_bare", "retry_exc"]
    assert shop.ask(f"{{app.AsyncResult(id).state for id in {ids}}} == {{'FAILURE'}}")
    assert sorted(shop.ask("list(DeadLetter.objects.values_list('name', flat=True))")) == sorted(TABLE)
    until(lambda: not redis.client().exists("celery", "unacked"), what="the rejected message is gone")

    dead = shop.do(send.format(["dead"]))[0]
    until(lambda: shop.counts()["dead"], what="the last task runs")
    worker.kill()
    stays(lambda: len(shop.ledger("task_failure")) == len(failures), 0.5, "nobody is left to call anything")
    assert shop.ask(f"app.AsyncResult({dead!r}).state") == "PENDING"
    evidence["figures"] |= {f"{name}: task_failure, on_failure, errback": list(TABLE[name]) for name in TABLE}
