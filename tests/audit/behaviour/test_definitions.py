"""What the rules DCE3xx say about how tasks are defined, on the installed Celery and Django."""

from __future__ import annotations

import functools
import gc
import warnings
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace

import pytest
from celery_audit.rules.definitions import NOT_IN_DECORATOR, PLAIN_BASES, PLAIN_RESULT


@pytest.fixture
def task(app):
    """The decorator ``app.task``, for this app alone."""
    return functools.partial(app.task, shared=False)


@pytest.fixture
def run(app) -> Callable[..., SimpleNamespace]:
    """Run a task as a worker does, from its name and arguments: what is stored of it, and whether it succeeded."""
    from celery import uuid
    from celery.app.trace import build_tracer

    app.conf.update(result_backend="cache+memory://", task_ignore_result=False)

    def run(name: str, *args: object) -> SimpleNamespace:
        id = uuid()
        trace = build_tracer(name, app.tasks[name], app=app)
        traced = trace(id, args, {}, {"id": id, "delivery_info": {}, "is_eager": False})
        stored = app.AsyncResult(id)
        return SimpleNamespace(state=stored.state, result=stored.result, succeeded=traced.info is None)

    return run


@pytest.mark.proves("DCE301")
def test_nothing_is_given_for_self(task, run) -> None:
    @task(name="unbound", max_retries=3)
    def unbound(self, order_pk):
        return order_pk

    @task(name="bound", bind=True, max_retries=3)
    def bound(self, order_pk):
        return order_pk, self.name

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'order_pk'"):
        unbound.delay(1)
    assert "missing 1 required positional argument" in str(run("unbound", 1).result)
    bound.delay(1)
    assert run("bound", 1).result == [1, "bound"]


@pytest.mark.proves("DCE301")
def test_method_as_task_does_not_know_its_object(task) -> None:
    class Shop:
        @task(name="method")
        def send(self, order_pk):
            return order_pk

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'order_pk'"):
        Shop().send.delay(1)


@pytest.mark.proves("DCE302")
def test_bound_task_gets_itself_first(task, run) -> None:
    @task(name="none", bind=True)
    def none(): ...

    @task(name="one", bind=True)
    def one(order_pk): ...

    @task(name="two", bind=True)
    def two(order_pk, quiet=False):
        return getattr(order_pk, "name", None), quiet

    @task(name="good", bind=True)
    def good(self, order_pk):
        return order_pk

    for name, given, *args in (("none", 1), ("one", 2, 7)):
        assert f"takes {given - 1} positional argument" in str(run(name, *args).result)
        assert f"{given} w" in str(run(name, *args).result)
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        one.delay(7)
    assert run("two", 7).result == ["two", 7]
    assert run("good", 7).result == 7


def _decorated(path: str, function: Callable) -> Callable:
    """What a decorator of that name makes of a function."""
    package, _, name = path.rpartition(".")
    decorator = getattr(pytest.importorskip(package), name)
    return decorator("en")(function) if name == "override" else decorator(function)


@pytest.mark.proves("DCE303")
@pytest.mark.parametrize("path", sorted(PLAIN_RESULT))
def test_outer_decorator_hides_the_task(django, task, path) -> None:
    def send(): ...

    made = task(name="hidden")(send)
    assert hasattr(made, "delay")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # async_to_sync wonders at a plain function
        assert not hasattr(_decorated(path, made), "delay")


@pytest.mark.proves("DCE303")
def test_worker_runs_without_the_outer_decorator(django, task, run) -> None:
    from django.db import connection, transaction

    @transaction.atomic
    @task(name="above")
    def above():
        return connection.in_atomic_block

    @task(name="below")
    @transaction.atomic
    def below():
        return connection.in_atomic_block

    with pytest.raises(AttributeError, match="'function' object has no attribute 'delay'"):
        above.delay()
    assert above()  # a plain call has the transaction
    assert run("above").result is False
    below.delay()
    assert run("below").result is True


@pytest.mark.proves("DCE304")
@pytest.mark.parametrize("ignored", [False, True])
def test_coroutine_never_runs(task, run, ignored) -> None:
    from asgiref.sync import async_to_sync

    ran = []

    async def send(order_pk):
        ran.append(order_pk)
        return order_pk

    task(name="async", ignore_result=ignored)(send)

    @task(name="plain", ignore_result=ignored)
    def plain(order_pk):
        return async_to_sync(send)(order_pk)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "coroutine was never awaited"
        ended = run("async", 1)
        gc.collect()
    assert not ran
    assert ended.succeeded is ignored
    if not ignored:
        assert "Object of type coroutine is not JSON serializable" in str(ended.result)
        assert ended.state == "FAILURE"
    run("plain", 2)
    assert ran == [2]


@pytest.mark.proves("DCE305")
@pytest.mark.parametrize("explicit", [False, True])
def test_first_task_of_a_name_stays(task, explicit) -> None:
    def send():
        return "first"

    first = task(**({"name": "send"} if explicit else {}))(send)

    def send():
        return "second"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DuplicateTaskNameWarning, since Celery 5.7
        second = task(**({"name": "send"} if explicit else {}))(send)
        assert (first(), second()) == ("first", "first")

    assert task(name="other")(send)() == "second"


@pytest.mark.proves("DCE305")
def test_only_some_versions_warn_of_a_second_task(app, task) -> None:
    from celery import exceptions

    def one(): ...

    def two(): ...

    task(name="send")(one)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        task(name="send")(two)
        app.finalize()
    assert bool(seen) == hasattr(exceptions, "DuplicateTaskNameWarning")


@pytest.mark.proves("DCE305")
def test_two_apps_may_have_a_task_of_one_name(task, app) -> None:
    from celery import Celery

    other = Celery("other", broker="memory://", set_as_current=False)

    def one():
        return 1

    def two():
        return 2

    task(name="send")(one)
    other.task(name="send", shared=False)(two)
    assert (app.tasks["send"](), other.tasks["send"]()) == (1, 2)
    other.close()


@pytest.mark.proves("DCE307")
@pytest.mark.parametrize("name", ["max_retry", "ack_late", *NOT_IN_DECORATOR])
def test_unknown_option_has_no_effect(app, task, name) -> None:
    def send(): ...

    options = ("max_retries", "acks_late", "default_retry_delay", "time_limit", "soft_time_limit", "name")
    plain, odd = task(name="plain")(send), task(**{name: 99})(send)
    assert getattr(odd, name) == 99
    assert [getattr(odd, o) for o in options[:-1]] == [getattr(plain, o) for o in options[:-1]]
    assert odd.max_retries == 3
    assert odd.name.endswith("send")
    odd.delay()
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = channel.basic_get("celery", no_ack=True)
    assert (message.headers["eta"], message.headers["retries"], message.headers["id"] == 99) == (None, 0, False)
    assert task(name="good", max_retries=10)(send).max_retries == 10


@pytest.mark.proves("DCE308")
def test_only_djangos_task_class_has_delay_on_commit(task) -> None:
    from celery import Task
    from celery.contrib.django.task import DjangoTask

    def send(): ...

    class Plain(Task): ...

    class ForDjango(DjangoTask): ...

    bases = {"plain": Plain, "celery": Task, "django": ForDjango}
    with_method = {n: hasattr(task(name=n, base=b)(send), "delay_on_commit") for n, b in bases.items()}
    assert with_method == {"plain": False, "celery": False, "django": True}
    assert hasattr(task(name="default")(send), "apply_async_on_commit")
    assert all(path.endswith(".Task") and not hasattr(_load(path), "delay_on_commit") for path in PLAIN_BASES)


def _load(path: str) -> type:
    package, _, name = path.rpartition(".")
    return getattr(import_module(package), name)


@pytest.mark.proves("DCE309")
def test_only_abortable_tasks_can_ask(app, task, run) -> None:
    from celery.contrib.abortable import AbortableTask

    @task(name="plain", bind=True)
    def plain(self):
        return self.is_aborted()

    @task(name="abortable", bind=True, base=AbortableTask)
    def abortable(self):
        return self.is_aborted()

    assert "has no attribute 'is_aborted'" in str(run("plain").result)
    assert run("abortable").result is False


@pytest.mark.proves("DCE311")
def test_class_is_no_task_until_it_is_registered(app, monkeypatch) -> None:
    from celery import Task
    from celery.worker import state
    from celery.worker.consumer import consumer

    class Send(Task):
        def run(self, order_pk):
            return order_pk

    class Registered(Task):
        name = "registered"

        def run(self, order_pk):
            return order_pk

    app.set_current()
    send = app.register_task(Registered())
    Send().delay(1)
    send.delay(2)
    logged, taken = [], []
    monkeypatch.setattr(consumer, "error", lambda message, *args, **_: logged.append(message % args))
    worker = consumer.Consumer(
        lambda request: request.execute_using_pool(worker.pool),
        app=app,
        controller=SimpleNamespace(use_eventloop=False, state=state),
        pool=SimpleNamespace(is_green=False, apply_async=lambda _, args, **__: taken.append(args[0])),
        timer=SimpleNamespace(call_at=None),
    )
    worker.update_strategies()
    receive = worker.create_task_handler()
    with app.connection_for_read() as connection, connection.channel() as channel:
        worker.task_consumer = app.amqp.TaskConsumer(channel)
        for _ in range(2):
            receive(channel.message_to_python(channel.basic_get("celery")))
    assert len(logged) == 1
    assert "Received unregistered task of type None" in logged[0]
    assert taken == ["registered"]
