"""configuration-guide: late acknowledgement, and when a task runs twice because of it."""

from __future__ import annotations

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop
from waiting import stays, until

PAGE = "configuration-guide"
CANCEL = "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS"


@pytest.mark.proves("configuration-guide#acknowledgement")
def test_second_delivery(shop: MakeShop) -> None:
    """The page's task delivered again after the order has moved on leaves it alone; without the condition on the row
    the second delivery takes the order back."""
    shop = shop(PAGE)
    shop.tasks(
        """
        from orders.models import Order

        @shared_task(name="proofs.unconditional")
        def unconditional(order_pk):
            Order.objects.filter(pk=order_pk).update(status=Order.Status.CONFIRMED)
        """
    )
    states = shop.do(
        """
        from orders.tasks import confirm_reserved
        from proofs.tasks import unconditional

        result = []
        for task in (confirm_reserved, unconditional):
            order = Order.objects.create(customer=User.objects.create(username=task.name), status="reserved")
            for _ in range(2):
                task.apply([order.pk], throw=True)
                order.refresh_from_db()
                result.append(order.status)
                Order.objects.filter(pk=order.pk).update(status="shipped")
                order.refresh_from_db()
            result.append(order.status if task is confirm_reserved else "")
        """
    )
    assert states == ["confirmed", "shipped", "shipped", "confirmed", "confirmed", ""]


@pytest.mark.proves("configuration-guide#acknowledgement")
@pytest.mark.proves("configuration-guide#complete-settings")
def test_connection_lost(shop: MakeShop, broker: Redis | RabbitMQ, evidence: dict) -> None:
    """The broker drops its connections while an acks_late task runs: it is delivered again and by default both runs go
    to their end; with the page's setting the first is cancelled, so 2 starts and 1 end. An early acknowledged task runs
    once in both."""
    tasks = """
        import time
        from pathlib import Path

        def run(name):
            note("start " + name)
            while not Path("gate").exists():
                time.sleep(0.05)
            note("end " + name)

        shared_task(name="late", acks_late=True)(run)
        shared_task(name="early")(run)
    """
    is_redis = isinstance(broker, Redis)
    base = "settings" if is_redis else "settings_rabbitmq"
    shops = {"default": shop(PAGE, broker, base=base, **{CANCEL: False}), "page": shop(PAGE, broker, base=base)}
    for database, each in enumerate(shops.values(), 2):
        if is_redis:
            each.environment["SHOP_BROKER"] = broker.url(database)
        each.tasks(tasks)
        each.worker("-c", "4", wait=False)
        each.do("for name in ('late', 'early'): app.send_task(name, [name])")
    for each in shops.values():
        until(lambda each=each: each.counts() == {"start late": 1, "start early": 1}, what="both run")
    if is_redis:
        broker.client().client_kill_filter(_type="normal", skipme=True)
    else:
        broker.control("close_all_connections", "--global", "a proof")
    for each in shops.values():
        until(lambda each=each: each.counts()["start late"] == 2, what="it is delivered again")
        (each.folder / "gate").touch()
    expected = {"start late": 2, "end late": 2, "start early": 1, "end early": 1}
    until(lambda: shops["default"].counts() == expected, what="both went through")
    until(lambda: shops["page"].counts()["end late"], what="the second went through")
    page = shops["page"].counts
    stays(lambda: page()["start late"] == 2 and page()["end late"] == 1, 1, "2 starts, 1 end")
    evidence["figures"] |= {"early task, page's setting: ends": page()["end early"]}
    assert page()["start early"] == 1
