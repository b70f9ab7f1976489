"""production-deployment: what each way of stopping a worker does to running and prefetched tasks."""

from __future__ import annotations

import os
from signal import SIGINT, SIGQUIT, SIGTERM

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop, Shop, Worker
from waiting import stays, until

# One task more than the worker has processes: the others run until their gate opens, `next` is prefetched.
TASKS = """
import os, time

def run(self, queue):
    note(self.name, queue=queue)
    while not os.path.exists("open-" + queue):
        time.sleep(0.05)
    note(self.name + " ended", queue=queue)

shared_task(name="early", bind=True, acks_late=False)(run)
shared_task(name="late", bind=True, acks_late=True)(run)
shared_task(name="safe", bind=True, acks_late=True, reject_on_worker_lost=True)(run)
shared_task(name="retried", bind=True, acks_late=True, retry_on_worker_lost=True, default_retry_delay=0)(run)
shared_task(name="next", bind=True, acks_late=False)(run)
"""


class Stopped:
    """A worker for a queue of its own with running tasks and a prefetched one, about to be stopped."""

    def __init__(self, shop: Shop, queue: str, *names: str, **environment: str) -> None:
        self.shop, self.queue, self.names = shop, queue, names or ("early", "late")
        self.worker: Worker = shop.worker("-c", str(len(self.names)), "-Q", queue, wait=False, **environment)
        self.ids: list[str] = []

    def begin(self) -> Stopped:
        """Wait until all messages are with the worker."""
        until(lambda: "ready." in self.worker.output, 60, f"the worker of {self.queue} is up")
        send = f"[app.send_task(name, [{self.queue!r}], queue={self.queue!r}).id for name in {(*self.names, 'next')}]"
        self.ids = self.shop.ask(send)
        until(lambda: self.noted() == sorted(self.names), what=f"the tasks of {self.queue} run")
        until(lambda: f"Task next[{self.ids[-1]}] received" in self.worker.output, what="the last is prefetched")
        return self

    def noted(self) -> list[str]:
        return sorted(line["event"] for line in self.shop.ledger() if line["queue"] == self.queue)

    def open(self) -> None:
        """Let the running tasks end."""
        (self.shop.folder / f"open-{self.queue}").touch()

    def left(self) -> list[str]:
        """The tasks whose messages are in the queue once the worker has exited."""
        until(lambda: self.worker.process.poll() is not None, 30, f"the worker of {self.queue} exits")
        return self.shop.do(
            f"""
            result = []
            with app.connection_for_read() as connection:
                queue = app.amqp.queues[{self.queue!r}].bind(connection.channel())
                while message := queue.get(no_ack=True):
                    result.append(message.headers["task"])
            result.sort()
            """
        )

    def states(self) -> list[str]:
        return self.shop.ask(f"[app.AsyncResult(id).state for id in {self.ids}]")


@pytest.mark.proves("production-deployment#shutdown")
def test_signals(shop: MakeShop, redis: Redis) -> None:
    """TERM, however often, and one INT let running tasks end, whatever their acknowledgement, and requeue what was
    prefetched. QUIT, a second INT and TERM under REMAP_SIGTERM=SIGQUIT end the worker at once: the early-acked task is
    lost in state RETRY, the acks_late one is requeued. TERM to the whole process group loses both, as WorkerLostError,
    except with reject_on_worker_lost or retry_on_worker_lost."""
    shop = shop("production-deployment", redis)
    shop.tasks(TASKS)
    ways = {
        "term": (SIGTERM, SIGTERM),
        "int": (SIGINT,),
        "quit": (SIGQUIT,),
        "int-int": (SIGINT, SIGINT),
        "remapped": (SIGTERM,),
    }
    remap = {"remapped": {"REMAP_SIGTERM": "SIGQUIT"}}
    workers = {way: Stopped(shop, way, **remap.get(way, {})) for way in ways}
    group = Stopped(shop, "group", "early", "late", "safe", "retried")
    for stopped in (*workers.values(), group):
        stopped.begin()
    for way, signals in ways.items():
        for number in signals:
            workers[way].worker.signal(number)
            until(lambda way=way: "shutdown (MainProcess)" in workers[way].worker.output, what=f"{way} was heard")
    os.killpg(group.worker.pid, SIGTERM)

    for way in ("quit", "int-int", "remapped"):
        assert workers[way].left() == ["late", "next"], way
        assert workers[way].noted() == ["early", "late"], "neither ended"
        assert workers[way].states()[0] == "RETRY"
    assert group.left() == ["next", "retried", "safe"]
    assert group.states()[:2] == ["FAILURE", "FAILURE"]
    assert shop.ask(f"type(app.AsyncResult({group.ids[1]!r}).result).__name__") == "WorkerLostError"

    warm = [workers[way] for way in ("term", "int")]
    stays(lambda: all(each.worker.process.poll() is None for each in warm), 0.5, "TERM waits for running tasks")
    for each in warm:
        each.open()
    for each in warm:
        assert each.left() == ["next"]
        assert each.noted() == ["early", "early ended", "late", "late ended"]
        assert each.states()[:2] == ["SUCCESS", "SUCCESS"]


@pytest.mark.proves("production-deployment#shutdown")
def test_soft_shutdown(shop: MakeShop, rabbitmq: RabbitMQ) -> None:
    """The page's spot settings with REMAP_SIGTERM=SIGQUIT: on TERM a task that ends within the soft timeout finishes,
    a longer one is requeued if acks_late, else lost. Without REMAP_SIGTERM the soft timeout does nothing: TERM waits
    on."""
    shop = shop("production-deployment", rabbitmq, base="settings_spot", CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT=1)
    shop.tasks(TASKS)
    assert shop.ask("app.conf.task_acks_late")
    remapped = Stopped(shop, "remapped", "early", "late", "safe", REMAP_SIGTERM="SIGQUIT")
    short = Stopped(shop, "short", REMAP_SIGTERM="SIGQUIT")
    plain = Stopped(shop, "plain")
    stopped = (remapped, short, plain)
    for each in stopped:
        each.begin()
    for each in stopped:
        each.worker.signal(SIGTERM)
    until(lambda: "Initiating Soft Shutdown" in short.worker.output, what="the soft shutdown has begun")
    short.open()
    assert short.left() == ["next"]
    assert short.noted() == ["early", "early ended", "late", "late ended"]
    assert remapped.left() == ["late", "next", "safe"]
    assert remapped.states()[0] == "RETRY"
    stays(lambda: plain.worker.process.poll() is None, 1, "TERM waits for running tasks")
    plain.open()
    assert plain.left() == ["next"]
    assert len(plain.noted()) == 4


@pytest.mark.proves("production-deployment#shutdown")
def test_kill(shop: MakeShop, broker: Redis | RabbitMQ) -> None:
    """After KILL the early-acked task is gone. What was not acknowledged is back in the queue at once on RabbitMQ; on
    Redis nothing comes back while no worker looks, and then after the visibility timeout."""
    shop = shop(
        "production-deployment", broker, CELERY_BROKER_TRANSPORT_OPTIONS=QUICK if isinstance(broker, Redis) else {}
    )
    shop.tasks(TASKS)
    killed = Stopped(shop, "killed").begin()
    killed.worker.kill()
    if isinstance(broker, RabbitMQ):
        assert until(killed.left, what="requeued") == ["late", "next"]
        return
    client = broker.client()
    stays(lambda: client.llen("killed") == 0 and client.hlen("unacked") == 2, 0.5, "Redis holds them")
    killed.open()
    shop.worker("-c", "1", "-Q", "killed")
    until(lambda: {"late ended", "next ended"} <= {*killed.noted()}, what="they run after the visibility timeout")
    assert killed.noted().count("early") == 1 and killed.noted().count("late") == 2


# How soon Redis gives back what a dead worker held; the defaults are an hour, looked at every 100 seconds.
QUICK = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
