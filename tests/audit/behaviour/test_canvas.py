"""What the rules DCE5xx say about results and canvases, on the installed Celery."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery, _state, chain, chord, group
from celery.app.trace import build_tracer
from celery.exceptions import TimeoutError as WaitedTooLong


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's tasks out of the apps of the others."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch):
    """A Celery app on the memory transport; ``app.taken(queue)`` empties a queue and returns its messages."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)

    def taken(queue: str = "celery") -> list:
        found = []
        with app.connection_for_read() as connection, connection.channel() as channel:
            app.amqp.queues.select_add(queue)(channel).declare()
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                found.append(message)
        return found

    app.taken = taken
    taken()
    yield app
    app.close()


@pytest.fixture
def tasks(app) -> SimpleNamespace:
    @app.task(name="add")
    def add(x, y=0):
        return x + y

    @app.task(name="one")
    def one(x):
        return x

    @app.task(name="ignored", ignore_result=True)
    def ignored(x=0):
        return x

    return SimpleNamespace(add=add, one=one, ignored=ignored)


def work_off(app, message) -> None:
    """Run a message as a worker's child does."""
    args, kwargs, embedded = message.decode()
    headers = {**message.headers, **embedded, "delivery_info": {"routing_key": "celery", "exchange": ""}}
    task = app.tasks[message.headers["task"]]
    build_tracer(task.name, task, app=app)(message.headers["id"], args, kwargs, headers)


@pytest.mark.proves("DCE501")
def test_waiting_in_a_task(app, tasks) -> None:
    @app.task
    def waits():
        return tasks.add.delay(1, 2).get(timeout=1)

    @app.task
    def waits_for_apply():
        return tasks.add.apply((1, 2)).get()

    @app.task
    def calls():
        return tasks.add(1, 2)

    app.conf.task_always_eager = True
    for task in (waits, waits_for_apply):
        with pytest.raises(RuntimeError, match=r"Never call result\.get"):
            task.delay().get()
    from celery.result import allow_join_result

    with allow_join_result():
        assert calls.delay().get() == 3


@pytest.mark.proves("DCE502")
@pytest.mark.parametrize(("name", "published"), [("ignored", 0), ("one", 1)])
def test_chord_over_ignored_results(app, tasks, name, published) -> None:
    app.conf.result_chord_join_timeout = 0.05
    chord([getattr(tasks, name).s(1), getattr(tasks, name).s(2)], tasks.add.si(1)).delay()
    header = app.taken()
    assert len(header) == 2
    for message in header:
        work_off(app, message)
    assert len(app.taken()) == published


@pytest.mark.proves("DCE503")
@pytest.mark.parametrize("backend", [None, "rpc://"])
def test_chord_without_backend(backend) -> None:
    app = Celery("shop", broker="memory://", backend=backend, set_as_current=False)

    @app.task
    def add(*args): ...

    for canvas in (chord([add.s(1), add.s(2)], add.s()), chain(group(add.s(1), add.s(2)), add.s())):
        with pytest.raises(NotImplementedError):
            canvas.delay()
    app.close()


@pytest.mark.proves("DCE504")
@pytest.mark.parametrize("option", ["link", "link_error"])
def test_group_takes_no_link(app, tasks, option) -> None:
    members = group(tasks.add.s(1, 2), tasks.add.s(3, 4))
    with pytest.raises(TypeError, match="Cannot add link to group"):
        members.apply_async(**{option: tasks.one.s()})
    assert not app.taken()
    members.link_error(tasks.one.s())
    members.apply_async()
    assert len(app.taken()) == 2


@pytest.mark.proves("DCE505")
def test_the_result_comes_first(app, tasks) -> None:
    chain(tasks.one.s(1), tasks.one.s(2)).delay()
    [first] = app.taken()
    with pytest.warns(RuntimeWarning, match="takes 1 positional argument but 2 were given"):
        work_off(app, first)
    assert not app.taken()
    chain(tasks.one.s(1), tasks.one.si(2)).delay()
    [first] = app.taken()
    work_off(app, first)
    assert len(app.taken()) == 1


@pytest.mark.proves("DCE506")
def test_options_of_a_chain(app, tasks) -> None:
    chain(tasks.one.s(1), tasks.one.s()).apply_async(queue="mail", priority=3, expires=600)
    [first] = app.taken("mail")
    assert first.properties["priority"] == 3
    assert first.headers["expires"]
    work_off(app, first)
    assert not app.taken("mail")
    [second] = app.taken()
    assert second.properties["priority"] == 0
    assert not second.headers["expires"]
    chain(tasks.one.s(1), tasks.one.s().set(queue="mail")).apply_async(queue="mail")
    work_off(app, app.taken("mail")[0])
    assert len(app.taken("mail")) == 1


@pytest.mark.proves("DCE507")
def test_errbacks(app) -> None:
    called = []

    @app.task(name="fails")
    def fails():
        raise ValueError

    @app.task(bind=True)
    def bound(self, request, exc, traceback):
        called.append("bound")

    @app.task
    def two(request, exc):
        called.append("two")

    @app.task
    def right(request, exc, traceback, pk):
        called.append(pk)

    for errback in (bound.s(), two.s(), right.s(7)):
        fails.apply_async(link_error=errback)
        [message] = app.taken()
        if errback.task == bound.name:
            with pytest.raises((TypeError, RuntimeWarning), match="missing 2 required positional arguments"):
                work_off(app, message)
        else:
            work_off(app, message)
    assert called == [7]
    assert not app.taken()


@pytest.mark.proves("DCE508")
def test_result_without_backend() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    with pytest.raises(NotImplementedError):
        app.AsyncResult("id").get(timeout=0.01)
    with pytest.raises(AttributeError, match="DisabledBackend"):
        _ = app.AsyncResult("id").state
    with pytest.raises(AttributeError, match="DisabledBackend"):
        app.AsyncResult("id").ready()
    app.close()


@pytest.mark.proves("DCE509")
def test_ignored_result(tasks) -> None:
    assert tasks.ignored.delay(1).get(timeout=0.01) is None  # no worker runs
    with pytest.raises(WaitedTooLong):
        group(tasks.ignored.s(1), tasks.ignored.s(2))().get(timeout=0.01)
    with pytest.raises(WaitedTooLong):
        tasks.one.delay(1).get(timeout=0.01)


@pytest.mark.proves("DCE511")
@pytest.mark.parametrize("expires", [None, 0, 3600])
def test_expiry_of_results(app, expires) -> None:
    from celery.backends.redis import RedisBackend

    stored = []
    pipe = SimpleNamespace(
        set=lambda *_: stored.append(None),
        setex=lambda _key, seconds, _value: stored.append(seconds),
        publish=lambda *_: None,
        execute=lambda: None,
    )

    class Pipeline:
        def __enter__(self):
            return pipe

        def __exit__(self, *_):
            return None

    app.conf.result_expires = expires
    backend = RedisBackend(app=app, url="redis://localhost:1/0")
    backend.__dict__["client"] = SimpleNamespace(pipeline=Pipeline)
    backend._set("key", b"value")
    assert stored == [expires or None]


@pytest.mark.proves("DCE512")
def test_canvas_that_no_one_calls(app, tasks) -> None:
    made = [tasks.one.s(1), chain(tasks.one.s(1), tasks.one.s()), group(tasks.one.s(1)), tasks.one.s(1) | tasks.one.s()]
    assert not app.taken()
    for canvas in made:
        canvas.delay()
    assert len(app.taken()) == 4


@pytest.mark.proves("DCE513")
def test_wait_for_a_result_that_never_comes(app) -> None:
    waited = []
    result = app.AsyncResult("no such id")
    with pytest.raises(WaitedTooLong):
        result.get(timeout=0.03, interval=0.01, on_interval=lambda *_: waited.append(1))
    assert waited
    assert result.state == "PENDING"
