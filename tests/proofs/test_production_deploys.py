"""production-deployment: old and new code beside each other, rolling restarts, rollback, and Kubernetes' hooks."""

from __future__ import annotations

from collections import Counter
from signal import SIGTERM

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop, Raised
from waiting import until

# One module is both releases: RELEASE says which of them a process runs.
RELEASES = """
import os

RELEASE = os.environ.get("RELEASE", "new")

if RELEASE == "old":
    @shared_task(name="invoice")
    def invoice(order): note("old", order=order)
else:
    @shared_task(name="invoice")
    def invoice(order, currency="EUR"): note("new", order=order, currency=currency)

    @shared_task(name="renamed")
    def renamed(order): note("renamed", order=order)

@shared_task(name="after")
def after(previous, number): note("after", number=number, previous=previous)
"""


@pytest.mark.proves("production-deployment#deploy-order")
@pytest.mark.proves("production-deployment#rollback")
def test_old_and_new_code(shop: MakeShop, broker: Redis | RabbitMQ) -> None:
    """Messages of the new release with an old worker, because producers went first or workers were rolled back first:
    the unknown argument is a TypeError, the unknown name is discarded as NotRegistered, and both messages are gone.
    Messages of the old release with a new worker all run: the argument has its default, and the page's alias of the
    renamed task goes on with the rest of its chain."""
    shop = shop("production-deployment", broker)
    shop.tasks(RELEASES)
    send = """
        from celery import chain, signature
        after = signature("after", args=[{0}])
        for each in {1}:
            (signature(*each) | after if each[0] == "orders.dispatch" else signature(*each)).apply_async()
        result = app.send_task("after", [None, {0} + 1]).id
    """
    order = shop.do(
        """
        user = User.objects.create(username="buyer")
        result = Order.objects.create(customer=user, status="paid").pk
        """
    )
    old = shop.worker("-c", "1", RELEASE="old")
    shop.do(send.format(1, f"[('invoice', [{order}, 'USD']), ('renamed', [{order}])]"))
    until(lambda: shop.counts()["after"] == 1, what="the old worker is through")
    assert "TypeError" in old.output and "Received unregistered task of type 'renamed'" in old.output
    old.stop()
    new = shop.worker("-c", "1")
    shop.do(send.format(3, f"[('invoice', [{order}]), ('orders.dispatch', [{order}])]"))
    until(lambda: shop.counts()["after"] == 3, what="the new worker is through, and so is the chain")
    new.stop()
    assert shop.counts() == {"new": 1, "after": 3}, "what the old worker could not run is gone"
    assert shop.ledger("new")[0]["currency"] == "EUR"
    assert {line["number"]: line["previous"] for line in shop.ledger("after")} == {2: None, 3: 1, 4: None}
    assert shop.ask(f"Order.objects.get(pk={order}).status") == "shipped"


@pytest.mark.proves("production-deployment#kubernetes")
@pytest.mark.proves("production-deployment#deploy-order")
def test_rolling_restart_under_load(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """A worker is replaced while messages keep coming, as with maxSurge 1 and maxUnavailable 0: the new one is up, then
    the old one gets TERM, with a grace that its longest task fits in. All 200 tasks run; one that the old worker took
    on in the moment of TERM may run again. KILL, which a shorter grace ends in, loses the task that ran. `control
    shutdown`, as a preStop hook would call it, stops the workers of other pods too."""
    shop = shop("production-deployment", redis)
    shop.tasks(
        """
        import os, time

        @shared_task(name="load")
        def load(run, number):
            note("started", run=run, number=number)
            while number == LONG and not os.path.exists("open"):
                time.sleep(0.05)
            note("ended", run=run, number=number)

        LONG = 7
        """
    )

    def numbers(event: str, run: str) -> list[int]:
        return sorted(line["number"] for line in shop.ledger(event) if line["run"] == run)

    def sends(run: str, first: int, last: int) -> None:
        shop.do(f"for number in range({first}, {last}): app.send_task('load', [{run!r}, number], queue={run!r})")

    old, killed, new, bystander = (
        shop.worker("-c", "2", "-Q", queue, wait=False) for queue in ("rolled", "killed", "rolled-new", "other")
    )
    for worker in (old, killed, new, bystander):
        until(lambda worker=worker: "ready." in worker.output, 60, "the workers are up")
    for run in ("rolled", "killed"):
        sends(run, 0, 100)
        until(lambda run=run: 7 in numbers("started", run), what="the long task runs")
    shop.ask(f"app.control.add_consumer('rolled', destination=[{new.node!r}], reply=True)")  # the new one is ready
    old.signal(SIGTERM)
    killed.kill()
    sends("rolled", 100, 200)
    until(lambda: redis.client().llen("rolled") == 0, what="the new one has taken what nobody held")
    assert old.process.poll() is None, "the old worker waits for its task, and keeps what it prefetched until it exits"
    (shop.folder / "open").touch()
    assert old.process.wait(30) == 0
    until(lambda: {*numbers("ended", "rolled")} == {*range(200)}, what="all have run")
    until(lambda: not redis.client().exists("rolled"), what="nothing waits")
    until(lambda: numbers("ended", "rolled") == numbers("started", "rolled"), what="nothing runs")
    twice = [number for number, runs in Counter(numbers("ended", "rolled")).items() if runs > 1]
    assert len(twice) <= 8, "no more than the old worker had prefetched"
    evidence["figures"]["tasks that ran again"] = len(twice)
    client = redis.client()
    left = [*client.lrange("killed", 0, -1), *client.hvals("unacked")]
    assert 7 not in numbers("ended", "killed") and not any(b"'killed', 7]" in message for message in left)
    shop.celery("control", "shutdown")
    for worker in (new, bystander):
        assert worker.process.wait(30) == 0


@pytest.mark.proves("production-deployment#rollback")
def test_queue_type_in_place(shop: MakeShop, rabbitmq: RabbitMQ) -> None:
    """A queue that exists as classic cannot become a quorum queue under its name: RabbitMQ answers 406 to the new
    release. Under a new name both exist, and a rollback finds the old one as it was."""
    shop = shop("production-deployment", rabbitmq)
    declare = """
        from kombu import Queue
        arguments = {{"x-queue-type": {!r}}}
        with app.connection_for_write() as connection:
            Queue({!r}, queue_arguments=arguments).bind(connection.channel()).declare()
    """
    shop.do(declare.format("classic", "mail"))
    with pytest.raises(Raised, match="PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"):
        shop.do(declare.format("quorum", "mail"))
    shop.do(declare.format("quorum", "mail_v2"))
    shop.do(declare.format("classic", "mail"))
