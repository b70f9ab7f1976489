"""What the rules DCE2xx say about calls of tasks, on the installed Celery and Django."""

from __future__ import annotations

import dataclasses
import enum
import logging
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from celery import current_task
from celery.exceptions import InvalidTaskError, NotRegistered, Retry
from celery.worker.request import Request
from kombu.exceptions import EncodeError
from kombu.utils.json import dumps, loads


def messages(app) -> list:
    """The messages in the queue, which is empty afterwards."""
    found = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        app.amqp.queues["celery"](channel).declare()
        while (message := channel.basic_get("celery", no_ack=True)) is not None:
            found.append(message)
    return found


def message(app):
    """The only message in the queue."""
    (found,) = messages(app)
    return found


def worked_off(app) -> None:
    """Run the only message's task as a worker does."""
    Request(message(app), app=app, on_ack=lambda *_: None).execute()


def arrives(value: object) -> object:
    """What a task gets for an argument."""
    return loads(dumps([value]))[0]


@pytest.fixture
def send(app):
    """A task that notes what it gets; ``shared=False`` keeps it from the apps of other tests."""

    @app.task(name="send_receipt", shared=False)
    def send_receipt(order_pk, language="en") -> None:
        seen.append((order_pk, language))

    seen = send_receipt.seen = []
    return send_receipt


@pytest.mark.proves("DCE201")
def test_rows_do_not_travel(django, app, send) -> None:
    order = django.Order.objects.create()
    for value in (order, [order], {"order": order}, django.Order.objects.all(), django.Order.objects):
        with pytest.raises(EncodeError, match="is not JSON serializable"):
            send.delay(value)
        with pytest.raises(EncodeError, match="is not JSON serializable"):
            app.send_task("send_receipt", kwargs={"order_pk": value})
    with pytest.raises(EncodeError, match="QuerySet is not JSON serializable"):
        send.delay(django.Order.objects.values_list("pk", flat=True))
    with pytest.raises(EncodeError, match="Object of type Order is not JSON serializable"):
        send.delay(order)
    assert not app.queued()

    send.delay(order.pk)
    send.delay(list(django.Order.objects.filter(pk=order.pk).values_list("pk", flat=True)))
    assert app.queued() == [("send_receipt", [order.pk]), ("send_receipt", [[order.pk]])]
    send.apply_async((order,), serializer="pickle")
    assert message(app).content_type == "application/x-python-serialize"


class Colour(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    LARGE = 3


@dataclasses.dataclass
class Point:
    x: int = 1


@pytest.mark.proves("DCE202")
def test_what_json_cannot_carry(django, app, send) -> None:
    from django import forms
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    strange = [{1}, frozenset(), timedelta(1), Path(), Colour.RED, Point(), ValueError("x"), object(), range(2), 1j]
    strange += [
        len,
        lambda: 1,
        Point,
        (x for x in "a"),
        map(str, "a"),
        zip("a", "b", strict=True),
        {}.keys(),
        {}.values(),
    ]
    strange += [request, request.headers, request.META, forms.Form(), SimpleUploadedFile("a", b"x"), bytearray()]
    for value in strange:
        with pytest.raises(EncodeError, match="is not JSON serializable"):
            send.delay([value])
    with pytest.raises(EncodeError, match="Object of type timedelta is not JSON serializable"):
        send.delay(timedelta(1))
    assert not app.queued()


@pytest.mark.proves("DCE202")
def test_what_json_carries(django, app, send) -> None:
    from django.utils.translation import gettext_lazy

    now = datetime.now(UTC)
    for value in (now, date(2026, 1, 1), time(1), UUID(int=1), Decimal("1.10"), b"\xff", 1.5, None, [1], {"a": [True]}):
        assert arrives(value) == value
        assert type(arrives(value)) is type(value)
    assert (arrives(Size.LARGE), type(arrives(Size.LARGE))) == (3, int)
    assert (arrives(gettext_lazy("x")), arrives((1, 2))) == ("x", [1, 2])
    assert arrives([sorted({2, 1}), timedelta(hours=1).total_seconds(), Colour.RED.value]) == [[1, 2], 3600, 1]


@pytest.mark.proves("DCE203")
def test_what_changes_in_json(django, app, send) -> None:
    from django.http import QueryDict

    send.delay({1: 2})
    send.delay([[1, 2]])
    send.delay(QueryDict("a=1&a=2"))
    send.delay(dict(QueryDict("a=1&a=2").lists()))
    assert app.queued() == [
        ("send_receipt", [{"1": 2}]),
        ("send_receipt", [[[1, 2]]]),
        ("send_receipt", [{"a": "2"}]),
        ("send_receipt", [{"a": ["1", "2"]}]),
    ]


@pytest.mark.proves("DCE204")
def test_arguments_are_checked_when_publishing(app, send) -> None:
    with pytest.raises(TypeError, match=r"send_receipt\(\) missing 1 required positional argument: 'order_pk'"):
        send.delay()
    with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments but 3 were given"):
        send.apply_async((1, "en", 3))
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'lang'"):
        send.delay(1, lang="de")
    with pytest.raises(TypeError, match="multiple values"):
        send.delay(1, order_pk=2)
    with pytest.raises(TypeError, match="were given"):
        send.s(1, "en", 3).delay()
    assert not app.queued()
    send.delay(1, language="de")
    assert app.queued() == [("send_receipt", [1])]


@pytest.mark.proves("DCE204")
def test_arguments_that_fail_in_the_worker(app, send, caplog) -> None:
    from django.db import transaction

    @app.task(name="untyped", typing=False, shared=False)
    def untyped(order_pk) -> None: ...

    @app.task(name="decorated", shared=False)
    @transaction.atomic
    def decorated(order_pk) -> None: ...

    wrong = (
        lambda: untyped.delay(1, 2),
        lambda: decorated.delay(1, 2),
        lambda: app.send_task("send_receipt", (1, "en", 3)),
    )
    for publish in wrong:
        publish()
        caplog.clear()
        worked_off(app)
        assert "positional argument" in caplog.text
    assert not send.seen


@pytest.mark.proves("DCE205")
def test_delay_takes_no_options(app, send) -> None:
    for publish in (send.delay, send.delay_on_commit):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'countdown'"):
            publish(1, countdown=60)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'queue'"):
        send.s(1, queue="celery").delay()

    @app.task(name="anything", shared=False)
    def anything(*args, **kwargs) -> None: ...

    anything.delay(1, countdown=60)
    assert message(app).headers["eta"] is None
    send.apply_async((1,), countdown=60)
    assert message(app).headers["eta"]


@pytest.mark.proves("DCE206")
def test_unknown_options_have_no_effect(app, send) -> None:
    publish = (
        lambda **options: send.apply_async((1,), **options),
        lambda **options: send.s(1).set(**options).apply_async(),
        lambda **options: app.send_task("send_receipt", (1,), **options),
    )
    for call in publish:
        call(count_down=60, max_retries=9, queue_name="slow")
        found = message(app)
        assert found.headers["eta"] is None
        assert found.properties["count_down"] == 60
        assert not {"count_down", "max_retries", "queue_name"} & found.headers.keys()
        assert found.delivery_info["routing_key"] == "celery"
        call(countdown=60)
        assert message(app).headers["eta"]


@pytest.mark.proves("DCE206")
def test_unknown_options_of_retry(app) -> None:
    def retried(**options) -> datetime:
        @app.task(bind=True, name=f"retried {options}", default_retry_delay=180, shared=False)
        def task(self) -> None:
            raise self.retry(**options)

        task.push_request(id="1", called_directly=False, retries=0, delivery_info={}, args=(), kwargs={})
        try:
            with pytest.raises(Retry):
                task.run()
        finally:
            task.pop_request()
        return datetime.fromisoformat(message(app).headers["eta"]) - datetime.now(UTC)

    assert retried(count_down=9_000) < timedelta(seconds=181)
    assert retried(countdown=9_000) > timedelta(seconds=8_000)


@pytest.mark.proves("DCE207")
def test_args_that_are_no_sequence(django, app, send) -> None:
    with pytest.raises(TypeError, match=r"argument after \* must be an iterable, not int"):
        send.apply_async(args=(1))
    with pytest.raises(TypeError, match=r"argument after \* must be an iterable, not Order"):
        send.apply_async(args=django.Order())
    for value in ("a", {"order_pk": 1}, {1}, (n for n in [1])):
        with pytest.raises(TypeError, match="task args must be a list or tuple"):
            send.apply_async(args=value)
    for value in (1, "a"):
        with pytest.raises(TypeError, match="task args must be a list or tuple"):
            app.send_task("send_receipt", args=value)
    with pytest.raises(TypeError, match=r"argument after \*\* must be a mapping, not list"):
        send.apply_async(kwargs=["en"])
    with pytest.raises(TypeError, match="must be a mapping, not str"):
        send.apply_async((1,), "en")
    with pytest.raises(TypeError, match="is not iterable"):
        send.signature(1)
    assert not app.queued()

    send.apply_async(args=(1,))
    send.apply_async([1], {"language": "en"})
    send.signature({1}).apply_async()
    assert app.queued() == [("send_receipt", [1])] * 3


@pytest.mark.proves("DCE208")
def test_time_options_of_the_wrong_type(app, send) -> None:
    text = "'<' not supported between instances of 'datetime.timedelta' and 'int'"
    with pytest.raises(TypeError, match=text):
        send.apply_async((1,), countdown=timedelta(minutes=10))
    with pytest.raises(TypeError, match=text):
        send.apply_async((1,), expires=timedelta(minutes=10))
    with pytest.raises(TypeError, match=text):
        send.s(1).set(expires=timedelta(minutes=10)).apply_async()
    with pytest.raises(TypeError, match="not supported between instances of 'str'"):
        send.apply_async((1,), countdown="60")
    for eta in (60, timedelta(minutes=10)):
        with pytest.raises(AttributeError, match="isoformat"):
            send.apply_async((1,), eta=eta)
    assert not app.queued()

    far = datetime(2100, 1, 1, tzinfo=UTC)
    send.apply_async((1,), countdown=timedelta(minutes=10).total_seconds())
    send.apply_async((1,), eta=far, expires=60)
    send.apply_async((1,), countdown=60, eta=far)
    by_countdown, by_eta, both = messages(app)
    assert by_countdown.headers["eta"]
    assert datetime.fromisoformat(by_eta.headers["eta"]) == far
    assert datetime.fromisoformat(both.headers["eta"]) < far


@pytest.mark.proves("DCE209")
@pytest.mark.parametrize("option", ["eta", "expires"])
def test_naive_is_utc(app, send, option) -> None:
    app.conf.timezone = "America/New_York"

    def received(moment: datetime) -> datetime:
        send.apply_async((1,), **{option: moment})
        return getattr(Request(message(app), app=app), option)

    noon = datetime(2100, 1, 1, 12)
    assert received(noon) == noon.replace(tzinfo=UTC)
    local = noon.replace(tzinfo=timezone(timedelta(hours=-5)))
    assert received(local) == local == datetime(2100, 1, 1, 17, tzinfo=UTC)


@pytest.mark.proves("DCE212")
def test_delay_on_a_result(app) -> None:
    ran = []

    @app.task(name="count", shared=False)
    def count(pk) -> int:
        ran.append(pk)
        return 1

    with pytest.raises(AttributeError, match="'int' object has no attribute 'delay'"):
        count(7).delay()
    assert (ran, app.queued()) == ([7], [])
    count.delay(7)
    assert (ran, app.queued()) == ([7], [("count", [7])])


@pytest.mark.proves("DCE213")
def test_extra_of_a_log_record() -> None:
    from celery.utils.log import get_task_logger
    from celery_audit.rules.calls import LOG_RECORD

    for logger in (logging.getLogger("tests.calls"), get_task_logger("tests.calls")):
        logger.setLevel(logging.INFO)
        with pytest.raises(KeyError, match="Attempt to overwrite 'args' in LogRecord"):
            logger.info("sending", extra={"args": [1]})
        for name in LOG_RECORD:
            with pytest.raises(KeyError, match="Attempt to overwrite"):
                logger.info("sending", extra={name: 1})
        logger.debug("sending", extra={"args": [1]})
        logger.info("sending", extra={"task_args": [1], "task_name": "receipt"})


@pytest.mark.proves("DCE214")
def test_headers_may_be_none(app) -> None:
    seen = []

    @app.task(bind=True, name="tenant", shared=False)
    def tenant(self) -> None:
        seen.append((self.request.headers, self.request.get("x_tenant"), current_task.request.headers))

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'get'"):
        tenant.request.headers.get("x_tenant")
    tenant()
    tenant.apply()
    tenant.delay()
    worked_off(app)
    assert seen == [(None, None, None)] * 3
    tenant.apply_async(headers={"x_tenant": "a"})
    worked_off(app)
    assert seen[3] == ({"x_tenant": "a"}, "a", {"x_tenant": "a"})


@pytest.mark.proves("DCE215")
def test_reserved_headers(app, send) -> None:
    from celery.app.task import Context
    from celery_audit.rules.calls import MESSAGE_HEADERS, RESERVED_HEADERS

    seen = []

    @app.task(bind=True, name="look", shared=False)
    def look(self) -> None:
        seen.append((self.request.headers, self.request.correlation_id, self.request.get("x_correlation_id")))

    result = look.apply_async(headers={"correlation_id": "mine"})
    worked_off(app)
    look.apply_async(headers={"x_correlation_id": "mine"}, task_id="chosen")
    worked_off(app)
    assert seen == [(None, result.id, None), ({"x_correlation_id": "mine"}, "chosen", "mine")]
    for name in RESERVED_HEADERS:
        assert Context()._get_custom_headers({name: "mine", "x_other": 1}) == {"x_other": 1}

    send.delay(1)
    own = set(message(app).headers)
    assert {"task", "id", "eta", "group", "origin"} <= own & MESSAGE_HEADERS
    for name in own & MESSAGE_HEADERS:
        send.apply_async((1,), headers={name: "mine"})
        assert message(app).headers[name] == "mine"
    result = send.apply_async((1,), headers={"id": "mine"})
    assert Request(message(app), app=app).id == "mine" != result.id
    send.apply_async((1,), headers={"task": "mine"})
    with pytest.raises(NotRegistered):
        Request(message(app), app=app)
    send.apply_async((1,), headers={"eta": "mine"})
    with pytest.raises(InvalidTaskError):
        Request(message(app), app=app)
