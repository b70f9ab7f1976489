"""monitoring-observability: in which process a signal's receivers run."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import NOTICED_SOON, MakeShop
from waiting import until

TASKS = """
    import os, signal, time
    from celery import signals

    WATCHED = ("worker_ready", "task_received", "task_revoked", "worker_process_init", "task_prerun", "task_postrun",
               "task_success", "task_retry", "task_failure")

    def watch(name):
        def receiver(sender, **kwargs):
            note(name, task=getattr(sender, "name", ""))
        getattr(signals, name).connect(receiver, weak=False)
        def collected(sender, **kwargs):  # only weakly referenced, gone when this function ends
            note("collected")
        getattr(signals, name).connect(collected)

    for name in WATCHED:
        watch(name)

    @shared_task(name="proofs.plain")
    def plain(): pass

    @signals.task_prerun.connect(sender="proofs.plain")
    def by_name(**kwargs): note("by name")

    @signals.task_prerun.connect(sender=plain)
    def by_task(**kwargs): note("by task")

    @signals.task_prerun.connect
    def breaks(**kwargs): raise RuntimeError("of a receiver")

    @signals.task_received.connect
    def blocks(request, **kwargs):
        while request.name == "proofs.blocked" and not os.path.exists("go-on"):
            time.sleep(0.02)

    @shared_task(name="proofs.blocked")
    def blocked(): pass

    @shared_task(name="proofs.fails")
    def fails(): raise ValueError

    @shared_task(name="proofs.retried", bind=True, default_retry_delay=0, max_retries=1)
    def retried(self): raise self.retry(exc=OSError())

    @shared_task(name="proofs.killed")
    def killed(): os.kill(os.getpid(), signal.SIGKILL)

    @shared_task(name="proofs.hard", time_limit=1)
    def hard(): time.sleep(1000)
"""


@pytest.mark.proves("monitoring-observability#signals")
def test_process_of_a_receiver(shop: MakeShop, redis: Redis) -> None:
    """Prefork calls worker_ready, task_received and task_revoked in the main process, the task's own signals in the
    child; task_failure in the child, but in the main process for a lost worker and, twice, for a hard limit. Threads
    send no worker_process_init. A receiver in the main process stops all receiving; its exception is only logged; a
    sender by name and a nested function without weak=False never fire."""
    shop = shop("monitoring-observability", redis)
    shop.tasks(NOTICED_SOON, TASKS)
    worker = shop.worker("-c", "1")

    def seen(event: str, *tasks: str) -> list[int]:
        """The pids that were called, for these tasks or all."""
        names = [f"proofs.{name}" for name in tasks]
        return [line["pid"] for line in shop.ledger(event) if not names or line["task"] in names]

    shop.do(
        """
        for name in ("plain", "fails", "retried"):
            app.send_task("proofs." + name)
        """
    )
    until(lambda: len(seen("task_failure")) == 2, what="two have failed")
    child = seen("worker_process_init")[0]
    assert child != worker.pid
    assert seen("worker_ready") == [worker.pid]
    assert set(seen("task_received")) == {worker.pid}
    for event in ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure"):
        assert set(seen(event)) == {child}, event
    for name in ("killed", "hard"):
        shop.do(f"app.send_task('proofs.{name}')")
        until(lambda name=name: seen("task_failure", name), what=f"{name} has failed")
    shop.do(
        """
        app.control.revoke("revoked", reply=True, limit=1)
        app.send_task("proofs.plain", task_id="revoked")
        app.send_task("proofs.plain")
        """
    )
    until(lambda: shop.counts()["by task"] == 2, what="a task after the revoked one ran")
    assert seen("task_failure", "killed", "hard") == [worker.pid] * 3
    assert seen("task_revoked") == [worker.pid]
    assert shop.counts()["by name"] == shop.counts()["collected"] == 0
    assert "RuntimeError: of a receiver" in worker.output or "RuntimeError('of a receiver')" in worker.output

    received = len(seen("task_received"))
    shop.do("app.send_task('proofs.blocked'); app.send_task('proofs.plain')")
    until(lambda: redis.client().llen("celery") == 1, what="the second message waits")
    assert shop.ask("app.control.ping(timeout=1)") == []
    assert len(seen("task_received")) == received + 1
    (shop.folder / "go-on").touch()
    until(lambda: shop.counts()["by task"] == 3, what="the second ran")
    worker.stop()

    forked = shop.counts()["worker_process_init"]
    shop.worker("-c", "1", "-P", "threads")
    shop.do("app.send_task('proofs.plain')")
    until(lambda: shop.counts()["by task"] == 4, what="a thread ran it")
    assert shop.counts()["worker_process_init"] == forked
