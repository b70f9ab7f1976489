"""django-integration: what a task knows of the request it came from: its id, its tenant, its event loop."""

from __future__ import annotations

import json
import re

import pytest
from servers import PostgreSQL, Redis
from shop import SENT, MakeShop, Raised
from waiting import until

STEPS = """
import logging
from celery.signals import after_setup_logger, after_setup_task_logger
from celery.utils.log import get_task_logger
from shop.correlation import CorrelationFilter, current

@after_setup_logger.connect
@after_setup_task_logger.connect
def with_ids(logger, **extra):
    for handler in logger.handlers:
        handler.addFilter(CorrelationFilter())
        handler.setFormatter(logging.Formatter("%(processName)s %(message)s id=%(correlation_id)s."))

def seen(step):
    note(step, id=current.get())

@shared_task
def step(name):
    seen(name)
    get_task_logger(__name__).info("in %s", name)

@shared_task
def outer():
    step.delay("nested")

@shared_task(bind=True, max_retries=1)
def retried(self):
    seen("retry %s" % self.request.retries)
    if not self.request.retries:
        raise self.retry(countdown=0)

@shared_task(bind=True)
def replaced(self):
    raise self.replace(step.si("replacement"))

@shared_task
def fails():
    raise ValueError

@shared_task
def errback(task_id):
    seen("errback")

@shared_task(bind=True)
def header(self, name):
    note("header", name=name, value=self.request.get(name))
"""


@pytest.mark.proves("django-integration#correlation-ids-and-task-logs")
@pytest.mark.parametrize("results", ["", "django-db"])
def test_one_id(shop: MakeShop, redis: Redis, postgres: PostgreSQL, results: str) -> None:
    """With the page's module one id reaches a chain, a nested call, a retry, a replaced task, a chord's body and an
    errback, also its log lines; the next task without one has another, and so has one whose header is called
    correlation_id, which Celery drops. The main process's lines have none. The middleware takes over a well-formed
    X-Request-ID only."""
    shop = shop("django-integration", redis, postgres, results=results)
    shop.tasks(STEPS)
    worker = shop.worker("-c", "1")
    shop.do(
        """
        from celery import chain, chord
        from django.http import HttpResponse
        from django.test import RequestFactory
        from proofs.tasks import *
        from shop.correlation import correlation_middleware

        def view(request):
            step.delay("bare")
            chain(step.si("first"), step.si("second")).delay()
            outer.delay()
            retried.delay()
            replaced.delay()
            chord([step.si("member"), step.si("member")], step.si("body")).delay()
            fails.apply_async(link_error=errback.s())
            return HttpResponse()

        def request(given):
            correlation_middleware(view)(RequestFactory().get("/", headers={"X-Request-ID": given}))

        request("given-by-the-client")
        """
    )
    steps = {"bare", "first", "second", "nested", "retry 0", "retry 1", "replacement", "member", "body", "errback"}
    until(lambda: shop.counts().keys() >= steps, 40, "all steps ran")
    assert {line["id"] for line in shop.ledger()} == {"given-by-the-client"}
    shop.do("step.delay('later'); step.delay('last')")
    until(lambda: shop.counts()["last"], what="the later tasks ran")
    later, last = (shop.ledger(name)[0]["id"] for name in ("later", "last"))
    assert len({later, last, "given-by-the-client", ""}) == 4
    shop.do("request('no spaces, please')")
    until(lambda: shop.counts()["bare"] == 2, what="the second request's task ran")
    assert len(shop.ledger("bare")[1]["id"]) == 32

    shop.do("[header.apply_async([name], headers={name: 'mine'}) for name in ('x_correlation_id', 'correlation_id')]")
    until(lambda: shop.counts()["header"] == 2, what="the headers were read")
    assert {line["name"]: line["value"] == "mine" for line in shop.ledger("header")} == {
        "x_correlation_id": True,
        "correlation_id": False,
    }
    assert "in second id=given-by-the-client." in worker.output
    by_main = [line for line in worker.output.splitlines() if line.startswith("MainProcess") and " id=" in line]
    by_child = [line for line in worker.output.splitlines() if " succeeded in " in line]
    assert by_main and {line.endswith("id=.") for line in by_main} == {True}
    assert by_child and {line.endswith("id=.") for line in by_child} == {False}


@pytest.mark.proves("django-integration#correlation-ids-and-task-logs")
def test_django_guid(shop: MakeShop, redis: Redis) -> None:
    """With the page's settings for django-guid the id of a request is the id in its task; the integration as a string
    stops the project at its start."""
    page = shop("django-integration", redis, base="settings_guid")
    page.tasks(
        """
        from django.conf import settings
        from django.http import HttpResponse
        from django.urls import path
        from django_guid import get_guid

        @shared_task
        def task(): note("task", id=get_guid())

        def view(request):
            task.delay()
            return HttpResponse()

        settings.ROOT_URLCONF = __name__
        urlpatterns = [path("", view)]
        """
    )
    page.worker("-c", "1")
    guid = "0123456789abcdef0123456789abcdef"
    page.do(
        f"import proofs.tasks\nfrom django.test import Client\nClient(headers={{'Correlation-ID': {guid!r}}}).get('/')"
    )
    until(lambda: page.counts()["task"], what="the task ran")
    assert page.ledger("task")[0]["id"] == guid
    broken = shop("django-integration", base="settings_guid")
    wrong = {"INTEGRATIONS": ["django_guid.integrations.CeleryIntegration"]}
    broken.environment["SHOP_SETTINGS"] = json.dumps({"DJANGO_GUID": wrong})
    with pytest.raises(AssertionError, match="'str' object has no attribute"):
        broken.ask("1")


@pytest.mark.proves("django-integration#async-views-and-tasks")
def test_async_views(shop: MakeShop) -> None:
    """In a coroutine delay_on_commit raises SynchronousOnlyOperation and `.delay()` stops the event loop while it
    publishes; with sync_to_async around the page's `place_order` the loop goes on, and the message leaves after the
    commit. Under ATOMIC_REQUESTS an async view is a RuntimeError without non_atomic_requests."""
    shop = shop("django-integration")
    shop.tasks(
        SENT,
        """
        import threading
        from celery.signals import before_task_publish
        from django.db import connection, transaction
        from django.conf import settings
        from django.http import HttpResponse
        from django.urls import path

        turn = threading.Event()  # set by the event loop
        patience = []  # seconds to wait for it
        went_on = []

        @before_task_publish.connect
        def publishing(**extra):
            went_on.append([turn.wait(*patience), connection.in_atomic_block])

        async def view(request):
            return HttpResponse()

        @transaction.non_atomic_requests
        async def marked(request):
            return HttpResponse()

        settings.ROOT_URLCONF = __name__
        urlpatterns = [path("plain", view), path("marked", marked)]
        """,
    )
    shop.do(
        """
        import asyncio
        from asgiref.sync import sync_to_async
        from django.db import connections
        from django.test import AsyncClient
        from orders.services import place_order
        from orders.tasks import send_receipt
        from proofs.tasks import patience, sent, turn, went_on

        user = User.objects.create(username="customer", email="customer@shop")

        async def on_commit():
            send_receipt.delay_on_commit(1)

        async def delay():
            send_receipt.delay(1)

        async def page():
            await sync_to_async(place_order)(user.pk)

        async def beside(publish, seconds):
            turn.clear()
            patience[:] = [seconds]
            asyncio.get_running_loop().call_soon(turn.set)
            await publish()
            return went_on.pop()
        """
    )
    with pytest.raises(Raised) as raised:
        shop.ask("asyncio.run(on_commit())")
    assert raised.value.kind == "SynchronousOnlyOperation"
    assert shop.ask("[asyncio.run(beside(delay, 0.5))[0], asyncio.run(beside(page, 30))]") == [False, [True, False]]
    assert shop.ask("len(sent)") == 2
    shop.do("connections.settings['default']['ATOMIC_REQUESTS'] = True")
    with pytest.raises(Raised, match="You cannot use ATOMIC_REQUESTS with async views"):
        shop.ask("asyncio.run(AsyncClient().get('/plain')).status_code")
    assert shop.ask("asyncio.run(AsyncClient().get('/marked')).status_code") == 200


@pytest.mark.proves("django-integration#async-views-and-tasks")
@pytest.mark.proves("django-integration#tenants-and-routers")
def test_async_tasks_and_tenants(shop: MakeShop, redis: Redis) -> None:
    """The body of an `async def` task never runs: EncodeError, or SUCCESS when its result is ignored; async_to_sync in
    a normal task runs it. A task_prerun receiver that raises does not stop the task, which runs without a tenant; the
    page's `TenantTask` gives each call its tenant and takes it away, and one that raises in `__call__` stops it."""
    shop = shop("django-integration", redis)
    shop.tasks(
        """
        from asgiref.sync import async_to_sync
        from celery.signals import task_prerun
        from shop.tenancy import TenantTask, tenant

        async def body():
            note("body")

        async def coroutine():
            note("coroutine")

        kept = shared_task(name="kept")(coroutine)
        ignored = shared_task(name="ignored", ignore_result=True)(coroutine)

        @shared_task(name="sync")
        def sync(): async_to_sync(body)()

        def enter(alias):
            if alias == "unknown":
                raise ValueError("no such tenant")
            return tenant.set(alias)

        class Strict(TenantTask):
            abstract = True

            def __call__(self, alias, *args, **kwargs):
                tenant.reset(enter(alias))
                return super().__call__(alias, *args, **kwargs)

        @task_prerun.connect
        def by_signal(task, args, **extra):
            if task.name == "signalled":
                enter(*args)

        @shared_task(name="signalled")
        def signalled(alias): note("signalled", tenant=tenant.get(None))

        @shared_task(name="paged", base=TenantTask)
        def paged(alias): note("paged", tenant=tenant.get())

        @shared_task(name="strict", base=Strict)
        def strict(alias): note("strict", tenant=tenant.get())

        @shared_task(name="bare")
        def bare(): tenant.get()
        """
    )
    worker = shop.worker("-c", "1")
    ends = shop.do(
        """
        every = [["kept"], ["ignored"], ["sync"], ["paged", "one"], ["paged", "two"], ["bare"], ["strict", "unknown"],
                 ["signalled", "unknown"]]
        results = {name: app.send_task(name, args) for name, *args in every}
        results["signalled"].get(timeout=30)  # the last
        result = {name: each.state for name, each in results.items()}
        """
    )
    failed = {name for name, state in ends.items() if state == "FAILURE"}
    assert failed == {"kept", "bare", "strict"} and ends["ignored"] == "PENDING"  # nothing is kept of an ignored one
    for text in (r"Task kept\[.*EncodeError", r"Task ignored\[.*succeeded", r"Task bare\[.*LookupError"):
        assert re.search(text, worker.output), text
    assert shop.counts() == {"body": 1, "paged": 2, "signalled": 1}
    assert [line["tenant"] for line in shop.ledger("paged")] == ["one", "two"]
    assert shop.ledger("signalled")[0]["tenant"] is None
