"""monitoring-observability: a worker's metrics, scraped over HTTP."""

from __future__ import annotations

import pytest
from servers import Redis, free_port, listens
from shop import NOTICED_SOON, MakeShop
from waiting import until
from web import scrape

TASKS = """
    import os, signal, time
    from celery.signals import task_failure

    @task_failure.connect  # after the page's receiver
    def failed(sender, **kwargs): note(sender.name)

    @shared_task(name="proofs.plain")
    def plain(): pass

    @shared_task(name="proofs.fails")
    def fails(): raise ValueError

    @shared_task(name="proofs.retried", bind=True, default_retry_delay=0.1, max_retries=2)
    def retried(self): raise self.retry(exc=OSError())

    @shared_task(name="proofs.hard", time_limit=1)
    def hard(): time.sleep(1000)

    @shared_task(name="proofs.killed")
    def killed(): os.kill(os.getpid(), signal.SIGKILL)
"""
# What most write first: a metric of the task's own process, and a server in the worker's main process.
WRONG = """
    from celery.signals import worker_ready
    from prometheus_client import Gauge, start_http_server

    gauge = Gauge("proofs_backlog", "Set in a task")

    @shared_task(name="proofs.sets_gauge")
    def sets_gauge():
        gauge.set(7)
        note("set")

    @worker_ready.connect
    def serve_wrong(**kwargs):
        if "WRONG_PORT" in os.environ:
            start_http_server(int(os.environ["WRONG_PORT"]))
"""


@pytest.mark.proves("monitoring-observability#prometheus")
@pytest.mark.proves("monitoring-observability#what-to-watch")
def test_scraped_worker(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """One scrape of the page's server in the main process has what all children counted, and what died with a child:
    the waiting time of what lay in the queue before the worker came, one WorkerLostError and one TimeLimitExceeded
    (5.7 signals a hard limit twice), retries without their countdown as waiting time. A gauge set in a task, and the
    page's own metrics without multiprocess files, stay 0 for whoever scrapes the main process."""
    shop = shop("monitoring-observability", redis)
    shop.tasks(NOTICED_SOON, TASKS, WRONG)
    folder, port, wrong_port = shop.folder / "metrics", free_port(), free_port()
    folder.mkdir()
    send = "for name in {}: app.send_task('proofs.' + name)".format
    shop.do(send(["plain"] * 3))
    right = shop.worker(
        *("-c", "2", "--max-tasks-per-child", "4"), PROMETHEUS_MULTIPROC_DIR=str(folder), METRICS_PORT=str(port)
    )
    url = f"http://127.0.0.1:{port}/metrics"

    def attempts() -> dict[tuple[str, str], float]:
        head = 'celery_task_done_total{state="'
        lines = [(key.split('"'), value) for key, value in scrape(url).items() if key.startswith(head)]
        return {(parts[3].removeprefix("proofs."), parts[1]): value for parts, value in lines}

    until(lambda: attempts() == {("plain", "SUCCESS"): 3}, what="the first three are counted")
    for name in ("fails", "retried", "killed", "hard"):
        shop.do(send([name]))
        until(lambda name=name: name in {task for task, state in attempts() if state != "RETRY"}, what=f"{name} failed")
    until(lambda: shop.counts()["proofs.hard"] == 2, what="the hard limit was signalled twice")
    assert attempts() == {
        ("plain", "SUCCESS"): 3,
        ("fails", "ValueError"): 1,
        ("retried", "RETRY"): 2,
        ("retried", "OSError"): 1,
        ("killed", "WorkerLostError"): 1,
        ("hard", "TimeLimitExceeded"): 1,
    }
    found = scrape(url)
    wait = 'celery_task_wait_seconds_{}{{task="proofs.{}"}}'.format
    waited = found[wait("sum", "plain")] / found[wait("count", "plain")]
    assert waited > 0.5  # a worker does not start faster
    assert found[wait("count", "retried")] == 1
    assert found['celery_task_run_seconds_count{task="proofs.retried"}'] == 3
    assert len({file.name.rpartition("_")[2] for file in folder.iterdir()}) > 3  # of children that are gone, too
    right.stop()

    shop.worker("-c", "1", WRONG_PORT=str(wrong_port))
    shop.do(send(["plain", "sets_gauge"]))
    until(lambda: shop.counts()["set"], what="the gauge was set")
    found = scrape(f"http://127.0.0.1:{wrong_port}/metrics")
    assert found["proofs_backlog"] == 0
    assert not [key for key in found if key.startswith("celery_task")]
    assert not listens(port)
    evidence["figures"] |= {"attempts in the scrape": 9, "in a scrape without multiprocess files": 0}
