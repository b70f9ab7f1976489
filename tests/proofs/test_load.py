"""The load figure: thousands of tasks while processes of the pool are killed and the broker is restarted.

`make load` runs it with 10,000 tasks and keeps the figures in docs/data/load.json.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pages
import pytest
from servers import PostgreSQL, RabbitMQ, Redis
from shop import MakeShop, Shop
from waiting import stays, until

TASKS = int(os.environ.get("LOAD_TASKS", "300"))
RECORD = os.environ.get("LOAD_RECORD")  # a JSON file for the figures
RESTARTS = (0.1, 0.6)  # of the tasks have run; at the first, messages are still being published
CUSTOMERS = 100
LONG = max(300, TASKS / 4)  # seconds, for a busy machine

# How soon Redis gives back what was lost with a connection: the page's hour, shortened, and the 5 minutes for which
# the lock of a sweep outlives a worker that died with it.
QUICK = {
    "visibility_timeout": 5,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 5,
}
# For how many seconds nothing may have happened: RabbitMQ counts a queue's messages every five.
QUIET = {"Redis": 3, "RabbitMQ": 10}
# What the page gives orders.confirm_reserved; its delay of 10 s is shortened, to stay below half the timeout above.
RECOMMENDED = {
    "ignore_result": True,
    "acks_late": True,
    "retry_on_worker_lost": True,
    "max_retries": 3,
    "default_retry_delay": 2,
}
# Work before the task's effect: twenty milliseconds, more in a small run, so that its few kills meet tasks, too.
WORK = f"""
import time
from celery.signals import task_prerun

@task_prerun.connect
def work(args, **extra):
    note("run", pk=args[0])
    time.sleep({max(0.02, 60 / TASKS)})
"""
# The row that says what must happen: the page's sweeper publishes again what was queued long ago and is not done.
ROWS = """
from django.db import models
from django.utils import timezone

class Confirmation(models.Model):
    order = models.OneToOneField("orders.Order", on_delete=models.CASCADE, primary_key=True)
    queued_at = models.DateTimeField(default=timezone.now)
"""
ORDERS = f"""
users = User.objects.bulk_create(User(username=f"u{{n}}", email=f"u{{n}}@shop.test") for n in range({CUSTOMERS}))
orders = Order.objects.bulk_create(Order(customer=users[n % {CUSTOMERS}], status="paid") for n in range({TASKS}))
Confirmation.objects.bulk_create(Confirmation(order=order) for order in orders)
"""
# The publisher's side of a restart: what raised is sent again.
PUBLISH = """
import time
from kombu.exceptions import OperationalError
from orders.tasks import confirm_order

for order in Order.objects.order_by("pk"):
    while True:
        try:
            confirm_order.delay(order.pk)
            break
        except OperationalError:
            time.sleep(0.1)
"""
SWEEP = """
from datetime import timedelta
from django.db.models import F
from orders.tasks import confirm_order
from shop.sweeper import sweep

Confirmation.objects.update(queued_at=F("queued_at") - timedelta(hours=1))  # an hour later
result = sweep(Confirmation.objects.filter(order__status="paid"), confirm_order, lease=timedelta(minutes=5))
"""


@contextmanager
def every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Do it again and again, in a thread, as long as the block runs."""
    stop, started = threading.Event(), time.monotonic()

    def run() -> None:
        due = started
        while not stop.wait(max(0, (due := due + seconds) - time.monotonic())):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ask(database: PostgreSQL, name: str, query: str) -> int:
    with database.connect(name) as connection:
        return connection.execute(query).fetchone()[0]


class Run:
    """Two workers under fire, and what came of it."""

    def __init__(self, name: str, shop: Shop, broker: Redis | RabbitMQ, database: PostgreSQL, *options: str) -> None:
        shop.tasks(WORK)
        (shop.folder / "proofs" / "models.py").write_text(ROWS)
        shop.manage("migrate", "--verbosity", "0", "--run-syncdb")
        shop.do(ORDERS)
        self.name, self.shop, self.broker = name, shop, broker
        self.ask = partial(ask, database, shop.environment["SHOP_DB"].rpartition("/")[2])
        self.options = ("-c", "4", *options)
        self.workers = [shop.worker(*self.options) for _ in range(2)]
        self.random = random.Random()
        self.kills = self.lost = self.swept = 0
        self.exits: Counter[str] = Counter()  # why workers ended
        self.confirmed = [0]  # orders, at each second
        self.restarts: list[float] = []  # at which second
        self.back = 0  # at which second the broker answered again
        self.started = 0.0

    def count(self) -> int:
        return self.ask("SELECT count(*) FROM orders_order WHERE status = 'confirmed'")

    def kill(self) -> None:
        """SIGKILL a process of a worker's pool."""
        if children := self.random.choice(self.workers).children():
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(children), signal.SIGKILL)
                self.kills += 1

    def supervise(self) -> None:
        """Start a worker again whose main process ended, as systemd does."""
        for number, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                why = re.search(r"Unrecoverable error: (.+)", worker.output)
                self.exits[why[1] if why else f"status {worker.process.returncode}"] += 1
                self.workers[number] = self.shop.worker(*self.options, wait=False)

    def sample(self) -> None:
        self.confirmed.append(self.count())
        if RECORD and sys.stderr.isatty():
            print(f"\r{self.broker.name}, {self.name}: {self.confirmed[-1]:6} of {TASKS}", end="", file=sys.stderr)

    def restart_broker(self) -> None:
        self.restarts.append(round(time.monotonic() - self.started, 1))
        self.broker.restart()
        self.back = len(self.confirmed)

    def under_fire(self) -> None:
        """Publish, kill and restart until the broker holds nothing more."""
        self.started = time.monotonic()
        with ExitStack() as stack:
            for seconds, action in ((1, self.kill), (0.5, self.supervise), (1, self.sample)):
                stack.enter_context(every(seconds, action))
            publisher = threading.Thread(target=self.shop.do, args=[PUBLISH])
            publisher.start()
            for share in RESTARTS:
                until(lambda share=share: self.confirmed[-1] >= share * TASKS, LONG, f"{share:.0%} of the tasks ran")
                self.restart_broker()
            publisher.join()
            until(lambda: self.confirmed[-1] == TASKS or self.nothing_left(), LONG, "no message is left")
        self.lost = TASKS - self.count()

    def nothing_left(self) -> bool:
        """Whether no order was confirmed for a while and the broker holds no message."""
        quiet = QUIET[self.broker.name]
        recent = self.confirmed[self.back :][-quiet:]
        return len(recent) == quiet and len(set(recent)) == 1 and self.messages() == 0

    def messages(self) -> int:
        """Those that wait and those that workers hold."""
        if isinstance(self.broker, RabbitMQ):
            host = self.shop.environment["SHOP_BROKER"].rpartition("/")[2]
            return sum(map(int, self.broker.control("list_queues", "-s", "-p", host, "messages").split()))
        client = self.broker.client()
        return client.hlen("unacked") + sum(client.llen(key) for key in client.scan_iter(_type="list"))

    def points(self) -> int:
        return self.ask("SELECT sum(points) FROM accounts_user")

    def figures(self) -> dict[str, int]:
        return {
            "tasks": TASKS,
            "kills": self.kills,
            "restarts": len(self.restarts),
            "worker exits": sum(self.exits.values()),
            "runs": self.shop.counts()["run"],
            "lost": self.lost,
            "swept": self.swept,
            "lost in the end": TASKS - self.count(),
            "points": self.points(),
        }


@pytest.fixture(params=["redis", "rabbitmq"])
def own_broker(request: pytest.FixtureRequest) -> Redis | RabbitMQ:
    return request.getfixturevalue(f"own_{request.param}")


@pytest.mark.proves("configuration-guide#acknowledgement")
@pytest.mark.proves("task-design-patterns#idempotency")
@pytest.mark.proves("django-integration#guaranteed-delivery")
@pytest.mark.parametrize("settings", ["recommended", "defaults"])
def test_load(
    shop: MakeShop, own_broker: Redis | RabbitMQ, redis: Redis, postgres: PostgreSQL, settings: str, evidence: dict
) -> None:
    """Two workers, a process of a pool killed every second, two restarts of the broker: with the recommended settings,
    workers that are started again and, on Redis, a sweeper no task is lost, and with Celery's defaults some are; each
    order that was confirmed gave its points once, whatever ran twice."""
    end = ARMS[settings](shop, own_broker, redis, postgres)
    evidence["figures"] |= end.figures()
    if RECORD:
        record(Path(RECORD), end, evidence["versions"])
    assert end.kills > 0
    assert end.points() == 10 * end.count()
    if settings == "defaults":
        assert end.lost > 0
    else:
        assert end.count() == TASKS
        # Without the sweeper: a restart of Redis may cost what each worker has popped and not yet kept as unacked.
        assert end.lost <= (2 * len(RESTARTS) if isinstance(own_broker, Redis) else 0)


def recommended(make: MakeShop, broker: Redis | RabbitMQ, redis: Redis, postgres: PostgreSQL) -> Run:
    """The configuration guide's settings and options, and a sweeper for what is lost nevertheless."""
    quick = {"CELERY_BROKER_TRANSPORT_OPTIONS": QUICK} if isinstance(broker, Redis) else {"base": "settings_rabbitmq"}
    annotations = {"CELERY_TASK_ANNOTATIONS": {"orders.confirm_order": RECOMMENDED}}
    shop = make("configuration-guide", broker, postgres, results=redis.url(1), **quick, **annotations)
    borrow(shop, "task-design-patterns", "def confirm_order(")
    borrow(shop, "django-integration", "def sweep(")
    run = Run("recommended", shop, broker, postgres, "-Q", "default,mail,imports")
    run.under_fire()
    if run.lost:
        run.swept = shop.do(SWEEP)
        until(lambda: run.count() == TASKS, 60, "what the sweeper published has run")
    return run


def defaults(make: MakeShop, broker: Redis | RabbitMQ, redis: Redis, postgres: PostgreSQL) -> Run:
    """The same task with Celery's own settings; only what Redis gives back does not take an hour."""
    quick = {"CELERY_BROKER_TRANSPORT_OPTIONS": QUICK} if isinstance(broker, Redis) else {}
    shop = make("task-design-patterns", broker, postgres, results=redis.url(1), **quick)
    run = Run("defaults", shop, broker, postgres)
    run.under_fire()
    return run


ARMS = {"recommended": recommended, "defaults": defaults}


def borrow(shop: Shop, page: str, sign: str) -> None:
    """Add the block of another page in which ``sign`` stands."""
    blocks = pages.blocks(pages.SKILL / "references" / f"{page}.md")
    block = next(block.fence for block in blocks if sign in block.fence.content)
    with (shop.folder / block.title).open("a") as file:
        file.write(f"\n\n{block.content}")


def record(file: Path, end: Run, versions: set[str]) -> None:
    """Add a run to the file, numbers of a series on one line."""
    known = json.loads(file.read_text()) if file.exists() else {}
    if known.get("tasks") != TASKS:
        known = {"tasks": TASKS, "brokers": {}}
    series = {"worker exits, why": end.exits, "restarts at": end.restarts, "confirmed each second": end.confirmed}
    broker = known["brokers"].setdefault(end.broker.name, {})
    broker |= {"versions": sorted(versions), end.name: end.figures() | series}
    text = json.dumps(known, indent=1)
    file.write_text(re.sub(r"\[[\d.,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n")


@pytest.mark.proves("configuration-guide#result-backends")
def test_results_on_the_brokers_server(shop: MakeShop, own_redis: Redis, redis: Redis) -> None:
    """Redis restarts during a late-acknowledged task that ignores its result. With the result store on the same server
    worker_cancel_long_running_tasks_on_connection_loss cannot record that it cancelled the task, and the task is
    acknowledged as revoked: lost. With the store on another server it runs again."""

    def cancelled(results: Redis) -> Shop:
        made = shop("configuration-guide", own_redis, results=results.url(1), CELERY_BROKER_TRANSPORT_OPTIONS=QUICK)
        made.tasks(
            """
            import time

            @shared_task(name="proofs.slow", ignore_result=True, acks_late=True)
            def slow(): note("slow"); time.sleep(1000)
            """
        )
        made.worker("-c", "1", "-Q", "default")
        made.do("app.send_task('proofs.slow')")
        until(lambda: made.counts()["slow"], what="the task started")
        own_redis.restart()
        return made

    wrong = cancelled(results=own_redis)
    until(lambda: not own_redis.client().exists("unacked"), what="the message was acknowledged")
    stays(lambda: wrong.counts()["slow"] == 1 and not own_redis.client().exists("default"), 1, "the task is lost")
    wrong.close()
    right = cancelled(results=redis)
    until(lambda: right.counts()["slow"] == 2, what="the task runs again")
