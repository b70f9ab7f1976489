"""monitoring-observability: each line of the stuck-task playbook, made and cured; and what `inspect` leaves out."""

from __future__ import annotations

import json
import signal

import pytest
from servers import RabbitMQ, Redis
from shop import MakeShop, Raised, Shop
from waiting import stays, until

TASKS = """
    import os, time
    from kombu.transport.redis import Channel

    @shared_task(name="proofs.plain")
    def plain(): note("plain")

    def waits(name):
        note(name)
        time.sleep(1000)

    shared_task(name="proofs.early", track_started=True)(waits)
    shared_task(name="proofs.late", acks_late=True)(waits)

    @shared_task(name="proofs.limited", rate_limit="1/h")
    def limited(): note("limited")

    @shared_task(name="proofs.ignored", ignore_result=True)
    def ignored(): note("ignored")

    # A worker that no longer asks Redis for messages, as after some reconnects of older kombu.
    asks = Channel._brpop_start

    def deaf(channel, timeout=1):
        if not os.path.exists("deaf"):
            asks(channel, timeout)

    Channel._brpop_start = deaf
"""


class Playbook:
    """The shop, asked as the page says."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        shop.tasks(TASKS)

    def send(self, name: str, queue: str = "celery", **options: object) -> str:
        arguments = [name] if name in ("early", "late") else []
        return self.shop.do(f"result = app.send_task('proofs.{name}', {arguments}, queue={queue!r}, **{options}).id")

    def query(self, task_id: str) -> set[str]:
        """`inspect query_task ID`: where workers have it."""
        replies = self.inspect(f"query_task({task_id!r})")
        return {state for reply in replies.values() for state, _ in reply.values()}

    def inspect(self, command: str) -> dict:
        running = sum(worker.process.poll() is None for worker in self.shop.workers)
        return self.shop.ask(f"app.control.inspect(timeout=20, limit={running}).{command}")

    def state(self, task_id: str) -> str:
        return self.shop.ask(f"app.AsyncResult({task_id!r}).state")

    def depth(self, queue: str = "celery") -> int:
        with_channel = "with app.connection_for_read() as c: result = c.default_channel"
        try:
            return self.shop.do(f"{with_channel}.queue_declare({queue!r}, passive=True).message_count")
        except Raised as error:
            if error.kind != "ChannelError":  # Redis has no key for an empty queue
                raise
            return 0


@pytest.mark.proves("monitoring-observability#stuck-task-playbook")
def test_held_by_a_worker(shop: MakeShop, redis: Redis) -> None:
    """`active`: a hung task that `control terminate KILL` ends as REVOKED. `reserved`: what lies behind it in a worker
    stays there though another worker is idle; with --disable-prefetch the other takes it. `scheduled`: a naive local
    ETA of now is an hour away, as it is taken for UTC, and an aware one runs."""
    shop = shop("monitoring-observability", redis, TIME_ZONE="Africa/Lagos", CELERY_TIMEZONE="Africa/Lagos")
    book = Playbook(shop)
    holder = shop.worker("-c", "1", "-Q", "held", wait=False)
    fair = shop.worker("-c", "1", "-Q", "fair", "--disable-prefetch", wait=False)
    until(lambda: all("ready." in worker.output for worker in (holder, fair)), what="both are up")
    hung, _ = book.send("early", "held"), book.send("early", "fair")
    until(lambda: shop.counts()["early"] == 2, what="both are taken")
    behind, free = book.send("plain", "held"), book.send("plain", "fair")
    until(lambda: book.query(behind) == {"reserved"}, what="it lies behind the hung one")
    assert book.query(hung) == {"active"}
    assert book.query(free) == set() and book.depth("fair") == 1
    shop.worker("-c", "1", "-Q", "held,fair,celery")
    until(lambda: book.state(free) == "SUCCESS", what="an idle worker takes what nobody has reserved")
    assert book.query(behind) == {"reserved"} and book.state(behind) == "PENDING"
    status, text = shop.celery("control", "terminate", "KILL", hung)
    assert status == 0, text
    until(lambda: book.state(hung) == "REVOKED", what="the hung task is ended")
    until(lambda: book.state(behind) == "SUCCESS", what="what lay behind it runs")

    naive, aware = shop.do(
        """
        from datetime import datetime, timezone
        times = datetime.now(), datetime.now(timezone.utc)
        result = [app.send_task("proofs.plain", eta=each).id for each in times]
        """
    )
    until(lambda: book.state(aware) == "SUCCESS", what="the aware one runs")
    assert book.query(naive) == {"scheduled"}
    entries = [entry for entries in book.inspect("scheduled()").values() for entry in entries]
    away = "(datetime.fromisoformat({!r}) - datetime.now(timezone.utc)).total_seconds()".format
    assert [round(shop.ask(away(entry["eta"])), -2) for entry in entries] == [3600]


@pytest.mark.proves("monitoring-observability#stuck-task-playbook")
@pytest.mark.proves("monitoring-observability#what-to-watch")
def test_left_in_the_queue(shop: MakeShop, redis: Redis) -> None:
    """`{}` and depth > 0: a queue that nobody consumes is cured by `control add_consumer`; after cancel_consumer
    active_queues says `- empty -` while ping says pong. A deaf worker answers ping, lists the queue and has nothing
    active; a restart cures it. `{}`, depth 0 and unacked > 0: a rate limit, or a dead worker, whose message comes back
    after the visibility timeout."""
    shop = shop("monitoring-observability", redis)
    book = Playbook(shop)
    worker = shop.worker("-c", "1", "-Q", "celery")

    def consumed() -> list[str]:
        return [queue["name"] for queue in book.inspect("active_queues()")[worker.node]]

    unread = book.send("plain", "mail")
    assert book.query(unread) == set() and book.depth("mail") == 1 and consumed() == ["celery"]
    assert shop.celery("control", "add_consumer", "mail")[0] == 0
    until(lambda: book.state(unread) == "SUCCESS", what="it is consumed now")
    for queue in ("mail", "celery"):
        shop.ask(f"app.control.cancel_consumer({queue!r}, reply=True, limit=1)")
    assert "- empty -" in shop.celery("inspect", "active_queues")[1]
    assert shop.ask("app.control.ping(limit=1)") == [{worker.node: {"ok": "pong"}}]
    shop.ask("app.control.add_consumer('celery', reply=True, limit=1)")

    first, held = book.send("limited"), book.send("limited")
    unacked = lambda: redis.client().hlen("unacked")  # noqa: E731
    until(lambda: book.state(first) == "SUCCESS" and unacked() == 1 and not book.depth(), what="one ran, one is held")
    assert book.query(held) == set()
    assert book.inspect("reserved()") == book.inspect("scheduled()") == {worker.node: []}

    (shop.folder / "deaf").touch()

    def ignored() -> bool:
        book.send("plain")
        return book.depth() > 0

    until(ignored, what="a message is left where it is")  # the call that was under way takes one or two
    stays(lambda: book.depth() > 0 and book.inspect("active()") == {worker.node: []}, 1.5, "nothing is taken")
    assert consumed() == ["celery"] and shop.ask("app.control.ping(limit=1)") == [{worker.node: {"ok": "pong"}}]
    (shop.folder / "deaf").unlink()
    worker.kill()
    worker = shop.worker("-c", "1", "-Q", "celery")
    until(lambda: book.depth() == 0, what="the new worker takes them")

    died = book.send("late")
    until(lambda: shop.counts()["late"] == 1, what="it runs")
    worker.kill()
    options = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    assert book.depth() == 0 and unacked() == 2 and book.state(held) == "PENDING"
    shop.worker("-c", "1", SHOP_SETTINGS=json.dumps({"CELERY_BROKER_TRANSPORT_OPTIONS": options}))
    until(lambda: shop.counts()["late"] == 2, what="it was delivered again")
    assert book.query(died) == {"active"}


@pytest.mark.proves("monitoring-observability#stuck-task-playbook")
def test_nowhere(shop: MakeShop, redis: Redis) -> None:
    """`{}`, depth 0: STARTED is lost by early acknowledgement, PENDING for ever is a result that was ignored. An
    unknown name is FAILURE and a line "Received unregistered task". A worker whose CELERY_BROKER_URL points elsewhere,
    against the settings, and a frozen one do not reply: 69, and the banner names the broker."""
    shop = shop("monitoring-observability", redis)
    book = Playbook(shop)
    worker = shop.worker("-c", "1")
    ignored, unknown, expired = book.send("ignored"), book.send("unknown"), book.send("plain", expires=-1)
    until(lambda: book.state(unknown) == "FAILURE" and shop.counts()["ignored"], what="both are through")
    assert "Received unregistered task of type 'proofs.unknown'" in worker.output
    until(lambda: "Discarding revoked task" in worker.output or book.state(expired) == "REVOKED", what="it expired")
    lost = book.send("early")
    until(lambda: book.state(lost) == "STARTED", what="it runs")
    worker.kill()
    worker = shop.worker("-c", "1")
    for task_id, state in ((lost, "STARTED"), (ignored, "PENDING"), (expired, "REVOKED")):
        assert book.query(task_id) == set() and book.depth() == 0 and book.state(task_id) == state
    assert shop.counts() == {"early": 1, "ignored": 1}

    elsewhere = shop.worker("-c", "1", CELERY_BROKER_URL=redis.url(5))
    worker.signal(signal.SIGSTOP)
    status, text = shop.celery("inspect", "query_task", lost)
    assert status == 69 and "No nodes replied within time constraint" in text
    assert f"transport:   {redis.url(5)}" in elsewhere.output.replace(":**@", "")
    assert f"transport:   {redis.url(0)}" in worker.output.replace(":**@", "")


@pytest.mark.proves("monitoring-observability#stuck-task-playbook")
def test_long_eta_on_rabbitmq(shop: MakeShop, own_rabbitmq: RabbitMQ) -> None:
    """A message that a worker holds for its ETA longer than RabbitMQ's consumer_timeout ends the worker with a 406, and
    the next worker too."""
    own_rabbitmq.control(
        "eval", "[application:set_env(rabbit, K, 1000) || K <- [consumer_timeout, channel_tick_interval]]."
    )
    shop = shop("monitoring-observability", own_rabbitmq)
    book = Playbook(shop)
    book.send("plain", countdown=1000)
    for _ in range(2):
        worker = shop.worker("-c", "1")
        assert worker.process.wait(60) != 0
        assert "(406) PRECONDITION_FAILED - delivery acknowledgement on channel" in worker.output


@pytest.mark.proves("monitoring-observability#inspect-workers")
def test_what_inspect_shows(shop: MakeShop, redis: Redis) -> None:
    """`active` has time_start, worker_pid and `acknowledged`, true for the task that is lost when its worker is
    killed; `reserved` and query_task leave out what a rate limit holds, `reserved` leaves out ETAs; no command tells
    how long a queue is."""
    shop = shop("monitoring-observability", redis)
    book = Playbook(shop)
    worker = shop.worker("-c", "2", "--prefetch-multiplier", "4")
    early, late = book.send("early"), book.send("late")
    until(lambda: shop.counts() == {"early": 1, "late": 1}, what="both run")
    eta, behind, limited = book.send("plain", countdown=1000), book.send("plain"), [book.send("limited") for _ in "12"]
    for _ in range(20):
        book.send("plain")
    until(lambda: {early, late} == {task["id"] for task in book.inspect("active()")[worker.node]}, what="active")
    until(lambda: book.query(behind) == {"reserved"} and redis.client().llen("celery"), what="the worker is full")
    active = {task["id"]: task for task in book.inspect("active()")[worker.node]}
    assert {task_id: task["acknowledged"] for task_id, task in active.items()} == {early: True, late: False}
    assert {task["worker_pid"] for task in active.values()} == {line["pid"] for line in shop.ledger()}
    assert all(task["time_start"] for task in active.values())
    reserved = {task["id"] for task in book.inspect("reserved()")[worker.node]}
    assert behind in reserved and not reserved & {eta, limited[1]}
    assert [task["request"]["id"] for task in book.inspect("scheduled()")[worker.node]] == [eta]
    assert [book.query(task_id) for task_id in (eta, limited[1])] == [{"scheduled"}, set()]
    assert str(redis.client().llen("celery")) not in json.dumps(book.inspect("active_queues()"))
    assert not {"messages", "length", "depth"} & book.inspect("stats()")[worker.node].keys()
    worker.kill()
    held = [json.loads(value)[0]["headers"]["id"] for value in redis.client().hvals("unacked")]
    assert late in held and early not in held


@pytest.mark.proves("monitoring-observability#inspect-workers")
def test_native_delay(shop: MakeShop, rabbitmq: RabbitMQ) -> None:
    """What RabbitMQ itself delays, on a quorum queue with a topic exchange, no worker shows as scheduled."""
    kind = {"CELERY_TASK_DEFAULT_QUEUE_TYPE": "quorum", "CELERY_TASK_DEFAULT_EXCHANGE_TYPE": "topic"}
    names = {"CELERY_TASK_DEFAULT_EXCHANGE": "jobs", "CELERY_TASK_DEFAULT_QUEUE": "jobs"}
    shop = shop("monitoring-observability", rabbitmq, **kind, **names)
    book = Playbook(shop)
    worker = shop.worker("-c", "1")
    delayed = shop.do("result = app.send_task('proofs.plain', countdown=1000).id")
    host = shop.environment["SHOP_BROKER"].rpartition("/")[2]

    def waiting() -> list[str]:
        lines = rabbitmq.control("list_queues", "-p", host, "name", "messages", "--no-table-headers").splitlines()
        return [name for name, number in (line.split("\t") for line in lines) if number == "1"]

    until(lambda: [name.startswith("celery_delayed_") for name in waiting()] == [True], what="a delay queue holds it")
    assert book.query(delayed) == set() and book.inspect("scheduled()") == {worker.node: []}
