"""task-design-patterns: chains, groups, chords and chunks, and what travels through them."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis
from shop import MakeShop
from waiting import stays, until

PAGE = "task-design-patterns"
BACKENDS = pytest.mark.parametrize("results", ["", "django-db"], ids=["redis-results", "django-db-results"])


@pytest.mark.proves("task-design-patterns#chains-groups-and-chords")
def test_order_workflow(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """The page's workflow confirms, packs, closes and mails an order; without stock it ends in review, and an error in
    the middle sends the order to review through the errback. The same chain with `.s()` dies with TypeError in every
    header task. `.get()` inside a task raises; of eight items in one `starmap` or one part of `chunks`, one bad item
    fails the message, and the items after it never run."""
    shop = shop(PAGE, redis, postgres, results="django-db")
    shop.tasks(
        """
        from celery import chain, chord, group
        from django.core import mail
        from orders import tasks as page
        from orders.models import Order, OrderLine

        mail.get_connection().__class__.send_messages = lambda self, messages: note("mail", to=messages[0].to)

        @shared_task(name="proofs.header")
        def header(line_pk): note("header")

        @shared_task(name="proofs.breaks", ignore_result=False)
        def breaks(order_pk): raise ValueError

        def failing_workflow(order_pk):
            workflow = chain(page.confirm_order.si(order_pk), breaks.si(order_pk), page.send_receipt.si(order_pk))
            workflow.on_error(page.workflow_failed.s(order_pk=order_pk))
            workflow.delay()

        def wrong_workflow(order_pk):
            packing = chord([header.s(1), header.s(2)], page.close_order.s(order_pk=order_pk))
            return chain(page.confirm_order.si(order_pk), packing).delay()

        @shared_task(name="proofs.gets")
        def gets(): return header.delay(1).get()

        @shared_task(name="proofs.item")
        def item(number, kind):
            note(kind, number=number)
            if number == 3:
                raise ValueError
        """
    )
    worker = shop.worker("-c", "2")
    shop.do(
        """
        from catalog.models import Product
        from orders.tasks import start_workflow
        from proofs import tasks

        def order(name, stock):
            product = Product.objects.create(sku=name, price=1, stock=stock)
            customer = User.objects.create(username=name, email=name + "@shop")
            order = Order.objects.create(customer=customer, status="paid")
            for _ in range(3):
                order.lines.create(product=product)
            return order.pk
        stocked, empty, broken, wrong = (order(name, stock) for name, stock in
            (("stocked", 1), ("empty", 0), ("broken", 1), ("wrong", 1)))
        start_workflow(stocked)
        start_workflow(empty)
        tasks.failing_workflow(broken)
        tasks.wrong_workflow(wrong)
        gets = tasks.gets.delay()
        """
    )
    status = "dict(Order.objects.values_list('customer__username', 'status'))"
    expected = {"stocked": "shipped", "empty": "review", "broken": "review", "wrong": "confirmed"}
    until(lambda: shop.ask(status) == expected, what="the orders are where they belong")
    until(lambda: len(shop.ledger("mail")) == 2, what="both workflows have sent their receipts")
    until(lambda: worker.output.count("takes 1 positional argument but 2 were given") >= 2, what="header tasks die")
    until(lambda: shop.ask("gets.ready()"), what="the waiting task has ended")
    assert (shop.ask("type(gets.result).__name__"), shop.ask("gets.state")) == ("RuntimeError", "FAILURE")
    stays(lambda: shop.ask(status) == expected, 0.5, "the wrong order is never closed")

    shop.do(
        """
        tasks.item.starmap([(number, "starmap") for number in range(8)]).delay()
        tasks.item.chunks([(number, "chunks") for number in range(8)], 4).apply_async()
        tasks.group(tasks.item.si(number, "group") for number in range(8)).delay()
        """
    )
    until(lambda: shop.counts()["group"] == 8 and shop.counts()["chunks"] == 8, what="the items have run")
    assert [line["number"] for line in shop.ledger("starmap")] == [0, 1, 2, 3]
    evidence["figures"] |= {"of 8 items, one bad, starmap ran": 4}


@pytest.mark.proves("task-design-patterns#chords-that-fail")
@BACKENDS
def test_failing_header(shop: MakeShop, redis: Redis, postgres: PostgreSQL, results: str) -> None:
    """When a header task fails its siblings run on, and neither the body nor what follows ever runs. An errback on the
    chain, on the chord or on its body fires once, with ChordError. With self.replace(chord(...)) inside a longer chain
    only errbacks on header tasks fire. Header tasks that return the failure let the body decide."""
    shop = shop(PAGE, redis, postgres, results=results)
    shop.tasks(
        """
        from celery import chain, chord

        @shared_task(ignore_result=False)
        def header(case, fails=False):
            note("header", case=case)
            if fails:
                raise ValueError("no")
            return case

        @shared_task(ignore_result=False)
        def returns(case, fails=False):
            return not fails

        @shared_task(ignore_result=False)
        def body(results, case): note("body", case=case, results=results)

        @shared_task(ignore_result=False)
        def after(case): note("after", case=case)

        @shared_task
        def errback(request, exc, traceback, case): note("errback", case=case, error=type(exc).__name__)

        def headers(case, task=header):
            return [task.si(case), task.si(case, fails=True), task.si(case)]

        @shared_task(bind=True, ignore_result=False)
        def replaces(self, case, on):
            members, end = headers(case), body.s(case=case)
            if on == "header":
                for member in members:
                    member.on_error(errback.s(case=case))
            if on == "body":
                end.on_error(errback.s(case=case))
            inner = chord(members, end)
            if on == "chord":
                inner.on_error(errback.s(case=case))
            raise self.replace(inner)

        def start():
            on_chain = chain(after.si("first"), chord(headers("chain"), body.s(case="chain")), after.si("chain"))
            on_chain.on_error(errback.s(case="chain"))
            on_chain.delay()
            on_chord = chord(headers("chord"), body.s(case="chord"))
            on_chord.on_error(errback.s(case="chord"))
            on_chord.delay()
            chord(headers("body"), body.s(case="body").on_error(errback.s(case="body"))).delay()
            for on in ("header", "body", "chord", "outer"):
                case = "replaced, " + on
                outer = chain(after.si("first"), replaces.si(case, on), after.si(case))
                if on == "outer":
                    outer.on_error(errback.s(case=case))
                outer.delay()
            chord(headers("returned", returns), body.s(case="returned")).delay()
        """
    )
    shop.worker("-c", "2")
    shop.do("from proofs.tasks import start; start()")
    cases = ("chain", "chord", "body", *(f"replaced, {on}" for on in ("header", "body", "chord", "outer")))

    def per_case(event: str) -> dict[str, int]:
        return {case: sum(line["case"] == case for line in shop.ledger(event)) for case in cases}

    expected = {case: int(not case.startswith("replaced") or case == "replaced, header") for case in cases}
    until(lambda: per_case("header") == dict.fromkeys(cases, 3), what="the siblings of a failed header run on")
    until(lambda: per_case("errback") == expected, what="the errbacks have fired")
    until(lambda: shop.counts()["body"] == 1, what="the body with returned failures runs")
    stays(lambda: per_case("errback") == expected and shop.counts()["body"] == 1, 1.5, "nothing more comes")
    assert shop.ledger("body")[0]["results"] == [True, False, True]
    assert {line["case"] for line in shop.ledger("after")} == {"first"}
    errors = {line["case"]: line["error"] for line in shop.ledger("errback")}
    assert {errors[case] for case in ("chain", "chord", "body")} == {"ChordError"}


@pytest.mark.proves("task-design-patterns#chords-that-fail")
def test_results_of_headers(shop: MakeShop, redis: Redis, postgres: PostgreSQL) -> None:
    """Over header tasks that ignore their results django-db never runs the body and logs nothing; Redis runs it. On
    Redis a chord that takes longer than result_expires loses its body; result_chord_expires keeps it."""
    short = {"CELERY_RESULT_EXPIRES": 1}
    for settings, cases in (
        ({"results": "django-db", "database": postgres}, {"django-db, ignored": False, "django-db, kept": True}),
        (short, {"redis, late": False}),
        ({**short, "CELERY_RESULT_CHORD_EXPIRES": 60}, {"redis, ignored": True, "redis, late, kept": True}),
    ):
        redis.client().flushall()
        new = shop(PAGE, redis, **settings)
        new.tasks(
            """
            import time
            from celery import chord

            @shared_task(ignore_result=True)
            def ignored(): note("ignored")

            @shared_task(ignore_result=False)
            def kept(): note("kept")

            @shared_task(ignore_result=False)
            def late(): time.sleep(1.5); note("late")

            @shared_task
            def body(results, name): note(name)

            def start(name):
                members = ignored if "ignored" in name else kept
                chord([members.si(), late.si() if "late" in name else members.si()], body.s(name)).delay()
            """
        )
        worker = new.worker("-c", "2")
        for name in cases:
            new.do(f"from proofs.tasks import start; start({name!r})")
        for name, runs in cases.items():
            if runs:
                until(lambda new=new, name=name: new.counts()[name] == 1, what=f"{name}: the body runs")
        parts = 2 * len(cases)
        until(lambda new=new, parts=parts: sum(new.counts()[each] for each in ("ignored", "kept", "late")) == parts)
        never = [name for name, runs in cases.items() if not runs]
        stays(lambda new=new, never=never: not set(never) & set(new.counts()), 1, "no body")
        if "django-db, ignored" in cases:
            assert "ERROR" not in worker.output and "WARNING" not in worker.output
        worker.kill()


@pytest.mark.proves("task-design-patterns#context-through-a-workflow")
def test_context(shop: MakeShop, redis: Redis) -> None:
    """A header of one's own reaches the task and its own retry; a stamp also the next step and a chord's header, but
    the body only if it was stamped itself; what signals carry in a context variable reaches even what the task itself
    sends. A header named correlation_id vanishes, and id, group or origin replace the message's own; one named task
    makes it a message of an unknown task, which the worker discards."""
    shop = shop("django-integration", redis)  # its recipe carries the context variable
    shop.tasks(
        """
        from celery import chain, chord
        from shop import correlation

        @shared_task(bind=True, max_retries=1, default_retry_delay=0)
        def step(self, where):
            seen(self, where)
            if where == "first":
                if not self.request.retries:
                    raise self.retry()
                step.delay("called")

        @shared_task(bind=True)
        def body(self, results, where): seen(self, where)

        def seen(task, where):
            request = task.request
            note("retry" if request.retries else where, header=request.get("x_tenant"),
                stamp=(request.stamps or {}).get("tenant"), signal=correlation.current.get() == "s1",
                own={name: request.get(name) == name for name in ("correlation_id", "id", "group", "origin")})
        """
    )
    shop.do(
        """
        from proofs import tasks
        tasks.correlation.current.set("s1")
        first = tasks.step.si("first").set(headers={"x_tenant": "7"})
        stamped = tasks.body.s("stamped body")
        stamped.stamp(tenant="7")
        for body in (tasks.body.s("body"), stamped):
            rest = tasks.chord([tasks.step.si("header")], body)
            workflow = tasks.chain(first, tasks.step.si("next"), rest)
            workflow.stamp(tenant="7")
            workflow.delay()
            first = tasks.step.si("another")
        for name in ("correlation_id", "id", "group", "origin", "task"):
            tasks.step.apply_async(["header " + name], headers={name: name})
        """
    )
    worker = shop.worker("-c", "1")
    names = ("correlation_id", "id", "group", "origin")
    expected = {
        "first": ("7", "7", True),
        "retry": ("7", "7", True),
        "another": (None, "7", True),
        "next": (None, "7", True),
        "header": (None, "7", True),
        "body": (None, None, True),
        "stamped body": (None, "7", True),
        "called": (None, None, True),
        **{f"header {name}": (None, None, True) for name in names},
    }
    until(lambda: expected.keys() <= set(shop.counts()), what="all steps have run")
    assert {line["event"]: (line["header"], line["stamp"], line["signal"]) for line in shop.ledger()} == expected
    own = [line["own"][name] for name in names for line in shop.ledger(f"header {name}")]
    assert own == [False, True, True, True]
    until(lambda: "Received unregistered task of type 'task'" in worker.output, what="the fifth is discarded")


@pytest.mark.proves("task-design-patterns#chunk-large-work")
def test_key_ranges(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """Ranges of keys trim 2,500 names by three messages of two numbers each, and a second delivery of all changes
    nothing; lists of keys put every key into the messages. A range that fails leaves the others done and its own rows
    to be counted; a chord over the same work says nothing more once one header has failed."""
    shop = shop(PAGE, redis, postgres)
    shop.tasks(
        """
        from celery import chord
        from catalog import tasks as page
        from catalog.models import Product

        @shared_task(name="proofs.by_list")
        def by_list(pks): pass

        def send_lists():
            pks = list(Product.objects.order_by("pk").values_list("pk", flat=True))
            for start in range(0, len(pks), 1000):
                by_list.delay(pks[start:start + 1000])

        @shared_task(name="proofs.part")
        def part(first, last):
            if first == 1:
                raise ValueError
            page.trim_names.run(first, last)

        @shared_task(name="proofs.report")
        def report(results): note("report")
        """
    )
    shop.do(
        """
        from catalog.models import Product
        from catalog.tasks import trim_all_names
        from proofs import tasks
        Product.objects.bulk_create(Product(sku=f"{n}", name=f" {n} ", price=1) for n in range(2500))
        """
    )
    queue = redis.client()

    def sent(code: str) -> list[int]:
        shop.do(code)
        return [len(message) for message in queue.lrange("celery", 0, -1)]

    trimmed = "Product.objects.exclude(name__startswith=' ').exclude(name__endswith=' ').count()"
    lists = sent("tasks.send_lists()")
    queue.delete("celery")
    ranges = sent("trim_all_names()")
    assert len(ranges) == len(lists) == 3 and max(ranges) * 5 < max(lists)
    for message in queue.lrange("celery", 0, -1):
        queue.rpush("celery", message)  # each is delivered twice
    worker = shop.worker("-c", "2")
    until(lambda: worker.output.count("succeeded in") == 6, what="all have run")
    assert shop.ask(trimmed) == 2500

    shop.do(
        """
        Product.objects.update(name=" again ")
        parts = [(1, 1000), (1001, 2000), (2001, 2500)]
        tasks.chord([tasks.part.si(*part) for part in parts], tasks.report.s()).delay()
        """
    )
    until(lambda: shop.ask(trimmed) == 1500, what="the other ranges are done")
    stays(lambda: shop.counts()["report"] == 0, 0.5, "the chord never reports")
    evidence["figures"] |= {"bytes of a message, range": max(ranges), "bytes of a message, 1,000 keys": max(lists)}
