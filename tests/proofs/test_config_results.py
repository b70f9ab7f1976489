"""configuration-guide: how long results live, and which chords lose their body."""

from __future__ import annotations

import pytest
from servers import Redis
from shop import MakeShop, Raised, Shop
from waiting import stays, until

PAGE = "configuration-guide"
TASKS = """
import time
from pathlib import Path

@shared_task(name="proofs.value")
def value(gate=""):
    while gate and not Path(gate).exists():
        time.sleep(0.05)
    note("value")
    return 1

@shared_task(name="proofs.ignored", ignore_result=True)
def ignored():
    note("ignored")

@shared_task(name="proofs.fails")
def fails(): raise ValueError

@shared_task(name="proofs.body")
def body(results, name="body"): note(name, results=results)
"""
CHORD = "from celery import chord; from proofs.tasks import body, ignored, value; "


def results_shop(make: MakeShop, redis: Redis, database: int, **options: object) -> Shop:
    """A shop with the broker database of this number."""
    shop = make(PAGE, redis, **options)
    shop.environment["SHOP_BROKER"] = redis.url(database)
    shop.tasks(TASKS)
    return shop


@pytest.mark.proves("configuration-guide#result-backends")
@pytest.mark.proves("configuration-guide#complete-settings")
def test_expiry(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """With the page's settings a result lives a day, a failure and a chord's counter a week. A chord that runs longer
    than result_expires loses its body; with result_chord_expires the body runs."""
    page = results_shop(shop, redis, 2)
    # An hour for the chord: enough for the proof, and no default.
    shops = {
        "lost": results_shop(shop, redis, 3, CELERY_RESULT_EXPIRES=1, CELERY_RESULT_CHORD_EXPIRES=None),
        "kept": results_shop(shop, redis, 4, CELERY_RESULT_EXPIRES=1, CELERY_RESULT_CHORD_EXPIRES=3600),
    }
    for each in (page, *shops.values()):
        each.worker("-c", "2", wait=False)
    for each in shops.values():
        each.do(CHORD + "chord([value.si(), value.si('gate')], body.s()).delay()")
    store = redis.client(1)
    value, failure = page.do("result = [app.send_task(name).id for name in ('proofs.value', 'proofs.fails')]")
    ttl = "celery-task-meta-{}".format
    until(lambda: store.ttl(ttl(value)) > 0 and store.ttl(ttl(failure)) > 0, what="both are stored")
    seconds = {"result": store.ttl(ttl(value)), "failure": store.ttl(ttl(failure))}
    page.do(CHORD + "chord([value.si(), value.si('gate')], body.s()).delay()")
    until(lambda: page.counts()["value"] == 2, what="the first member ran")
    week = lambda: [store.ttl(key) for key in store.keys("*.j") if store.ttl(key) > 3600]  # noqa: E731
    seconds["chord"] = until(week, what="the counter of the page's chord")[0]
    assert {name: round(number / 100) * 100 for name, number in seconds.items()} == {
        "result": 86_400,
        "failure": 604_800,
        "chord": 604_800,
    }
    for each in shops.values():
        until(lambda each=each: each.counts()["value"] == 1, what="the first member ran")
    until(lambda: len(store.keys("*.j")) == 2, what="the counter of the lost chord has expired")
    for each in (page, *shops.values()):
        (each.folder / "gate").touch()
    for each in (page, shops["kept"]):
        until(lambda each=each: each.counts()["body"] == 1, what="the body ran")
    until(lambda: shops["lost"].counts()["value"] == 2, what="the last member ran")
    stays(lambda: not shops["lost"].counts()["body"], 1, "its body does not")
    evidence["figures"] |= {f"{name}, s": number for name, number in seconds.items()}


@pytest.mark.proves("configuration-guide#result-backends")
def test_chord_that_ignores(shop: MakeShop, redis: Redis) -> None:
    """A chord whose members ignore their results never runs its body on django-db and runs it on Redis; members that
    keep them have it run on both. Without a result backend a chord raises NotImplementedError, in the caller."""
    shops = {
        "database": results_shop(shop, redis, 2, results="django-db"),
        "redis": results_shop(shop, redis, 3),
    }
    for each in shops.values():
        each.worker("-c", "1", wait=False)
        each.do(
            CHORD
            + "chord([ignored.si(), ignored.si()], body.s('ignoring')).delay();"
            + "chord([value.si(), value.si()], body.s('keeping')).delay()"
        )
    for each in shops.values():
        until(lambda each=each: each.counts()["keeping"], what="the body of those that keep results")
    until(lambda: shops["redis"].counts()["ignoring"], what="and on Redis of those that do not")
    until(lambda: shops["database"].counts()["ignored"] == 2, what="the members ran")
    stays(lambda: not shops["database"].counts()["ignoring"], 2, "no body, though it is asked for every second")
    none = results_shop(shop, redis, 4, results="disabled://")
    with pytest.raises(Raised) as error:
        none.do(CHORD + "chord([value.si()], body.s()).delay()")
    assert error.value.kind == "NotImplementedError"
