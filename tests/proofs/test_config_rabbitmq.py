"""configuration-guide: RabbitMQ's confirms, quorum queues and delayed delivery, with the page's settings."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import pytest
from servers import RabbitMQ
from shop import NOTICED_SOON, MakeShop, Raised, Shop
from waiting import stays, until

PAGE = "configuration-guide"
TASKS = """
@shared_task(name="proofs.run")
def run(name): note("run", name=name)
"""


def rabbit_shop(make: MakeShop, broker: RabbitMQ, *code: str, **settings: object) -> Shop:
    shop = make(PAGE, broker, base="settings_rabbitmq", **settings)
    shop.tasks(TASKS, *code)
    return shop


def queues(shop: Shop, broker: RabbitMQ, what: str = "messages") -> dict[str, str]:
    """A column of ``rabbitmqctl list_queues`` for the shop's virtual host."""
    host = shop.environment["SHOP_BROKER"].rpartition("/")[2]
    lines = broker.control("list_queues", "-p", host, "name", what, "--no-table-headers").splitlines()
    return dict(line.split("\t") for line in lines)


def names(shop: Shop) -> Counter[str]:
    return Counter(line["name"] for line in shop.ledger("run"))


@pytest.mark.proves("configuration-guide#rabbitmq-broker")
def test_confirms_over_a_restart(shop: MakeShop, own_rabbitmq: RabbitMQ, evidence: dict) -> None:
    """A broker freezes, is killed and comes back. Without publisher confirms every .delay() in between returned and its
    message is gone; with the page's settings none returned before the broker had it. What was confirmed before is
    there after the restart."""
    page = rabbit_shop(shop, own_rabbitmq)
    silent = rabbit_shop(shop, own_rabbitmq, CELERY_BROKER_TRANSPORT_OPTIONS={})
    shops = {"page": page, "silent": silent}
    for each in shops.values():
        each.do("app.send_task('proofs.run', ['before'])")
        until(lambda each=each: queues(each, own_rabbitmq).get("default") == "1", what="the broker has it")
    own_rabbitmq.pause()
    silent.do("for n in range(10): app.send_task('proofs.run', [f'frozen{n}'])")
    outcome: list[object] = []

    def publish() -> None:
        try:
            outcome.append(page.do("app.send_task('proofs.run', ['frozen']); result = 'returned'"))
        except Raised as error:
            outcome.append(error.kind)

    waiting = threading.Thread(target=publish)
    waiting.start()
    stays(lambda: not outcome, 1, "a publisher that wants a confirm waits")
    own_rabbitmq.kill()
    waiting.join(30)
    assert outcome == ["OperationalError"]
    own_rabbitmq.start()

    def published() -> bool:
        """It listens before its virtual hosts are there; a publisher hears of that, too."""
        with contextlib.suppress(Raised):
            page.do("app.send_task('proofs.run', ['after'])")
            return True
        return False

    until(published, 60)
    for each in shops.values():
        each.worker("-c", "1", wait=False)
    until(lambda: names(page) == {"before": 1, "after": 1}, 60, what="what was confirmed ran, before and after")
    until(lambda: names(silent)["before"], 60, what="what had reached the broker ran")
    stays(lambda: names(silent) == {"before": 1}, 1, "the rest is lost")
    evidence["figures"] |= {"lost after .delay() returned, without confirms": 10, "with confirms": 0}


@pytest.mark.proves("configuration-guide#quorum-queues-and-delayed-delivery")
@pytest.mark.proves("production-deployment#long-etas")
def test_delay_in_the_broker(shop: MakeShop, rabbitmq: RabbitMQ, evidence: dict) -> None:
    """With the page's topic exchange a countdown waits in the broker and each task runs once; with a direct exchange
    the worker warns and holds it, unacknowledged. Queues that share a routing key on the topic exchange each get the
    task."""
    keyless = """
    from kombu import Queue
    from celery import current_app
    quorum = {"x-queue-type": "quorum"}
    current_app.conf.task_queues = [Queue(name, queue_arguments=quorum) for name in ("default", "mail", "imports")]
    """
    shops = {
        "topic": rabbit_shop(shop, rabbitmq),
        "direct": rabbit_shop(shop, rabbitmq, CELERY_TASK_DEFAULT_EXCHANGE_TYPE="direct"),
        "keyless": rabbit_shop(shop, rabbitmq, keyless),
    }
    for each in shops.values():
        each.worker("-c", "1", wait=False)
    for each in shops.values():
        until(lambda each=each: "ready." in each.workers[0].output, 60, "the workers consume")
        each.do("from proofs import tasks; app.send_task('proofs.run', ['now'])")
    shops["topic"].do("app.send_task('proofs.run', ['soon'], countdown=2)")
    for name in ("topic", "direct"):
        shops[name].do("app.send_task('proofs.run', ['never'], countdown=1000)")
    held = "messages_unacknowledged"
    until(lambda: queues(shops["direct"], rabbitmq, held)["default"] == "1", what="the worker holds it")
    until(lambda: names(shops["topic"])["soon"], what="what was due ran")
    until(lambda: queues(shops["topic"], rabbitmq, held)["default"] == "0", what="the worker holds nothing")
    delayed = {name: count for name, count in queues(shops["topic"], rabbitmq).items() if "celery_delayed" in name}
    assert sum(map(int, delayed.values())) == 1
    until(lambda: names(shops["keyless"])["now"] >= 3, what="one for each queue")
    stays(lambda: names(shops["topic"]) == {"now": 1, "soon": 1}, 0.5, "once each")
    assert names(shops["keyless"]) == {"now": 3}
    assert "direct exchange" in shops["direct"].workers[0].output
    evidence["figures"]["celery_delayed_* queues"] = len(delayed)


@pytest.mark.proves("configuration-guide#quorum-queues-and-delayed-delivery")
@pytest.mark.proves("configuration-guide#acknowledgement")
def test_delivery_limit(shop: MakeShop, rabbitmq: RabbitMQ, evidence: dict) -> None:
    """A task with reject_on_worker_lost that kills its child runs 21 times on a quorum queue and is then gone without a
    trace: its state is PENDING, no queue has it."""
    poison = """
    import os, signal

    @shared_task(name="proofs.poison", acks_late=True, reject_on_worker_lost=True)
    def poison():
        note("poison")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    shop = rabbit_shop(shop, rabbitmq, NOTICED_SOON, poison)
    worker = shop.worker("-c", "1")
    task_id = shop.do("result = app.send_task('proofs.poison').id; app.send_task('proofs.run', ['beside'])")
    until(lambda: shop.counts()["poison"] == 21, 60, "21 runs")
    until(lambda: queues(shop, rabbitmq)["default"] == "0", what="it is gone")
    assert names(shop) == {"beside": 1}
    assert shop.counts()["poison"] == 21
    assert shop.ask(f"app.AsyncResult({task_id!r}).state") == "PENDING"
    assert "proofs.poison" in worker.output
    evidence["figures"]["runs of a poison message, quorum queue's default limit"] = 21


@pytest.mark.proves("configuration-guide#quorum-queues-and-delayed-delivery")
def test_queue_types(shop: MakeShop, rabbitmq: RabbitMQ) -> None:
    """task_default_queue_type makes a quorum queue of the implicit queue only, not of listed ones, nor of ones made by
    need; those obey x-queue-type and task_create_missing_queue_type. A queue keeps its type: to want another is refused
    with 406, for a publisher too."""
    implicit = {"CELERY_TASK_DEFAULT_QUEUE_TYPE": "quorum", "CELERY_TASK_CREATE_MISSING_QUEUES": True}
    listed = """
    from kombu import Queue
    from celery import current_app
    current_app.conf.task_queues = {}
    """
    none, some = "None", '[Queue("default", routing_key="default"), Queue("mail", routing_key="mail")]'
    send = "from proofs import tasks; [app.send_task('any', queue=queue) for queue in {}]".format
    shops = [
        rabbit_shop(shop, rabbitmq, listed.format(none), **implicit),
        rabbit_shop(shop, rabbitmq, listed.format(some), **implicit),
        rabbit_shop(shop, rabbitmq, listed.format(none), **implicit, CELERY_TASK_CREATE_MISSING_QUEUE_TYPE="quorum"),
        rabbit_shop(shop, rabbitmq),
    ]
    for each, wanted in zip(shops, (["default", "other"], ["default"], ["default", "other"], ["default"]), strict=True):
        each.do(send(wanted))
    types = [queues(each, rabbitmq, "type") for each in shops]
    assert [
        {name: kind.removeprefix("rabbit_").removesuffix("_queue") for name, kind in each.items()} for each in types
    ] == [
        {"default": "quorum", "other": "classic"},
        {"default": "classic"},
        {"default": "quorum", "other": "quorum"},
        {"default": "quorum"},
    ]
    changed = rabbit_shop(shop, rabbitmq, listed.format(some))
    changed.environment["SHOP_BROKER"] = shops[3].environment["SHOP_BROKER"]
    with pytest.raises(Raised) as error:
        changed.do(send(["default"]))
    assert "inequivalent arg 'x-queue-type'" in str(error.value)
