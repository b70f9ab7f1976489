"""monitoring-observability: what probes say of workers that are healthy, busy, hung or without a broker."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import Redis
from shop import MakeShop, Raised
from waiting import until

BUSY = """
    import time

    @shared_task(name="proofs.busy")
    def busy():
        note("busy")
        time.sleep(1000)
"""


@pytest.mark.proves("monitoring-observability#health-checks")
def test_probe_of_a_worker(shop: MakeShop, own_redis: Redis, evidence: dict) -> None:
    """`inspect ping -d NODE` ends with 0 for a busy prefork worker, with 69 for a frozen one and
    for a busy solo one, while `inspect ping` without -d ends with 0, as others answer. A Beat that is asked by name
    answers, and frozen it does not. With the broker
    gone a healthy worker gets 69 as well. control.ping(limit=1) returns with the first
    answer, without limit it takes the whole timeout."""
    shop = shop("monitoring-observability", own_redis, CELERY_BEAT_ENABLE_REMOTE_CONTROL=True)
    shop.tasks(BUSY)
    workers = [
        shop.worker("-c", "1", "-Q", "prefork", wait=False),
        shop.worker("-P", "solo", "-Q", "solo", wait=False),
        shop.worker("-c", "1", wait=False),
    ]
    until(lambda: all("ready." in worker.output for worker in workers), what="the workers are up")
    prefork, solo, frozen = workers
    beat = shop.beat()
    beat.node = f"celerybeat@{socket.gethostname()}"

    def probe(*options: str) -> int:
        return shop.celery("inspect", "ping", "-t", "2", *options)[0]

    def answering() -> set[str]:
        return {node for reply in shop.ask("app.control.ping(timeout=1)") for node in reply}

    everyone = {each.node for each in (*workers, beat)}
    until(lambda: answering() == everyone, what="all answer")
    durations = shop.do(
        """
        import time
        result = []
        for limit in (1, None):
            started = time.perf_counter()
            app.control.ping(timeout=1, limit=limit)
            result.append(time.perf_counter() - started)
        """
    )
    assert durations[0] < durations[1] and durations[1] >= 1
    shop.do("for queue in ('prefork', 'solo'): app.send_task('proofs.busy', queue=queue)")
    until(lambda: shop.counts()["busy"] == 2, what="two are busy")
    for each in (frozen, beat):
        each.signal(signal.SIGSTOP)
    asked = [("-d", each.node) for each in (prefork, solo, frozen, beat)]
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(lambda options: probe(*options), [*asked, ()])) == [0, 69, 69, 69, 0]
    for each in (frozen, beat):
        each.signal(signal.SIGCONT)
    until(lambda: answering() == everyone - {solo.node}, what="the thawed ones answer again")
    own_redis.stop()
    assert probe("-d", prefork.node) == 69
    evidence["figures"] |= {
        "control.ping(limit=1), seconds": round(durations[0], 3),
        "control.ping(timeout=1), seconds": round(durations[1], 3),
    }


PAGE = "/health/workers/?format=json"


@pytest.mark.proves("monitoring-observability#health-checks")
def test_health_page(shop: MakeShop, redis: Redis) -> None:
    """The page's view is 200 with a worker and 500 without, or when a queue of task_queues has no consumer, while
    another page is served all the same: web readiness must not ask it. With two queues on two healthy workers
    limit=1 makes it 500; where every worker takes every queue it may be set."""
    shop = shop("monitoring-observability", redis)
    shop.configure("from kombu import Queue\nCELERY_TASK_QUEUES = [Queue('celery'), Queue('mail')]\n")
    shop.do(
        """
        from django.test import Client
        from django.urls import path
        from django.views.generic import RedirectView
        from health_check.views import HealthCheckView
        from shop import urls

        limited = HealthCheckView.as_view(checks=[("health_check.contrib.celery.Ping", {"limit": 1})])
        urls.urlpatterns += [path("limited/", limited), path("page/", RedirectView.as_view(url="/"))]
        def get(url):
            answer = Client().get(url)
            return [answer.status_code, answer.content.decode()]
        """
    )

    def get(url: str) -> tuple[int, str]:
        return tuple(shop.ask(f"get({url!r})"))

    status, text = get(PAGE)
    assert status == 500 and "Celery workers unavailable" in text
    with pytest.raises(Raised, match="TemplateDoesNotExist"):  # its app is not installed
        get("/health/workers/")
    assert get("/page/")[0] == 302  # served
    one = shop.worker("-c", "1", "-Q", "celery")
    status, text = get(PAGE)
    assert status == 500 and "No worker for Celery task queue mail" in text
    other = shop.worker("-c", "1", "-Q", "mail")
    assert get(PAGE)[0] == 200
    status, text = get("/limited/?format=json")
    assert status == 500 and "No worker for Celery task queue" in text
    for each, queue in ((one, "mail"), (other, "celery")):
        shop.ask(f"app.control.add_consumer({queue!r}, reply=True, limit=1, destination=[{each.node!r}])")
    assert get("/limited/?format=json")[0] == 200
    for each in (one, other):
        os.kill(each.pid, signal.SIGSTOP)
    assert get(PAGE)[0] == 500
