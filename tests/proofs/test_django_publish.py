"""django-integration: when a message leaves, seen from inside transactions."""

from __future__ import annotations

import pytest
from servers import PostgreSQL, Redis, free_port
from shop import SENT, MakeShop
from waiting import until


@pytest.mark.proves("django-integration#publish-after-commit")
def test_race_and_rollback(shop: MakeShop, redis: Redis, postgres: PostgreSQL) -> None:
    """`.delay()` inside `atomic` reaches a worker that sees no row, and its receipt is lost though the order is saved;
    after a rollback it names an order that never was. The page's `place_order` sends after the commit, the receipt
    goes out, and a rollback sends nothing."""
    shop = shop("django-integration", redis, postgres)
    shop.tasks("from orders import tasks as page\npage.send_mail = lambda *args: note('receipt', text=args[1])")
    worker = shop.worker("-c", "1")
    early, undone = shop.do(
        """
        from django.db import transaction
        from orders.services import place_order
        from orders.tasks import send_receipt

        user = User.objects.create(username="customer", email="customer@shop")

        def publish_in_the_transaction(rollback):
            with transaction.atomic():
                order = Order.objects.create(customer=user)
                send_receipt.delay(order.pk).get(timeout=30)  # until the worker has looked for the row
                transaction.set_rollback(rollback)
            return order.pk

        result = publish_in_the_transaction(False), publish_in_the_transaction(True)
        """
    )
    assert shop.ask("list(Order.objects.values_list('pk', flat=True))") == [early]
    assert f"Order {early} is gone" in worker.output and f"Order {undone} is gone" in worker.output
    assert shop.counts()["receipt"] == 0

    placed = shop.do(
        """
        with transaction.atomic():
            place_order(user.pk)
            transaction.set_rollback(True)
        result = place_order(user.pk).pk
        """
    )
    until(lambda: shop.counts()["receipt"], what="the receipt went out")
    assert [line["text"] for line in shop.ledger("receipt")] == [f"Order {placed}"]
    assert worker.output.count("is gone") == 2 and not redis.client().llen("celery")


# Order `n` of one customer, and what has been sent so far.
ORDERS = """
from django.db import transaction
from orders.services import place_order
from orders.tasks import send_receipt
from proofs.tasks import sent

user = User.objects.create(username="customer", email="customer@shop")
"""


@pytest.mark.proves("django-integration#publish-after-commit")
def test_nested_transactions(shop: MakeShop) -> None:
    """`place_order` inside further `atomic` blocks sends when the outermost commits; a savepoint that is rolled back
    discards its message and only that one; outside a transaction delay_on_commit sends at once. `.delay()` has sent
    all three before anything was committed."""
    shop = shop("django-integration")
    shop.tasks(SENT)
    shop.do(ORDERS)
    nested = """
        def nested(place):
            counts = []
            with transaction.atomic():
                with transaction.atomic():
                    first = place()
                counts.append(len(sent))
                with transaction.atomic():
                    place()
                    transaction.set_rollback(True)
                counts.append(len(sent))
                last = place()
                counts.append(len(sent))
            saved = sorted(Order.objects.values_list("pk", flat=True))
            result = [counts, sent == [[first], [last]], saved == [first, last]]
            sent.clear()
            Order.objects.all().delete()
            return result
    """
    shop.do(nested)
    assert shop.do("result = nested(lambda: place_order(user.pk).pk)") == [[0, 0, 0], True, True]
    wrong = """
        def place_and_send():
            order = Order.objects.create(customer=user)
            send_receipt.delay(order.pk)
            return order.pk

        result = nested(place_and_send)
    """
    assert shop.do(wrong) == [[1, 2, 3], False, True]
    assert shop.do("send_receipt.delay_on_commit(1); result = sent") == [[1]]


@pytest.mark.proves("django-integration#publish-after-commit")
def test_atomic_requests(shop: MakeShop) -> None:
    """Under ATOMIC_REQUESTS `place_order` in a view sends after the view has returned, and nothing when the view
    raises; `.delay()` in the view sends at once, and for an order that the failed request took back."""
    shop = shop("django-integration")
    shop.tasks(
        SENT,
        """
        from django.conf import settings
        from django.http import HttpResponse
        from django.urls import path

        def view(request, how, fails):
            from orders.models import Order
            from orders.services import place_order
            from orders.tasks import send_receipt

            customer = request.GET["customer"]
            if how == "page":
                place_order(customer)
            else:
                send_receipt.delay(Order.objects.create(customer_id=customer).pk)
            inside.append(len(sent))
            if fails:
                raise ValueError
            return HttpResponse()

        inside = []  # messages sent before the view returned
        settings.ROOT_URLCONF = __name__
        urlpatterns = [path("<how>/<int:fails>", view)]
        """,
    )
    shop.do(ORDERS)
    shop.do(
        """
        from django.db import connections
        from django.test import Client
        from proofs.tasks import inside

        connections.settings["default"]["ATOMIC_REQUESTS"] = True
        client = Client(raise_request_exception=False)

        def request(how, fails):
            status = client.get(f"/{how}/{fails}", {"customer": user.pk}).status_code
            answer = [status, inside.pop(), len(sent), Order.objects.count()]
            sent.clear()
            Order.objects.all().delete()
            return answer
        """
    )
    assert shop.ask("[request('page', 0), request('page', 1)]") == [[200, 0, 1, 1], [500, 0, 0, 0]]
    assert shop.ask("[request('delay', 0), request('delay', 1)]") == [[200, 1, 1, 1], [500, 1, 1, 0]]


@pytest.mark.proves("django-integration#publish-after-commit")
def test_what_it_lacks(shop: MakeShop) -> None:
    """delay_on_commit returns None: an id is chosen beforehand. Signatures, tasks with a `celery.Task` base and apps
    made before DJANGO_SETTINGS_MODULE is set have no such method; `DjangoTask` as the base has it, and on_commit takes
    a chain's `delay`. In a loop of three a lambda sends the last key three times, `partial` each key once."""
    shop = shop("django-integration")
    shop.tasks(
        SENT,
        """
        import celery
        from celery.contrib.django.task import DjangoTask

        class Bare(celery.Task): pass
        class Right(DjangoTask): pass

        @shared_task(base=Bare)
        def bare(): pass

        @shared_task(base=Right)
        def right(): pass
        """,
    )
    shop.do(ORDERS)
    assert shop.do(
        """
        import os
        from functools import partial
        from unittest.mock import patch
        from celery import Celery, chain
        from proofs.tasks import bare, right

        with patch.dict(os.environ):
            del os.environ["DJANGO_SETTINGS_MODULE"]
            late = Celery("late", set_as_current=False)
        every = (send_receipt, right, bare, send_receipt.s(1), late.Task())
        result = [hasattr(each, "delay_on_commit") for each in every]
        """
    ) == [True, True, False, False, False]
    assert shop.do(
        """
        with transaction.atomic():
            returned = send_receipt.delay_on_commit(1), send_receipt.apply_async_on_commit((2,), task_id="chosen")
            transaction.on_commit(chain(send_receipt.si(3), send_receipt.si(4)).delay)
        result = [returned, list(sent)]
        """
    ) == [[None, None], [[1], [2], [3]]]
    loop = """
        sent.clear()
        with transaction.atomic():
            for pk in range(3):
                transaction.on_commit({})
        result = [args[0] for args in sent]
    """
    assert shop.do(loop.format("lambda: send_receipt.delay(pk)")) == [2, 2, 2]
    assert shop.do(loop.format("partial(send_receipt.delay, pk)")) == [0, 1, 2]


@pytest.mark.proves("django-integration#publish-after-commit")
def test_broker_down_after_commit(shop: MakeShop) -> None:
    """While the broker is down `place_order` raises OperationalError, its order is saved and the callbacks after it are
    skipped. With robust=True they run and the error is only logged; robust with a `partial` raises AttributeError
    before Django 6.1."""
    shop = shop("django-integration", CELERY_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    shop.tasks(SENT)
    shop.do(ORDERS)
    assert shop.do(
        """
        from functools import partial
        from kombu.exceptions import OperationalError

        later = []

        def committed(callback=None, **options):
            Order.objects.all().delete()
            later.clear()
            error = None
            try:
                with transaction.atomic():
                    if callback:
                        Order.objects.create(customer=user)
                        transaction.on_commit(callback, **options)
                    else:
                        place_order(user.pk)
                    transaction.on_commit(partial(later.append, 1))
            except Exception as caught:
                error = type(caught).__name__
            return [error, Order.objects.count(), len(later)]

        def send():
            send_receipt.delay(1)

        result = [committed(), committed(send, robust=True), committed(partial(send_receipt.delay, 1), robust=True)]
        """
    ) == [["OperationalError", 1, 0], [None, 1, 1], ["AttributeError", 1, 0]]
