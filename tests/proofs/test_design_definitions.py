"""task-design-patterns: names, calls, arguments and base classes."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop, Raised
from waiting import stays, until

PAGE = "task-design-patterns"


@pytest.mark.proves("task-design-patterns#define-a-task")
def test_name_and_module(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A task outside `tasks.py`, and one without an explicit name that has moved to another module, are unregistered:
    the worker discards their messages. The page's named task, moved as well, still runs. `pass` on DoesNotExist reports
    success for an order that nobody mailed; the page's task fails."""
    shop = shop(PAGE, redis)
    tasks = shop.folder / "orders" / "tasks.py"
    (shop.folder / "accounts" / "tasks.py").write_text(tasks.read_text())
    tasks.unlink()  # after the move the old modules are gone
    (shop.folder / "orders" / "jobs.py").write_text(
        "from celery import shared_task\n@shared_task(name='orders.elsewhere')\ndef elsewhere(): pass\n"
    )
    shop.tasks(
        """
        from django.core import mail
        from orders.models import Order

        mail.get_connection().__class__.send_messages = lambda self, messages: note("mail", to=messages[0].to)

        @shared_task
        def moved_here(): note("moved")

        @shared_task(name="proofs.passes")
        def passes(order_pk):
            try:
                Order.objects.get(pk=order_pk)
            except Order.DoesNotExist:
                pass
        """
    )
    worker = shop.worker("-c", "1")
    order = shop.do(
        """
        user = User.objects.create(username="a", email="a@shop")
        result = Order.objects.create(customer=user).pk
        app.send_task("orders.elsewhere")
        app.send_task("old.home.moved_here")
        """
    )
    states = shop.do(
        f"result = [app.send_task(name, [pk]).id for name, pk in"
        f" [('proofs.passes', 0), ('orders.send_receipt', 0), ('orders.send_receipt', {order})]]"
    )
    until(lambda: shop.counts()["mail"] == 1, what="the named task ran from its new module")
    assert [line["to"] for line in shop.ledger("mail")] == [["a@shop"]]
    assert worker.output.count("Received unregistered task") == 2
    until(lambda: not redis.client().exists("celery", "unacked"), what="nothing is left of the messages")
    assert shop.ask(f"app.AsyncResult({states[0]!r}).state") == "SUCCESS"
    assert "Order matching query does not exist" in worker.output
    evidence["figures"]["discarded"] = 2


@pytest.mark.proves("task-design-patterns#call-a-task")
def test_what_calls_promise(shop: MakeShop, redis: Redis) -> None:
    """A rolled-back transaction sends nothing with delay_on_commit, and a message with delay. A message that expired is
    REVOKED without a run; two messages with one task_id both run; a naive eta is read as UTC: one that is an hour ahead
    on a clock in New York runs at once. Options of chain.apply_async reach the first step only; `.set()` on each
    signature keeps its queue and expiry."""
    shop = shop(PAGE, redis, CELERY_TIMEZONE="America/New_York")
    shop.tasks(
        """
        @shared_task(name="proofs.ran", bind=True)
        def ran(self, what):
            info = self.request.delivery_info
            note(what, queue=info["routing_key"], expires=self.request.expires, tenant=self.request.get("x_tenant"))
        """
    )
    shop.do(
        """
        import datetime, time
        from celery import chain
        from django.db import transaction
        from proofs.tasks import ran

        def rolled_back(send):
            with transaction.atomic():
                send()
                transaction.set_rollback(True)
        rolled_back(lambda: ran.delay("delay"))
        rolled_back(lambda: ran.delay_on_commit("delay_on_commit"))
        with transaction.atomic():
            ran.delay_on_commit("committed")
        late = ran.apply_async(["expired"], expires=0.01).id
        for _ in range(2):
            ran.apply_async(["one id"], task_id="one-id")
        there = datetime.timezone(-datetime.timedelta(hours=4))  # New York, at its earliest
        naive = datetime.datetime.now(there).replace(tzinfo=None) + datetime.timedelta(hours=1)
        ran.apply_async(["naive"], eta=naive)
        ran.apply_async(["aware"], eta=naive.replace(tzinfo=there))
        options = {"queue": "mail", "expires": 600, "headers": {"x_tenant": "7"}}
        chain(ran.si("first"), ran.si("second")).apply_async(**options)
        chain(ran.si("set first"), ran.si("set second").set(**options)).apply_async()
        time.sleep(0.02)  # past the expiry
        """
    )
    shop.worker("-c", "1", "-Q", "celery,mail")
    until(lambda: {"second", "set second", "naive"} <= set(shop.counts()), what="all that can run has run")
    until(lambda: shop.ask("app.AsyncResult(late).state") == "REVOKED", what="the late one is revoked")
    stays(lambda: not {"expired", "delay_on_commit", "aware"} & set(shop.counts()), 0.5, "what must not run")
    assert {"delay": 1, "committed": 1, "one id": 2}.items() <= shop.counts().items()
    with_options = {line["event"]: (line["queue"], bool(line["expires"]), line["tenant"]) for line in shop.ledger()}
    assert with_options["first"] == with_options["set second"] == ("mail", True, "7")
    assert with_options["second"] == ("celery", False, None)


@pytest.mark.proves("task-design-patterns#arguments")
def test_pydantic_arguments(shop: MakeShop, redis: Redis) -> None:
    """A model's dump and, in delay, apply_async, `.s()` and a chain's first step, its instance reach the task as the
    model; bad input fails in the caller that builds it, and otherwise in the worker. The instance in a list, a later
    step, a chord's body, link or send_task is an EncodeError. list[Model] brings unchecked dicts, a model around the
    list is checked; pydantic_strict refuses dates, UUIDs and Decimals that came through JSON."""
    shop = shop(PAGE, redis)
    shop.tasks(
        """
        import datetime, decimal, uuid
        from orders.tasks import Period
        from pydantic import BaseModel

        class Periods(BaseModel):
            items: list[Period]

        class Typed(BaseModel):
            value: datetime.date | uuid.UUID | decimal.Decimal

        def kind(value): return type(value).__name__

        @shared_task(name="proofs.bare", pydantic=True)
        def bare(items: list[Period]): return kind(items[0])

        @shared_task(name="proofs.wrapped", pydantic=True)
        def wrapped(items: Periods): return kind(items.items[0])

        @shared_task(name="proofs.strict", pydantic=True, pydantic_strict=True)
        def strict(typed: Typed): return kind(typed)

        @shared_task(name="proofs.lax", pydantic=True)
        def lax(typed: Typed): return kind(typed.value)
        """
    )
    shop.do(
        """
        import datetime
        from celery import chain, chord, group
        from orders.tasks import Period, count_orders, send_receipt
        from proofs import tasks

        period = Period(first="2026-01-01", last=datetime.date(2999, 1, 1))
        dump = period.model_dump(mode="json")
        Order.objects.create(customer=User.objects.create(username="a"))
        """
    )
    with pytest.raises(Raised) as refused:
        shop.do("Period(first='soon', last='later')")
    assert refused.value.kind == "ValidationError"
    elsewhere = (
        "app.send_task('orders.count_orders', [period])",
        "tasks.bare.delay([period])",
        "chain(send_receipt.si(1), count_orders.si(period)).delay()",
        "chord([send_receipt.si(1)], count_orders.si(period)).delay()",
        "send_receipt.apply_async([1], link=count_orders.si(period))",
    )
    for code in elsewhere:
        with pytest.raises(Raised) as refused:
            shop.do(code)
        assert refused.value.kind == "EncodeError", code
    redis.client().delete("celery")  # the header task of the chord
    sent = {
        "dump": "count_orders.delay(dump)",
        "delay": "count_orders.delay(period)",
        "apply_async": "count_orders.apply_async([period])",
        "signature": "count_orders.s(period).delay()",
        "first step": "chain(count_orders.s(period), count_orders.si(dump)).delay().parent",
        "unchecked": "tasks.bare.delay([{'first': 'soon'}])",
        "wrapped": "tasks.wrapped.delay({'items': [dump]})",
        "wrapped, bad": "tasks.wrapped.delay({'items': [{'first': 'soon'}]})",
        "bad": "count_orders.delay({'first': 'soon'})",
        **{f"strict {value}": f"tasks.strict.delay({{'value': {value!r}}})" for value in VALUES},
        **{f"lax {value}": f"tasks.lax.delay({{'value': {value!r}}})" for value in VALUES},
    }
    shop.do("sent = {" + ", ".join(f"{name!r}: {code}" for name, code in sent.items()) + "}")
    shop.worker("-P", "solo")
    until(lambda: shop.ask("all(each.ready() for each in sent.values())"), what="all have ended")
    results = shop.ask("{name: each.result if each.successful() else each.state for name, each in sent.items()}")
    assert results == {
        **dict.fromkeys(("dump", "delay", "apply_async", "signature", "first step"), 1),
        "unchecked": "dict",
        "wrapped": "Period",
        **dict.fromkeys(("wrapped, bad", "bad", *(f"strict {value}" for value in VALUES)), "FAILURE"),
        **{f"lax {value}": kind for value, kind in VALUES.items()},
    }


VALUES = {"2026-01-01": "date", "00000000-0000-0000-0000-000000000001": "UUID", "1.10": "Decimal"}


@pytest.mark.proves("task-design-patterns#base-classes-and-hooks")
def test_bases_and_hooks(shop: MakeShop, redis: Redis) -> None:
    """A base of DjangoTask has delay_on_commit and one of celery.Task has not. Hooks run in the page's order,
    after_return not after a retry; what a task sets on `self` is there for the next one; on kill -9 no hook runs."""
    shop = shop(PAGE, redis)
    shop.tasks(
        """
        import time
        from celery import Task
        from celery.contrib.django.task import DjangoTask

        class Hooked(DjangoTask):
            abstract = True
            default_retry_delay = 0
            def before_start(self, *a): note("before_start")
            def on_success(self, *a): note("on_success")
            def on_retry(self, *a): note("on_retry")
            def on_failure(self, *a): note("on_failure")
            def after_return(self, *a): note("after_return")

        @shared_task(base=Task)
        def bare(): pass

        @shared_task(base=Hooked, bind=True, name="proofs.hooked")
        def hooked(self, how):
            note("body", seen=getattr(self, "tenant", None))
            self.tenant = how
            if how == "raises":
                raise ValueError
            if how == "hangs":
                time.sleep(1000)
            if how == "retries" and not self.request.retries:
                raise self.retry()
        """
    )
    names = "[hasattr(task, 'delay_on_commit') for task in (tasks.hooked, tasks.bare)]"
    assert shop.do(f"from proofs import tasks\nresult = {names}") == [True, False]
    worker = shop.worker("-c", "1")
    ends = {
        "returns": ["before_start", "body", "on_success", "after_return"],
        "raises": ["before_start", "body", "on_failure", "after_return"],
        "retries": ["before_start", "body", "on_retry", "before_start", "body", "on_success", "after_return"],
        "hangs": ["before_start", "body"],
    }
    before = 0
    for how, expected in ends.items():
        shop.do(f"tasks.hooked.delay({how!r})")
        until(lambda expected=expected, before=before: len(shop.ledger()) >= before + len(expected), what=how)
        assert [line["event"] for line in shop.ledger()[before:]] == expected
        before += len(expected)
    assert [line["seen"] for line in shop.ledger("body")] == [None, "returns", "raises", "retries", "retries"]
    worker.kill()
    stays(lambda: len(shop.ledger()) == before, 0.5, "no hook after kill -9")
