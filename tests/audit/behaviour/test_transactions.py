"""What the rules DCE1xx say about publishing and transactions, on the installed Celery and Django."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import pytest


class Undo(Exception):
    """Rolls a transaction back."""


@pytest.fixture
def send(app):
    """A task whose calls are only counted in the queue."""

    @app.task(name="send")
    def send(pk):
        return pk

    return send


@pytest.mark.proves("DCE101")
def test_message_is_there_before_the_commit_and_after_a_rollback(django, app, send) -> None:
    from django.db import transaction

    def undone(publish) -> None:
        with suppress(Undo), transaction.atomic():
            publish(django.Order.objects.create().pk)
            raise Undo

    with transaction.atomic():
        order = django.Order.objects.create()
        send.delay(order.pk)
        assert app.queued() == [("send", [order.pk])]
        assert not django.Order.objects.using("worker").filter(pk=order.pk).exists()
    assert django.Order.objects.using("worker").filter(pk=order.pk).exists()

    undone(send.delay)
    assert len(app.queued()) == 1

    with transaction.atomic():
        send.delay_on_commit(django.Order.objects.create().pk)
        assert not app.queued()
    assert len(app.queued()) == 1
    undone(send.delay_on_commit)
    assert not app.queued()


@pytest.mark.proves("DCE102")
@pytest.mark.parametrize("method", ["delay", "delay_on_commit"])
def test_save_is_called_inside_a_transaction(django, app, send, method, monkeypatch) -> None:
    seen = []

    def save(self, *args, **kwargs):
        super(django.Order, self).save(*args, **kwargs)
        getattr(send, method)(self.pk)
        seen.append((django.connections["default"].in_atomic_block, len(app.queued())))

    monkeypatch.setattr(django.Order, "save", save)
    order, _ = django.Order.objects.update_or_create(name=f"by {method}", defaults={})
    assert seen == [(True, 1 if method == "delay" else 0)]
    assert len(app.queued()) == (0 if method == "delay" else 1)
    order.save()
    assert seen[1] == (False, 1)  # outside a transaction both send at once


def _received(django, change) -> list[tuple[str, bool, bool]]:
    """Django's model signals during a change: name, whether inside a transaction, whether the row is there."""
    from django.db.models import signals

    seen = []
    names = ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")

    def receive(signal, instance, **_) -> None:
        name = next(name for name in names if getattr(signals, name) is signal)
        there = django.Order.objects.filter(pk=instance.pk).exists()
        seen.append((name, django.connections["default"].in_atomic_block, there))

    for name in names:
        getattr(signals, name).connect(receive)
    try:
        change()
    finally:
        for name in names:
            getattr(signals, name).disconnect(receive)
    return seen


@pytest.mark.proves("DCE103")
def test_where_post_save_and_the_delete_signals_are_sent(django) -> None:
    order = django.Order(name="signals")
    assert ("post_save", False, True) in _received(django, order.save)
    again = partial(django.Order.objects.update_or_create, name="signals", defaults={"name": "signals"})
    assert ("post_save", True, True) in _received(django, again)
    assert _received(django, order.delete) == [("pre_delete", True, True), ("post_delete", True, False)]


@pytest.mark.proves("DCE104")
def test_where_pre_save_and_m2m_changed_are_sent(django) -> None:
    order = django.Order()
    assert ("pre_save", False, False) in _received(django, order.save)
    tag = django.Tag.objects.create()
    assert {inside for _, inside, _ in _received(django, lambda: order.tags.add(tag))} == {True}


@pytest.mark.proves("DCE105")
@pytest.mark.parametrize("method", ["delay", "delay_on_commit"])
def test_admin_saves_inside_a_transaction(django, app, send, method) -> None:
    from django.contrib import admin
    from django.http import HttpResponse
    from django.test import RequestFactory

    seen = []

    class OrderAdmin(admin.ModelAdmin):
        fields = ("name",)

        def has_add_permission(self, request) -> bool:
            return True

        def save_model(self, request, obj, form, change) -> None:
            super().save_model(request, obj, form, change)
            getattr(send, method)(obj.pk)
            seen.append((django.connections["default"].in_atomic_block, len(app.queued())))

        def log_addition(self, *args) -> None:
            pass

        def response_add(self, request, obj, post_url_continue=None):
            seen.append(django.connections["default"].in_atomic_block)
            return HttpResponse()

    request = RequestFactory().post("/", {"name": "from the admin"})
    request._dont_enforce_csrf_checks = True
    OrderAdmin(django.Order, admin.AdminSite()).add_view(request)
    assert seen == [(True, 1 if method == "delay" else 0), True]
    assert len(app.queued()) == (0 if method == "delay" else 1)


@pytest.mark.proves("DCE106")
def test_view_under_atomic_requests(django, app, send, monkeypatch) -> None:
    from django.core.handlers.base import BaseHandler
    from django.db import transaction

    monkeypatch.setitem(django.connections.settings["default"], "ATOMIC_REQUESTS", True)

    def buy(request) -> tuple[int, bool]:
        order = django.Order.objects.create()
        send.delay(order.pk)
        return len(app.queued()), django.Order.objects.using("worker").filter(pk=order.pk).exists()

    handler = BaseHandler()
    assert handler.make_view_atomic(buy)(None) == (1, False)
    assert handler.make_view_atomic(transaction.non_atomic_requests(buy))(None) == (1, True)


@pytest.mark.proves("DCE107")
def test_wrong_callbacks(django, app) -> None:
    from celery import chain
    from django.db import transaction

    ran = []

    @app.task(name="note")
    def note(pk) -> None:
        ran.append(pk)

    with pytest.raises(TypeError, match="callable"), transaction.atomic():
        transaction.on_commit(note.delay(1))
    assert app.queued() == [("note", [1])]
    with pytest.raises(TypeError, match="callable"):
        transaction.on_commit(note.delay_on_commit(1))
    app.queued()

    transaction.on_commit(note.si(2))
    transaction.on_commit(partial(note, 3))
    assert (ran, app.queued()) == ([2, 3], [])
    transaction.on_commit(lambda: note.delay)
    assert (ran, app.queued()) == ([2, 3], [])

    transaction.on_commit(partial(note.delay, 4))
    transaction.on_commit(chain(note.si(5), note.si(6)))  # a workflow publishes itself when it is called
    assert (ran, app.queued()) == ([2, 3], [("note", [4]), ("note", [5])])


@pytest.mark.proves("DCE108")
def test_late_binding(django, app, send) -> None:
    from django.db import transaction

    with transaction.atomic():
        for number in range(3):
            transaction.on_commit(lambda: send.delay(number))  # noqa: B023  the mistake
    assert app.queued() == [("send", [2])] * 3
    with transaction.atomic():
        for number in range(3):
            transaction.on_commit(partial(send.delay, number))
    assert app.queued() == [("send", [0]), ("send", [1]), ("send", [2])]


@pytest.mark.proves("DCE109")
def test_commit_of_another_database(django, app, send) -> None:
    from django.db import transaction

    with transaction.atomic(using="other"):
        send.delay_on_commit(1)
        transaction.on_commit(partial(send.delay, 2))
        assert len(app.queued()) == 2
        transaction.on_commit(partial(send.delay, 3), using="other")
        assert not app.queued()
    assert app.queued() == [("send", [3])]


@pytest.mark.proves("DCE110")
def test_on_commit_in_async(django, app, send) -> None:
    from asgiref.sync import sync_to_async
    from django.core.exceptions import SynchronousOnlyOperation
    from django.db import connection, transaction

    async def wrong(publish) -> None:
        publish()

    for publish in (partial(send.delay_on_commit, 1), partial(transaction.on_commit, partial(send.delay, 1))):
        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(wrong(publish))
    assert not app.queued()

    def in_thread() -> None:
        send.delay_on_commit(1)
        connection.close()

    async def right() -> None:
        await sync_to_async(in_thread)()

    asyncio.run(right())
    assert len(app.queued()) == 1


@pytest.mark.proves("DCE111")
def test_on_commit_returns_none(django, app, send) -> None:
    assert send.delay_on_commit(1) is None
    assert send.apply_async_on_commit((2,), task_id="chosen") is None
    assert len(app.queued()) == 2


@pytest.mark.proves("DCE112")
def test_robust_with_a_partial(django) -> None:
    import django as package
    from django.db import transaction

    def fail() -> None:
        raise Undo

    def publish(callback) -> list[str]:
        ran = []
        with transaction.atomic():
            transaction.on_commit(callback, robust=True)
            transaction.on_commit(lambda: ran.append("next"))
        return ran

    assert publish(lambda: fail()) == ["next"]
    if package.VERSION < (6, 1):
        with pytest.raises(AttributeError, match="__qualname__"):
            publish(partial(fail))
    else:
        assert publish(partial(fail)) == ["next"]


@pytest.mark.proves("DCE113")
def test_who_has_delay_on_commit(django, app, send) -> None:
    from celery import Task, chain
    from celery.contrib.django.task import DjangoTask

    class Plain(Task):
        abstract = True

    class Right(DjangoTask):
        abstract = True

    def run() -> None:
        """Any task."""

    for without in (app.task(base=Plain, name="plain")(run), send.si(1), chain(send.si(1), send.si(2))):
        with pytest.raises(AttributeError, match="delay_on_commit"):
            without.delay_on_commit  # noqa: B018
    assert app.task(base=Right, name="right")(run).delay_on_commit


@pytest.mark.proves("DCE114")
def test_missing_row_is_passed_over(django, app) -> None:
    """The task runs when the message is there: inside the block it finds nothing and says so to nobody."""
    from django.db import transaction

    done = []

    def task(pk) -> None:
        try:
            order = django.Order.objects.using("worker").get(pk=pk)
        except django.Order.DoesNotExist:
            return
        done.append(order.pk)

    with transaction.atomic():
        order = django.Order.objects.create()
        task(order.pk)
    assert not done
    with transaction.atomic():
        order = django.Order.objects.create()
        transaction.on_commit(partial(task, order.pk))
    assert done == [order.pk]


@pytest.mark.proves("DCE115")
def test_atomic_requests_at_top_level(django, monkeypatch) -> None:
    from django.core.handlers.base import BaseHandler
    from django.test import override_settings

    def view(request) -> bool:
        return django.connections["default"].in_atomic_block

    with override_settings(ATOMIC_REQUESTS=True):
        assert not BaseHandler().make_view_atomic(view)(None)
    monkeypatch.setitem(django.connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert BaseHandler().make_view_atomic(view)(None)
