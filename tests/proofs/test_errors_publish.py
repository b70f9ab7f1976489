"""error-handling: publishing while the broker or the result backend refuses or is frozen."""

from __future__ import annotations

import threading

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop, Shop

# The page's limit of 5 s, shortened: a frozen Redis costs it five times over.
SHORT_REDIS = {"socket_timeout": 1, "socket_connect_timeout": 1}
RABBITMQ = {"confirm_publish": True, "read_timeout": 3, "write_timeout": 3}  # as the page has it
TASKS = """
@shared_task(name="proofs.kept")
def kept(): pass

@shared_task(name="proofs.ignored", ignore_result=True)
def ignored(): pass
"""
PUBLISH = """
import time
from proofs.tasks import ignored, kept
started = time.monotonic()
try:
    {}.delay()
    error = ""
except Exception as caught:
    error = type(caught).__module__ + "." + type(caught).__name__
result = [error, time.monotonic() - started]
"""


def publishing(shop: Shop, task: str = "kept") -> tuple[threading.Thread, list]:
    """``.delay()`` in the shop: the thread that waits for it, and the list that gets what it answers."""
    answer: list = []

    def ask() -> None:
        try:
            answer.append(shop.do(PUBLISH.format(task)))
        except Exception as error:  # the process was ended
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread, answer


def publish(shop: Shop, task: str = "kept") -> tuple[str, float]:
    """What ``.delay()`` raised, and the seconds it took."""
    thread, answer = publishing(shop, task)
    thread.join(60)
    assert not thread.is_alive(), "delay() hangs"
    error, seconds = answer[0]
    return error, seconds


def hangs(shop: Shop, seconds: float) -> threading.Thread:
    """Assert that ``.delay()`` has not returned after ``seconds``; its thread ends with the shop's process."""
    thread, answer = publishing(shop)
    thread.join(seconds)
    assert thread.is_alive(), answer
    return thread


REFUSED = "kombu.exceptions.OperationalError"


@pytest.mark.proves("error-handling#broker-down-at-publish")
@pytest.mark.proves("configuration-guide#redis-broker")
def test_redis_down(shop: MakeShop, own_redis: Redis, evidence: dict) -> None:
    """While the broker Redis is frozen .delay() hangs by default; with the page's settings it raises
    OperationalError after the socket's limit five times over, 26 s at 5 s each. While it refuses it raises at once."""
    default = shop("error-handling", own_redis, results="django-db")
    page = shop(
        "error-handling",
        own_redis,
        results="django-db",
        base="settings_publish",
        CELERY_BROKER_TRANSPORT_OPTIONS=SHORT_REDIS,
    )
    for each in (default, page):
        each.tasks(TASKS)
        assert publish(each)[0] == ""
    own_redis.pause()
    waiting = hangs(default, 1)
    error, seconds = publish(page)
    assert error == REFUSED and 5 <= seconds <= 20
    assert waiting.is_alive()
    evidence["figures"]["Redis frozen, limit 1 s: s"] = round(seconds, 1)
    default.close()
    waiting.join(10)
    own_redis.resume()
    assert publish(page)[0] == ""
    own_redis.kill()
    error, seconds = publish(page)
    assert error == REFUSED and seconds < 10
    evidence["figures"]["Redis refuses, s"] = round(seconds, 1)


@pytest.mark.proves("error-handling#broker-down-at-publish")
def test_rabbitmq_down(shop: MakeShop, own_rabbitmq: RabbitMQ, evidence: dict) -> None:
    """A frozen RabbitMQ takes messages over an open connection as if it had them; with confirm_publish alone .delay()
    hangs; with the page's time limits it raises OperationalError within 26 s. While it refuses, .delay()
    raises at once."""
    options = {"silent": {}, "confirming": {"confirm_publish": True}, "page": RABBITMQ}
    shops = {
        name: shop("error-handling", own_rabbitmq, base="settings_publish", CELERY_BROKER_TRANSPORT_OPTIONS=option)
        for name, option in options.items()
    }
    for each in shops.values():
        each.tasks(TASKS)
        assert publish(each)[0] == ""
    own_rabbitmq.pause()
    assert publish(shops["silent"])[0] == ""  # nobody has it
    waiting = hangs(shops["confirming"], 1)
    error, seconds = publish(shops["page"])
    assert error == REFUSED and 3 <= seconds <= 26
    assert waiting.is_alive()
    evidence["figures"]["RabbitMQ frozen, s"] = round(seconds, 1)
    shops["confirming"].close()
    waiting.join(10)
    own_rabbitmq.kill()
    error, seconds = publish(shops["page"])
    assert error == REFUSED and seconds < 10
    evidence["figures"]["RabbitMQ refuses, s"] = round(seconds, 1)


@pytest.mark.proves("error-handling#broker-down-at-publish")
@pytest.mark.proves("configuration-guide#result-backends")
def test_results_down(shop: MakeShop, redis: Redis, own_redis: Redis, evidence: dict) -> None:
    """While the result Redis refuses or is frozen nothing is sent: frozen, the first .delay() hangs by default and ends
    after a few of the socket's limits with the page's settings; refused, it raises at once with them. A task that
    ignores its result is sent."""
    short = {"CELERY_REDIS_SOCKET_TIMEOUT": 1}
    default = shop("error-handling", redis, results=own_redis.url(1))
    page = shop("error-handling", redis, results=own_redis.url(1), base="settings_publish", **short)
    for each in (default, page):
        each.tasks(TASKS)
        assert publish(each, "ignored")[0] == ""  # connects to the broker only
    waiting = redis.client()
    sent = waiting.llen("celery")
    own_redis.pause()
    hanging = hangs(default, 1)
    error, seconds = publish(page)
    assert error and 1 <= seconds <= 15
    assert hanging.is_alive()
    evidence["figures"]["Redis results frozen, limit 1 s: s"] = round(seconds, 1)
    default.close()
    hanging.join(10)
    own_redis.kill()
    error, seconds = publish(page)
    assert error == "builtins.RuntimeError" and seconds < 5
    evidence["figures"]["Redis results refuse, s"] = round(seconds, 1)
    assert waiting.llen("celery") == sent
    assert publish(page, "ignored")[0] == ""
    assert waiting.llen("celery") == sent + 1
