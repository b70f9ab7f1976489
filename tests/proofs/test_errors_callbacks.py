"""error-handling: which errbacks are called, how, and by whom."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop
from waiting import stays, until


@pytest.mark.proves("error-handling#callbacks-and-errbacks")
def test_forms_of_errbacks(shop: MakeShop, redis: Redis) -> None:
    """An unbound errback with several free arguments is called as a function in the process that failed, so it is not
    retried when it raises; a bound one, or one with a single free argument, is published as a task with the id first,
    and is retried. chain.on_error is called once by whichever step fails, chord.on_error once with a ChordError,
    group.link_error once for each failed member; group.apply_async(link_error=) is a TypeError."""
    shop = shop("error-handling", redis)
    shop.tasks(
        """
        @shared_task
        def fails(*args):
            note("fails")
            raise ValueError("no")

        @shared_task
        def works(*args): pass

        retried = {"autoretry_for": (OSError,), "max_retries": 2, "default_retry_delay": 0}

        @shared_task(**retried)
        def to_review(request, exc, traceback, order_pk):
            note("to_review", args=[request.id, type(exc).__name__, order_pk])

        @shared_task(**retried)
        def raises(request, exc, traceback, order_pk):
            note("raises", args=[request.id, type(exc).__name__, order_pk])
            raise OSError

        @shared_task(bind=True, **retried)
        def bound(self, task_id, order_pk):
            note("bound", args=[task_id, order_pk], retries=self.request.retries)
            raise OSError

        @shared_task
        def single(task_id):
            note("single", args=[task_id])

        @shared_task
        def pair(task_id, order_pk):
            note("pair", args=[task_id, order_pk])
        """
    )
    shop.worker("-c", "1", "-Q", "celery")
    other = shop.worker("-c", "1", "-Q", "failing")
    ids = shop.do(
        """
        from proofs.tasks import bound, fails, pair, raises, single, to_review
        errbacks = {"to_review": to_review.s(7), "raises": raises.s(7), "bound": bound.s(7), "single": single.s(),
                    "pair": pair.s(7)}
        result = {name: fails.apply_async(queue="failing", link_error=errback).id for name, errback in errbacks.items()}
        """
    )
    calls = {"to_review": 1, "raises": 1, "bound": 3, "single": 1, "pair": 1}
    until(lambda: {name: shop.counts()[name] for name in calls} == calls, what="all were called")
    stays(lambda: {name: shop.counts()[name] for name in calls} == calls, 0.5, "none is called again")
    for name, *own in [
        ("to_review", "ValueError", 7),
        ("raises", "ValueError", 7),
        ("bound", 7),
        ("single",),
        ("pair", 7),
    ]:
        assert {tuple(line["args"]) for line in shop.ledger(name)} == {(ids[name], *own)}
    here = {line["pid"] for line in shop.ledger("fails")}
    assert here == set(other.children())
    for name in calls:
        assert ({line["pid"] for line in shop.ledger(name)} <= here) == (name in ("to_review", "raises")), name

    expected = shop.do(
        """
        from celery import chain, chord, group
        from proofs.tasks import works
        for number, steps in enumerate([[fails.si(), works.si()], [works.si(), fails.si(), works.si()]]):
            steps = chain(*steps)
            steps.on_error(to_review.s("chain"))
            steps.apply_async()
        joined = chord([works.si(), fails.si(), works.si()], works.s())
        joined.on_error(to_review.s("chord"))
        joined.apply_async()
        members = group([works.si(), fails.si(), fails.si()])
        members.link_error(to_review.s("group"))
        members.apply_async()
        try:
            group([works.si()]).apply_async(link_error=single.s())
        except TypeError as error:
            result = str(error)
        """
    )
    assert "do that on individual tasks" in expected

    def called() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"chain": [], "chord": [], "group": []}
        for line in shop.ledger("to_review")[1:]:
            found[line["args"][2]].append(line["args"][1])
        return found

    want = {"chain": ["ValueError"] * 2, "chord": ["ChordError"], "group": ["ValueError"] * 2}
    until(lambda: all(len(called()[name]) >= len(want[name]) for name in want), what="each was called")
    stays(lambda: called() == want, 1, "none is called again")
