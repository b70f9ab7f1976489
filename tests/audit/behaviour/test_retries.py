"""What the rules DCE4xx say about retries and time limits, on the installed Celery."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery, _state
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from celery.worker.request import Request

NUMBERS = count()


class Temporary(Exception):
    """A failure that goes away."""


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's tasks out of the apps of the others."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch):
    """A Celery app on the memory transport; ``app.taken()`` empties the queue and returns its messages."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)

    def taken() -> list:
        found = []
        with app.connection_for_read() as connection, connection.channel() as channel:
            app.amqp.queues["celery"](channel).declare()
            while (message := channel.basic_get("celery", no_ack=True)) is not None:
                found.append(message)
        return found

    app.taken = taken
    taken()
    yield app
    app.close()


def run(task, *args, retries: int = 0) -> SimpleNamespace:
    """Run a message as a worker's child does: its final state, its result, and what it published."""
    task.app.taken()
    id = str(next(NUMBERS))  # a success, once stored, is kept
    request = {
        "id": id,
        "retries": retries,
        "is_eager": False,
        "delivery_info": {"routing_key": "celery", "exchange": ""},
    }
    trace = build_tracer(task.name, task, app=task.app, propagate=False)
    trace(id, args, {}, request)
    stored = task.AsyncResult(id)
    return SimpleNamespace(state=stored.state, result=stored.result, sent=task.app.taken())


def delay_of(message) -> float:
    """The seconds until a message may run."""
    return (datetime.fromisoformat(message.headers["eta"]) - datetime.now(UTC)).total_seconds()


@pytest.mark.proves("DCE401")
def test_caught_retry(app) -> None:
    @app.task(bind=True)
    def swallowed(self):
        try:
            raise self.retry(countdown=60)
        except Exception:
            return "as if nothing happened"

    @app.task(bind=True)
    def twice(self):
        try:
            raise self.retry(countdown=60)
        except Exception as exc:
            raise self.retry(exc=exc, countdown=60) from exc

    @app.task(bind=True)
    def fails(self):
        try:
            raise self.retry(countdown=60)
        except Exception as exc:
            raise Temporary from exc

    @app.task(bind=True)
    def right(self):
        try:
            raise self.retry(countdown=60)
        except Retry:
            raise
        except Exception:
            return "not reached"

    outcome = {task.name.rpartition(".")[2]: run(task) for task in (swallowed, twice, fails, right)}
    assert [(name, ran.state, len(ran.sent)) for name, ran in outcome.items()] == [
        ("swallowed", "SUCCESS", 1),
        ("twice", "RETRY", 2),
        ("fails", "FAILURE", 1),
        ("right", "RETRY", 1),
    ]
    assert issubclass(Ignore, Exception)


@pytest.mark.proves("DCE401")
def test_caught_replace(app) -> None:
    @app.task
    def other(): ...

    @app.task(bind=True)
    def swallowed(self):
        try:
            raise self.replace(other.si())
        except Exception:
            return "as if nothing happened"

    ran = run(swallowed)
    assert (ran.state, ran.result, len(ran.sent)) == ("SUCCESS", "as if nothing happened", 1)


@pytest.mark.proves("DCE402")
def test_the_end_of_retries(app) -> None:
    seen = []

    @app.task(bind=True, max_retries=1)
    def with_exc(self):
        try:
            raise Temporary
        except Temporary as exc:
            try:
                self.retry(exc=exc)
            except MaxRetriesExceededError:
                seen.append("with exc")

    @app.task(bind=True, max_retries=1)
    def without_exc(self):
        try:
            self.retry()
        except MaxRetriesExceededError:
            seen.append("without exc")

    @app.task(bind=True, max_retries=1, autoretry_for=(Temporary,))
    def automatic(self):
        try:
            raise Temporary
        except MaxRetriesExceededError:
            seen.append("autoretry")

    for task in (with_exc, automatic):
        ran = run(task, retries=1)
        assert (ran.state, type(ran.result), ran.sent) == ("FAILURE", Temporary, [])
    run(without_exc, retries=1)
    assert seen == ["without exc"]


@pytest.mark.proves("DCE403")
@pytest.mark.parametrize(("limit", "state", "sent"), [(None, "RETRY", 1), (12, "FAILURE", 0)])
def test_retry_one_thousand(app, limit, state, sent) -> None:
    @app.task(autoretry_for=(Temporary,), max_retries=limit)
    def task():
        raise Temporary

    ran = run(task, retries=1_000)
    assert (ran.state, len(ran.sent)) == (state, sent)


@pytest.mark.proves("DCE404")
def test_options_without_autoretry(app) -> None:
    options = {"retry_backoff": 10, "retry_jitter": False, "retry_kwargs": {"max_retries": 0}}

    @app.task(**options)
    def plain():
        raise Temporary

    @app.task(bind=True, **options)
    def by_hand(self):
        raise self.retry()

    @app.task(autoretry_for=(Temporary,), retry_backoff=10, retry_jitter=False)
    def automatic():
        raise Temporary

    ran = run(plain)
    assert (ran.state, ran.sent) == ("FAILURE", [])
    [message] = run(by_hand).sent
    assert delay_of(message) == pytest.approx(180, abs=2)
    [message] = run(automatic).sent
    assert delay_of(message) == pytest.approx(10, abs=2)


@pytest.mark.proves("DCE405")
def test_everything_is_retried(app) -> None:
    from django.core.exceptions import ObjectDoesNotExist

    @app.task(autoretry_for=(Exception,))
    def everything(kind):
        raise {"limit": SoftTimeLimitExceeded, "reject": Reject, "row": ObjectDoesNotExist}[kind]

    @app.task(autoretry_for=(Exception,), dont_autoretry_for=(SoftTimeLimitExceeded, Reject, ObjectDoesNotExist))
    def less(kind):
        raise {"limit": SoftTimeLimitExceeded, "row": ObjectDoesNotExist}[kind]

    assert [run(everything, kind).state for kind in ("limit", "reject", "row")] == ["RETRY"] * 3
    assert [run(less, kind).state for kind in ("limit", "row")] == ["FAILURE"] * 2


@pytest.mark.proves("DCE406")
@pytest.mark.parametrize("option", ["autoretry_for", "dont_autoretry_for"])
def test_a_class_for_a_tuple(app, option) -> None:
    @app.task(**{"autoretry_for": (Temporary,), option: Temporary})
    def task(): ...

    with pytest.raises(TypeError, match="'type' object is not iterable"):
        _ = task.name  # a proxy until it is used


@pytest.mark.proves("DCE407")
def test_retry_rolls_back(app, django) -> None:
    from django.db import transaction

    @app.task(bind=True)
    def inside(self, pk):
        with transaction.atomic():
            django.Order.objects.filter(pk=pk).update(name="1 attempt")
            raise self.retry()

    @app.task(bind=True)
    def outside(self, pk):
        with transaction.atomic():
            django.Order.objects.filter(pk=pk).update(name="1 attempt")
        raise self.retry()

    orders = [django.Order.objects.create() for _ in range(2)]
    for task, order in zip((inside, outside), orders, strict=True):
        assert run(task, order.pk).state == "RETRY"
        order.refresh_from_db()
    assert [order.name for order in orders] == ["", "1 attempt"]


@pytest.mark.proves("DCE408")
def test_exception_by_position(app) -> None:
    @app.task(bind=True)
    def wrong(self):
        try:
            raise Temporary
        except Temporary as exc:
            raise self.retry(exc) from exc

    @app.task(bind=True)
    def right(self):
        try:
            raise Temporary
        except Temporary as exc:
            raise self.retry(exc=exc) from exc

    ran = run(wrong)
    assert (ran.state, type(ran.result), ran.sent) == ("FAILURE", TypeError, [])
    assert "is not iterable" in str(ran.result)
    assert (run(right).state, len(app.taken())) == ("RETRY", 0)


@pytest.mark.proves("DCE409")
def test_the_limit_stays_on_the_task(app) -> None:
    class Busy(Exception):
        pass

    @app.task(bind=True, autoretry_for=(Temporary,), max_retries=1)
    def task(self, first):
        if first:
            raise self.retry(exc=Busy(), max_retries=5)
        raise Temporary

    def runs() -> int:
        return 1 + sum(run(task, False, retries=number).state == "RETRY" for number in range(10))

    assert runs() == 2
    run(task, True)
    assert runs() == 6


@pytest.mark.proves("DCE411")
def test_soft_limit_above_the_hard_one(app) -> None:
    @app.task(soft_time_limit=300, time_limit=240)
    def own(): ...

    @app.task(soft_time_limit=240, time_limit=300)
    def right(): ...

    with pytest.raises(ValueError, match="soft_time_limit must be less than or equal to time_limit"):
        own.delay()
    right.delay()
    right.apply_async(soft_time_limit=900)  # per call nothing is checked
    assert len(app.taken()) == 2


@pytest.mark.proves("DCE411")
def test_soft_limit_above_the_hard_setting(app) -> None:
    app.conf.task_time_limit = 300

    @app.task(soft_time_limit=3600)
    def task(): ...

    with pytest.raises(ValueError, match="soft_time_limit"):
        task.delay()


@pytest.mark.proves("DCE411")
def test_the_hard_limit_counts_from_the_soft_one() -> None:
    """With equal limits nothing is left between the two; with a larger soft one the hard one waits for it."""
    from celery.concurrency.asynpool import AsynPool

    timers = []
    hub = SimpleNamespace(call_later=lambda seconds, function, *_: timers.append((seconds, function)))
    pool = SimpleNamespace(_tref_for_id={}, _cache={}, _on_hard_timeout="kill", _discard_tref=None)
    for soft, hard in ((240, 300), (300, 300), (900, 300)):
        AsynPool._on_soft_timeout(pool, "job", soft, hard, hub)
    assert timers == [(60, "kill"), (0, "kill"), (-600, "kill")]


@pytest.mark.proves("DCE412")
def test_soft_limit_in_a_loop(app) -> None:
    done = []

    def store(row) -> None:
        if row == 1:
            raise SoftTimeLimitExceeded  # as the signal handler does, once
        done.append(row)

    @app.task
    def swallows():
        for row in range(4):
            try:
                store(row)
            except Exception:
                continue

    @app.task
    def right():
        for row in range(4):
            try:
                store(row)
            except SoftTimeLimitExceeded:
                raise
            except Exception:
                continue

    assert (run(swallows).state, done) == ("SUCCESS", [0, 2, 3])
    done.clear()
    assert (run(right).state, done) == ("FAILURE", [0])


def rejected(task) -> tuple[list, list]:
    """What the worker tells the broker about a message whose task raised ``Reject``: acks, then rejects."""
    task.app.taken()
    task.delay()
    [message] = task.app.taken()
    acks, rejects = [], []
    request = Request(
        message,
        app=task.app,
        task=task,
        on_ack=lambda *_: acks.append(1),
        on_reject=lambda _logger, _errors, requeue: rejects.append(requeue),
        eventer=SimpleNamespace(enabled=False),
    )
    request.on_accepted(1, time.monotonic())
    try:
        task()
    except Reject:
        request.on_failure(ExceptionInfo())
    return acks, rejects


@pytest.mark.proves("DCE418")
@pytest.mark.proves("DCE419")
@pytest.mark.parametrize(("late", "told"), [(False, ([1], [])), (True, ([], [True]))])
def test_reject_with_requeue(app, late, told) -> None:
    """After an early ack there is no reject; with acks_late the message goes back at once, each time the same."""

    @app.task(acks_late=late)
    def task():
        raise Reject("busy", requeue=True)

    assert [rejected(task) for _ in range(10)] == [told] * 10


@pytest.mark.proves("DCE420")
def test_no_timeout_by_default(monkeypatch) -> None:
    """Nothing bounds the wait: requests and urlopen leave the socket without a timeout unless one is given."""
    import socket
    from urllib.request import urlopen

    import requests

    waits = []

    def create(address, timeout=None, *_, **__):
        waits.append(socket.getdefaulttimeout() if timeout is socket._GLOBAL_DEFAULT_TIMEOUT else timeout)
        raise OSError("not needed further")

    monkeypatch.setattr(socket, "create_connection", create)
    monkeypatch.setattr("urllib3.util.connection.create_connection", create)
    calls = [
        lambda: requests.get("http://127.0.0.1:9"),
        lambda: requests.Session().get("http://127.0.0.1:9"),
        lambda: urlopen("http://127.0.0.1:9"),
        lambda: requests.get("http://127.0.0.1:9", timeout=(3, 20)),
        lambda: urlopen("http://127.0.0.1:9", timeout=3),
    ]
    for call in calls:
        with pytest.raises(OSError, match="not needed further"):
            call()
    assert waits == [None, None, None, 3, 3]
