"""Whether every order gets its invoice while old and new code are deployed beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from evals.trial import HEARD, PATIENCE, Trial, Verdict, as_it_is
from shop import Shop
from waiting import Late, until

ORDERS = """
user = User.objects.create(username="ada")
result = [Order.objects.create(customer=user, total=30, status="new").pk for _ in range(4)]
"""
# Tonight everything is still in euros: what goes out may rely on it.
PAID = "from orders.checkout import order_paid; order_paid(Order.objects.get(pk={}), 'EUR')"
SEND = "result = app.send_task('orders.send_invoice', ({},), {}).id"


def invoices(shop: Shop, order: int) -> list[str]:
    """The currencies of the order's invoices."""
    texts = [path.read_text() for path in (shop.folder / "media").rglob("*") if path.is_file()]
    found = (match for text in texts for match in re.finditer(r"Order (\d+): \S+ (\w+)", text))
    return [match[2] for match in found if int(match[1]) == order]


def through(shop: Shop, order: int, **arguments: str) -> None:
    """Send the task for an order, and wait until the run has ended."""
    task = shop.do(SEND.format(order, arguments))
    until(lambda: any(line["id"] == task for line in shop.ledger("ended")), PATIENCE, "the task has ended")


def grade(trial: Trial) -> Iterator[Verdict]:
    new = trial.shop("redis")
    with closing(as_it_is(Path(__file__).parent, new, MEDIA_ROOT=str(new.folder / "media"))) as old:
        old.environment["SHOP_LEDGER"] = new.environment["SHOP_LEDGER"]
        old.tasks(HEARD)
        worker = old.worker("-c", "1", wait=False)
        while_rolling, marker, waiting, later = new.do(ORDERS)
        until(lambda: "ready." in worker.output, PATIENCE, "the old worker is up")
        new.do(PAID.format(while_rolling))
        through(new, marker)  # by now the old worker has had what was before it
        worker.stop()
    new.do(SEND.format(waiting, {}))
    new.worker("-c", "1", wait=False)
    through(new, later, currency="USD")
    seen = invoices(new, later)
    yield Verdict("takes-currency", seen == ["USD"], f"invoices with currency USD: {seen}")
    seen = invoices(new, waiting)
    yield Verdict("waiting-messages", seen == ["EUR"], f"invoices of a message from before the deploy: {seen}")
    with suppress(Late):  # where it waited for the new worker, in a queue of its own
        until(lambda: invoices(new, while_rolling), 3)
    seen = invoices(new, while_rolling)
    errors = re.findall(r"TypeError: .*|unregistered task of type \S+", worker.output)
    yield Verdict("old-workers", len(seen) == 1, f"invoices: {seen}; the old worker: {errors[-1:] or 'no error'}")
