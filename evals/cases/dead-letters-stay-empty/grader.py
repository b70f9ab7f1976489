"""Whether an order that is refused or given up ends in RabbitMQ's queue dead, and stays until it is moved back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from amqp import Message
from amqp.exceptions import NotFound
from evals.crashes import AT_ONCE, PATIENCE, came, unended
from evals.outside import service
from evals.trial import Trial, Verdict, as_it_is
from kombu import Connection
from shop import Shop
from waiting import stays

ORDERS = """
user = User.objects.create(username="ada")
result = [Order.objects.create(customer=user, total=30).pk for _ in range(5)]
"""
SEND = "for pk in {}: app.send_task('orders.push_order', (pk,))"


class Erp:
    """What it answers to an order, call by call; the last answer stays."""

    def __init__(self) -> None:
        self.answers: dict[int, list[str]] = {}
        self.calls: Counter[int] = Counter()

    def __call__(self, path: str, _body: bytes) -> str:
        order = int(path.rpartition("/")[2])
        answers = self.answers.get(order, ["ok"])
        self.calls[order] += 1
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Dead:
    """The queue dead, as RabbitMQ has it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def depth(self) -> int | None:
        """How many messages wait in it; None where there is no such queue."""
        with Connection(self.address) as connection:
            try:
                return connection.default_channel.queue_declare("dead", passive=True).message_count
            except NotFound:
                return None

    def orders(self, move: int = 0) -> list[int]:
        """The orders of its messages; those of one are moved back to orders, as they are."""
        if self.depth() is None:
            return []
        found = []
        with Connection(self.address) as connection:
            channel = connection.default_channel
            while message := channel.basic_get("dead"):
                found.append(_order(message))
                if found[-1] == move:
                    channel.basic_publish(Message(message.body, **message.properties), routing_key="orders")
                    channel.basic_ack(message.delivery_tag)
        return found  # what was not acknowledged is back in the queue


def _order(message: Message) -> int:
    arguments, keywords, _ = json.loads(message.body)
    return [*arguments, *keywords.values()][0]


def in_production(new: Shop) -> list[int]:
    """What the user's code of today has left in the broker: its queue, and the first of some orders, waiting in it."""
    with closing(as_it_is(Path(__file__).parent, new)) as today:
        today.manage("declare_queues")
        orders = today.do(ORDERS)
        today.do(SEND.format(orders[:1]))
    return orders


def grade(trial: Trial) -> Iterator[Verdict]:
    erp = Erp()
    with service(erp) as address:
        shop = trial.shop("rabbitmq", "", AT_ONCE)
        shop.environment["ERP"] = address
        yield from verdicts(shop, erp)


def verdicts(shop: Shop, erp: Erp) -> Iterator[Verdict]:
    waiting, taken, third, refused, away = in_production(shop)
    dead = Dead(shop.environment["SHOP_BROKER"])
    erp.answers = {third: ["away", "away", "ok"], refused: ["refused"], away: ["away"]}
    shop.manage("declare_queues")
    shop.worker("-c", "1", wait=False)
    old = came(lambda: erp.calls[waiting], PATIENCE)
    yield Verdict("existing-queue", old, f"{erp.calls[waiting]} calls for the order that waited in the queue")

    shop.do(SEND.format([taken, third, refused, away]))
    came(lambda: all(erp.calls[pk] for pk in (taken, third, refused, away)) and not unended(shop), PATIENCE)
    came(lambda: (dead.depth() or 0) >= 2, 5)
    calls, found = Counter(erp.calls), Counter(dead.orders())
    ok = (calls[taken], calls[third], found[taken], found[third]) == (1, 3, 0, 0)
    counts = f"{calls[taken]} and {calls[third]} calls, {found[taken] + found[third]} messages in dead"
    yield Verdict("takes", ok, counts)
    for criterion, order, tries in (("refused", refused, 1), ("away", away, 4)):
        ok = (calls[order], found[order]) == (tries, 1)
        yield Verdict(criterion, ok, f"{calls[order]} calls, {found[order]} messages in dead")

    def unmoved() -> bool:
        return dead.depth() == 2 and erp.calls == calls

    came(unmoved, 3)  # RabbitMQ takes a moment to put back what the grader has looked at
    try:
        stays(unmoved, 1.5)
        left = True
    except AssertionError:
        left = False
    more = sum((erp.calls - calls).values())
    yield Verdict("left-alone", left, f"{dead.depth()} messages wait in dead, {more} more calls")

    erp.answers[refused] = ["ok"]
    before = erp.calls[refused]
    moved = dead.orders(move=refused).count(refused)
    again = moved == 1 and came(lambda: erp.calls[refused] == before + 1 and not unended(shop), 20)
    yield Verdict("moved-back", again, f"{moved} messages moved, {erp.calls[refused] - before} calls after that")
