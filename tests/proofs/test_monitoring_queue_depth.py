"""monitoring-observability: how deep the queues are, told by the page's exporter over HTTP."""

from __future__ import annotations

import time

import pytest
from exporter import Exporter
from servers import RabbitMQ, Redis, Server
from shop import MakeShop, Shop
from waiting import until

QUEUES = """
    from kombu import Queue
    CELERY_TASK_QUEUES = [Queue("celery"), Queue("jobs", queue_arguments={arguments}), Queue("absent")]
"""
HELD = """
    import time

    def holds(name):
        note(name)
        time.sleep(1000)

    shared_task(name="proofs.early")(holds)
    shared_task(name="proofs.late", acks_late=True)(holds)
"""
# The page's collector, with another address of the broker or other transport options.
COLLECT = """
from shop.queue_depth import QueueCollector

class Other:
    def __init__(self, url, options):
        self.url, self.options = url, options

    def connection_for_read(self, transport_options, **how):
        return app.connection_for_read(self.url, transport_options=transport_options | self.options, **how)

def collect(url=None, **options):
    found = {each.name: each.samples for each in QueueCollector(Other(url, options), app.amqp.queues).collect()}
    return [found["celery_broker_up"][0].value, {s.labels["queue"]: s.value for s in found["celery_queue_ready"]}]
"""
# A passive declare without the page's timeouts, over a connection that is already open.
NO_TIMEOUTS = """
import os, time
from shop.celery import app
with app.connection_for_read() as connection:
    channel = connection.default_channel
    print("connected", flush=True)
    while not os.path.exists("frozen"):
        time.sleep(0.02)
    print("depth", channel.queue_declare("jobs", passive=True).message_count, flush=True)
"""


@pytest.mark.proves("monitoring-observability#queue-depth")
def test_depth_on_redis(shop: MakeShop, own_redis: Redis, evidence: dict) -> None:
    """Four messages at priorities 0, 3, 6 and 9: the exporter says 4, LLEN says 1; an empty queue is 0 and is not
    created. Unacked counts the late-acked and the ETA task a worker holds, not the running early-acked one, and the
    oldest ages. A user who may not ask is told as a broker that is down, not as empty queues; behind a key prefix the
    depth is 0. When Redis freezes the exporter says that the broker is down; a client without timeouts hangs until
    Redis goes on."""
    shop = shop("monitoring-observability", own_redis)
    shop.configure(QUEUES.format(arguments=None))
    shop.tasks(HELD)
    exporter = Exporter(shop)
    shop.do("for priority in (0, 3, 6, 9): app.send_task('none', queue='jobs', priority=priority)")
    assert own_redis.client().llen("jobs") == 1
    assert exporter.ready() == {"celery": 0, "jobs": 4, "absent": 0}
    assert not own_redis.client().exists("absent") and not own_redis.client().exists("_kombu.binding.absent")

    shop.worker("-c", "2", "-Q", "celery")
    shop.do(
        """
        for name, countdown in (("early", 0), ("late", 0), ("late", 1000)):
            app.send_task("proofs." + name, [name], countdown=countdown)
        """
    )
    until(lambda: shop.counts() == {"early": 1, "late": 1}, what="both tasks run")
    found = until(lambda: (now := exporter.scrape())["celery_unacked"] == 2 and now, what="two are held, not acked")
    until(lambda: exporter.scrape()["celery_unacked_oldest_seconds"] > found["celery_unacked_oldest_seconds"])
    assert exporter.ready() == {"celery": 0, "jobs": 4, "absent": 0}
    shop.do(COLLECT)
    assert shop.ask("collect()") == [1, {"celery": 0, "jobs": 4, "absent": 0}]
    own_redis.client().acl_setuser(
        "limited", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-exists"]
    )
    assert shop.ask(f"collect({own_redis.url().replace('//', '//limited:secret@')!r})") == [0, {}]
    assert shop.ask("collect(global_keyprefix='')[1]['jobs']") == 4
    prefixed = "app.connection_for_write(transport_options={'global_keyprefix': 'shop-'})"
    shop.do(f"with {prefixed} as connection: app.send_task('none', queue='absent', connection=connection)")
    assert own_redis.client().llen("shop-absent") == 1
    assert shop.ask("collect(global_keyprefix='shop-')[1]['absent']") == 0
    freeze(shop, exporter, own_redis, evidence)


@pytest.mark.proves("monitoring-observability#queue-depth")
def test_depth_on_rabbitmq(shop: MakeShop, own_rabbitmq: RabbitMQ, evidence: dict) -> None:
    """A quorum queue's depth is exact, messages that a worker holds are not counted, and a queue that nobody declared
    has no sample and is not created. SimpleQueue creates what is missing, and on the quorum queue it gets a 406. When
    RabbitMQ freezes the exporter says that the broker is down; a client without timeouts hangs until it goes on."""
    shop = shop("monitoring-observability", own_rabbitmq)
    shop.configure(QUEUES.format(arguments={"x-queue-type": "quorum"}))
    shop.tasks(HELD)
    exporter = Exporter(shop)
    worker = shop.worker("-c", "1", "-Q", "celery,jobs", "--prefetch-multiplier", "1")
    shop.do("for _ in range(4): app.send_task('proofs.late', ['late'], queue='jobs')")
    until(lambda: exporter.ready() == {"celery": 0, "jobs": 3}, what="one is held, three wait")
    worker.kill()
    until(lambda: exporter.ready() == {"celery": 0, "jobs": 4}, what="the dead worker's message waits again")

    peek = "with app.connection() as connection: connection.SimpleQueue({!r}).close()"
    shop.do(peek.format("missing"))
    assert shop.do(
        f"""
        try:
            {peek.format("jobs")}
        except Exception as error:
            result = str(error)
        """
    ).startswith("Queue.declare: (406) PRECONDITION_FAILED")
    host = shop.environment["SHOP_BROKER"].rpartition("/")[2]
    queues = own_rabbitmq.control("list_queues", "-p", host, "name", "--no-table-headers").split()
    assert "missing" in queues and "absent" not in queues
    freeze(shop, exporter, own_rabbitmq, evidence)


def freeze(shop: Shop, exporter: Exporter, broker: Server, evidence: dict) -> None:
    """Freeze the broker and scrape; let it go on and scrape again."""
    before = exporter.ready()
    assert exporter.scrape()["celery_broker_up"] == 1
    hanging = shop.python("no-timeouts", "-c", NO_TIMEOUTS)
    until(lambda: "connected" in hanging.output, what="the client without timeouts is connected")
    broker.pause()
    (shop.folder / "frozen").touch()
    started = time.monotonic()
    assert exporter.scrape()["celery_broker_up"] == 0
    evidence["figures"][f"{broker.name} frozen, seconds of a scrape"] = round(time.monotonic() - started, 1)
    assert exporter.ready() == {}
    assert hanging.process.poll() is None and "depth" not in hanging.output
    broker.resume()
    until(lambda: "depth 4" in hanging.output, what="who had no timeout goes on with the broker")
    assert exporter.ready() == before
