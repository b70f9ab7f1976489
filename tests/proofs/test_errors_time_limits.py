"""error-handling: what a soft and a hard time limit leave behind on the prefork pool."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop
from waiting import until


@pytest.mark.proves("error-handling#time-limits")
def test_limits_set_or_missed(shop: MakeShop, redis: Redis) -> None:
    """`except Exception` swallows the soft limit and only the hard one ends the task: SystemExit, then a
    SIGKILL 0.1 s later, in the middle of a `finally` that takes 1 s. Limits given with the call hold, for its retries
    too; assigning self.request.timelimit changes nothing."""
    shop = shop("error-handling", redis)
    shop.tasks(
        """
        import time
        from celery.exceptions import SoftTimeLimitExceeded

        def sleep(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.05)

        @shared_task(soft_time_limit=1, time_limit=2)
        def swallows():
            try:
                try:
                    sleep(60)
                except Exception:
                    note("swallowed")
                    sleep(60)
            except SystemExit:
                note("exit")
                raise
            finally:
                note("finally")
                sleep(1)
                note("cleaned up")

        @shared_task(bind=True, autoretry_for=(SoftTimeLimitExceeded,), max_retries=1, default_retry_delay=0)
        def by_call(self):
            note("by call", limits=self.request.timelimit)
            sleep(60)

        @shared_task(bind=True)
        def assigned(self):
            self.request.timelimit = (2, 1)
            sleep(2)
            note("survived")
        """
    )
    worker = shop.worker("-c", "3")
    swallows, by_call, assigned = shop.do(
        """
        from proofs import tasks
        result = [tasks.swallows.delay().id, tasks.by_call.apply_async(soft_time_limit=1, time_limit=9).id,
                  tasks.assigned.delay().id]
        """
    )
    states = f"[app.AsyncResult(id).state for id in {[swallows, by_call, assigned]}]"
    until(lambda: shop.ask(states) == ["FAILURE", "FAILURE", "SUCCESS"], what="all ended")
    counts = shop.counts()
    assert counts["swallowed"] == 1 and counts["exit"] == counts["finally"] == 1 and counts["cleaned up"] == 0
    assert counts["survived"] == 1
    assert [line["limits"] for line in shop.ledger("by call")] == [[9, 1], [9, 1]]
    assert worker.output.count("Soft time limit (1s) exceeded for proofs.tasks.by_call") == 2
    assert "Hard time limit (2s) exceeded for proofs.tasks.swallows" in worker.output
