"""error-handling: how often a task is tried again, how far apart, and after which exceptions."""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from servers import Redis, free_port
from shop import AT_ONCE, MakeShop
from waiting import until


@pytest.mark.proves("error-handling#retry")
def test_policy_on_the_decorator(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """max_retries=6 runs seven times with one idempotency key; its delays are bounded by 10, 20, … 320 s, 630 s in all
    and 315 s on average. A delay that the server names is kept. A bare retry waits 180 s and runs four times in all."""
    shop = shop("error-handling", redis)
    shop.tasks(
        AT_ONCE,
        """
        from accounts import tasks as page
        from crm.client import CrmUnavailable

        def upsert(email, name, *, idempotency_key):
            note(email, key=idempotency_key)
            named = email == "named@shop" and page.sync_contact.request.retries == 0
            raise CrmUnavailable("503", retry_after=1 if named else None)

        page.upsert_contact = upsert

        @shared_task(name="proofs.bare", bind=True)
        def bare(self, countdown):
            note("bare")
            raise self.retry(countdown=countdown)
        """,
    )
    worker = shop.worker("-c", "2")
    policy, named = shop.do(
        """
        from accounts.tasks import sync_contact
        users = [User.objects.create(username=name, email=f"{name}@shop") for name in ("policy", "named")]
        result = [sync_contact.delay(user.pk).id for user in users]
        app.send_task("proofs.bare", [None])
        app.send_task("proofs.bare", [0])
        """
    )
    until(lambda: shop.counts()["policy@shop"] == 7 and shop.counts()["named@shop"] == 7, what="both were given up")
    until(lambda: worker.output.count("raised unexpected: CrmUnavailable") == 2, what="both ended")
    assert {line["key"] for line in shop.ledger("policy@shop")} == {policy}
    assert {line["key"] for line in shop.ledger("named@shop")} == {named}
    assert [shop.ask(f"app.AsyncResult({id!r}).state") for id in (policy, named)] == ["FAILURE", "FAILURE"]

    first, second, *_ = (line["at"] for line in shop.ledger("named@shop"))
    assert second - first >= 1  # retry_after
    bounds = [line["bound"] for line in shop.ledger("delay")]
    waits = [10, 20, 40, 80, 160, 320]
    assert sorted(bounds) == sorted([*waits, 600, *waits[1:], 600])  # 600 s is the cap, asked when all is over
    assert all(line["jitter"] for line in shop.ledger("delay"))
    draw = random.Random(1)  # as get_exponential_backoff_interval draws
    total = [sum(draw.randrange(bound + 1) for bound in waits) for _ in range(2000)]
    assert max(total) <= 630 and 300 < sum(total) / len(total) < 330

    until(lambda: shop.counts()["bare"] == 5, what="the bare retry without its delay ran four times, the other once")
    both = ("Retry in 180s", "MaxRetriesExceededError")
    until(lambda: all(words in worker.output for words in both), what="both ends are logged, a moment later")
    evidence["figures"] |= {"runs": 7, "longest wait in all, s": sum(waits)}


@pytest.mark.proves("error-handling#retry")
def test_max_retries_of_a_call_sticks(shop: MakeShop, redis: Redis) -> None:
    """self.retry(max_retries=5) in an autoretry task raises the limit for the process's next message too: it runs six
    times instead of two."""
    shop = shop("error-handling", redis)
    shop.tasks(
        """
        @shared_task(name="proofs.sticky", bind=True, autoretry_for=(OSError,), max_retries=1, default_retry_delay=0)
        def sticky(self, who, ask):
            note(who)
            if ask and not self.request.retries:
                raise self.retry(max_retries=5)
            if not ask:
                raise OSError
        """
    )
    worker = shop.worker("-c", "1")
    for who, ask, runs in [("before", False, 2), ("asks", True, 2), ("after", False, 6)]:
        result = f"app.AsyncResult({shop.do(f'''result = app.send_task('proofs.sticky', [{who!r}, {ask}]).id''')!r})"
        until(lambda result=result: shop.ask(f"{result}.ready()"), what=f"{who} ended\n{worker.output}")
        assert shop.counts()[who] == runs


@pytest.mark.proves("error-handling#retry")
def test_broker_gone_at_a_retry(shop: MakeShop, own_redis: Redis) -> None:
    """A retry that cannot be published ends the task: it stays PENDING while the worker waits for its broker, is
    FAILURE with a dead letter as soon as the broker is back, and does not run again."""
    shop = shop("error-handling", own_redis, results="django-db")
    shop.tasks(
        """
        import os, pathlib, time

        @shared_task(name="proofs.ping")
        def ping(): pass

        @shared_task(name="proofs.cut", autoretry_for=(OSError,), retry_backoff=1)
        def cut():
            note("run")
            while not pathlib.Path(os.environ["SHOP_LEDGER"] + ".cut").exists():
                time.sleep(0.05)
            raise OSError
        """
    )
    worker = shop.worker("-c", "1")
    id = shop.do("result = app.send_task('proofs.cut').id")
    until(lambda: shop.counts()["run"] == 1, what="the task runs")
    own_redis.stop()
    until(lambda: "Cannot connect to redis" in worker.output, what="the main process waits for its broker")
    shop.ledger_path.with_name("ledger.jsonl.cut").touch()
    until(lambda: "celery.exceptions.Reject" in worker.output, 40, "the retry was not published")
    assert shop.ask(f"app.AsyncResult({id!r}).state") == "PENDING"
    own_redis.start()
    until(lambda: shop.ask(f"app.AsyncResult({id!r}).state") == "FAILURE", 40, "the state is written")
    letter = f"DeadLetter.objects.filter(task_id={id!r}).values_list('error', flat=True).first()"
    assert "Connection refused" in until(lambda: shop.ask(letter), what="the receiver ran")
    after = shop.do("result = app.send_task('proofs.ping').id")
    until(lambda: shop.ask(f"app.AsyncResult({after!r}).state") == "SUCCESS", 40, "the worker works")
    assert shop.counts()["run"] == 1


class Service(BaseHTTPRequestHandler):
    """Answers with the status that the path names; ``/cut`` breaks off in a chunk, ``/text`` is no JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b'20\r\n{"half')
            self.close_connection = True
            return
        body = b"not json" if self.path == "/text" else b'{"key": "%s"}' % self.headers["Idempotency-Key"].encode()
        self.send_response(200 if self.path == "/text" else int(self.path[1:]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.proves("error-handling#which-exceptions-to-retry")
def test_what_the_client_raises(shop: MakeShop, redis: Redis) -> None:
    """The page's HTTP client turns refused, broken and 408/425/429/5xx answers into the class that is retried, other
    4xx into the one that is not. Retrying built-in ConnectionError retries nothing; RequestException retries a bad
    body; Exception retries a soft time limit and a Reject unless they are excluded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here, refused = (f"http://127.0.0.1:{port}" for port in (server.server_port, free_port()))
    shop = shop("error-handling", redis)
    shop.tasks(
        AT_ONCE,
        """
        import requests
        from celery.exceptions import Reject, SoftTimeLimitExceeded
        from crm.client import CrmUnavailable
        from crm.http import post as page_post
        from django.core.exceptions import ObjectDoesNotExist

        def retried(name, run, *classes, **options):
            def body(what):
                note(name + " " + what.rpartition("/")[2])
                run(what)
            once = {"max_retries": 1, "retry_backoff": 1, "autoretry_for": classes}
            return shared_task(name="proofs." + name, **once, **options)(body)

        def raw(url):
            requests.post(url, json={}, timeout=5).json()

        def raises(what):
            raise {"soft": SoftTimeLimitExceeded(), "reject": Reject("", requeue=False), "other": OSError()}[what]

        retried("page", lambda url: page_post(url, {}, "key"), CrmUnavailable)
        retried("builtin", raw, ConnectionError, TimeoutError)
        retried("broad", raw, requests.RequestException)
        retried("all", raises, Exception)
        retried(
            "excluded", raises, Exception, dont_autoretry_for=(SoftTimeLimitExceeded, Reject, ObjectDoesNotExist)
        )
        """,
    )
    runs = {
        **{f"page {status}": 2 for status in (408, 425, 429, 500, 503)},
        **{f"page {status}": 1 for status in (200, 400, 404, 422)},
        "page cut": 2,
        "page refused": 2,
        "page text": 1,
        "builtin refused": 1,
        "broad refused": 2,
        "broad text": 2,
        "all soft": 2,
        "all reject": 2,
        "excluded soft": 1,
        "excluded reject": 1,
        "excluded other": 2,
    }
    worker = shop.worker("-c", "2")
    calls = []
    for name in runs:
        task, what = name.split()
        where = {"refused": f"{refused}/refused"}.get(what, f"{here}/{what}") if task in "page builtin broad" else what
        calls.append((f"proofs.{task}", where))
    ids = shop.do(f"result = [app.send_task(name, [what]).id for name, what in {calls}]")
    until(lambda: shop.ask(f"all(app.AsyncResult(id).ready() for id in {ids})"), what=f"all ended {worker.output}")
    counts = shop.counts()
    assert {name: counts[name] for name in runs} == runs
    server.shutdown()
    server.server_close()
