"""monitoring-observability: one alert for many failures, and nobody waits for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from servers import Redis
from shop import MakeShop
from waiting import stays, until

TASKS = """
    import json, os, time
    from celery.signals import task_failure, task_prerun
    from orders.tasks import alert_once, send_alert

    WRONG = "WRONG" in os.environ

    @shared_task(name="proofs.fails", ignore_result=True)
    def fails():
        note("fails")
        if not WRONG:  # until the other child has one, too
            deadline = time.monotonic() + 20
            while len({line["pid"] for line in ledger()}) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
        raise ValueError

    def ledger():
        with open(os.environ["SHOP_LEDGER"]) as file:
            return [line for line in map(json.loads, file) if line["event"] == "fails"]

    def posts_itself(sender, exception, **kwargs):
        send_alert(f"{sender.name} {type(exception).__name__}")

    if WRONG:
        task_failure.disconnect(alert_once)
        task_failure.connect(posts_itself)
"""


class Webhook:
    """A chat's webhook; it takes its time until it is let go."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
                outer.go.wait(60)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.go.set()
    hook.server.shutdown()
    hook.server.server_close()


def caches(backend: str, location: str = "") -> str:
    return json.dumps(
        {"CACHES": {"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location}}}
    )


@pytest.mark.proves("monitoring-observability#alerts")
def test_one_alert(shop: MakeShop, redis: Redis, webhook: Webhook, evidence: dict) -> None:
    """50 failures while the webhook hangs: with a shared cache all fail at once and one alert is sent, by another
    worker; with LocMemCache it is one per child. A receiver that posts by itself stops its child at the first failure,
    and when the webhook goes on it gets all 50."""
    shop = shop("monitoring-observability", redis)
    shop.tasks(TASKS)
    shop.worker("-c", "2", "-P", "threads", "-Q", "alerts", wait=False, ALERT_WEBHOOK=webhook.url)

    def fail(**environment: str) -> None:
        """Let a worker's two children fail 50 times."""
        shop.ledger_path.unlink(missing_ok=True)
        webhook.texts.clear()
        webhook.go.clear()
        worker = shop.worker("-c", "2", "-Q", "celery", ALERT_WEBHOOK=webhook.url, **environment)
        shop.do("for _ in range(50): app.send_task('proofs.fails')")
        fail.worker = worker

    def failed() -> int:
        return shop.counts()["fails"]

    for backend, location, alerts in (("redis.RedisCache", redis.url(4), 1), ("locmem.LocMemCache", "", 2)):
        fail(SHOP_SETTINGS=caches(backend, location))
        until(lambda: failed() == 50, what="nobody waits for the webhook")
        until(lambda alerts=alerts: len(webhook.texts) == alerts, what="the alert came")
        stays(lambda alerts=alerts: len(webhook.texts) == alerts, 0.5, "no further alert")
        assert webhook.texts[0].startswith("proofs.fails:ValueError ")
        webhook.go.set()
        fail.worker.stop()

    fail(WRONG="1")
    until(lambda: len(webhook.texts) == 2, what="both children post")
    stays(lambda: failed() == 2 and len(webhook.texts) == 2, 0.5, "both children wait for the webhook")
    webhook.go.set()
    until(lambda: len(webhook.texts) == 50, what="each failure posts")
    evidence["figures"] |= {"alerts of 50 failures": 1, "with LocMemCache, two children": 2, "from the receiver": 50}
