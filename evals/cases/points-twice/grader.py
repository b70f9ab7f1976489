"""Whether one order gives its points once: delivered again, twenty at once, and after a failure between the writes."""

from __future__ import annotations

from collections.abc import Iterator

from evals.trial import Trial, Verdict, all_ended

ORDER = """
user = User.objects.create(username={name!r})
order = Order.objects.create(customer=user, status="paid")
result = [user.pk, order.pk]
"""
SEND = "app.send_task('orders.confirm_order', ({order},))"
# What reads an order takes a moment, so that of several runs at once all have read before one writes.
TOGETHER = """
import time
from django.db.models.signals import post_init
from orders.models import Order

def slow(**_): time.sleep(0.3)

post_init.connect(slow, sender=Order, weak=False)
"""
# The second of the two writes fails, whichever it is.
BREAKS = """
from django.db import connection
from orders.tasks import confirm_order

writes = []

def second_fails(execute, sql, params, many, context):
    if sql.lstrip().upper().startswith("UPDATE"):
        writes.append(sql)
        if len(writes) == 2:
            raise RuntimeError("the database went away")
    return execute(sql, params, many, context)

with connection.execute_wrapper(second_fails):
    try:
        confirm_order({order})
    except RuntimeError:
        pass
"""


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "postgres", TOGETHER)
    points = "User.objects.get(pk={}).points".format

    user, order = shop.do(ORDER.format(name="ada"))
    shop.worker("-c", "4")
    shop.do(SEND.format(order=order))
    all_ended(shop, 1)
    once, status = shop.ask(points(user)), shop.ask(f"Order.objects.get(pk={order}).status")
    yield Verdict("confirms", (once, status) == (10, "confirmed"), f"{once} points, {status!r}")

    shop.do(SEND.format(order=order))
    all_ended(shop, 2)
    again = shop.ask(points(user))
    yield Verdict("delivered-again", again == 10, f"{again} points after two deliveries")

    other, second = shop.do(ORDER.format(name="grace"))
    shop.do(f"for _ in range(20): {SEND.format(order=second)}")
    all_ended(shop, 22)
    at_once = shop.ask(points(other))
    yield Verdict("delivered-at-once", at_once == 10, f"{at_once} points after twenty deliveries at once")

    third, broken = shop.do(ORDER.format(name="joan"))
    shop.do(BREAKS.format(order=broken))
    left = shop.ask(points(third)), shop.ask(f"Order.objects.get(pk={broken}).status")
    shop.do(f"from orders.tasks import confirm_order; confirm_order({broken})")
    after = shop.ask(points(third))
    evidence = f"{left[0]} points and {left[1]!r} after the failure, {after} points after the next delivery"
    yield Verdict("rolled-back", left == (0, "paid") and after == 10, evidence)
