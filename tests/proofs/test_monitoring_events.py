"""monitoring-observability: what task events cost, and who turns them on."""

from __future__ import annotations

import pytest
from servers import Redis, free_port
from shop import CELERY, MakeShop, Shop
from waiting import until
from web import answered

TASKS = 300


@pytest.mark.proves("monitoring-observability#events")
def test_cost_of_events(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """With -E a worker that runs 300 empty tasks publishes at least one message more for each, though nobody reads;
    who listens afterwards hears none of them."""
    shop = shop("monitoring-observability", redis)
    shop.tasks("@shared_task\ndef empty(): note('ran')")

    def costs(*options: str) -> tuple[int, int]:
        """Calls of PUBLISH and bytes in, for the tasks that one worker runs."""
        client = redis.client()
        before = shop.counts()["ran"]
        worker = shop.worker("-c", "1", *options)
        client.config_resetstat()
        shop.do(f"for _ in range({TASKS}): app.send_task('proofs.tasks.empty')")
        until(lambda: shop.counts()["ran"] == before + TASKS, 60, "all have run")
        worker.stop()
        calls = client.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"]
        return calls, client.info("stats")["total_net_input_bytes"]

    silent, telling = costs(), costs("-E")
    assert telling[0] - silent[0] >= TASKS
    assert telling[1] > silent[1]
    heard = shop.do(
        """
        result = []
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": result.append})
            try:
                receiver.capture(limit=None, timeout=1)
            except TimeoutError:
                pass
        """
    )
    assert not [event for event in heard if event["type"].startswith("task-")]
    evidence["figures"] |= {
        "PUBLISH for 300 tasks": silent[0],
        "PUBLISH for 300 tasks, -E": telling[0],
        "bytes in, -E against without, per cent": round(100 * (telling[1] / silent[1] - 1)),
    }


@pytest.mark.proves("monitoring-observability#events")
def test_flower_turns_them_on(shop: MakeShop, redis: Redis) -> None:
    """Flower makes a worker without -E send events, and turns them on again after `control disable_events`; with
    --enable-events=False it never does."""
    shop = shop("monitoring-observability", redis)
    asked = shop.worker("-c", "1")
    other = {"SHOP_BROKER": redis.url(2)}
    left = shop.worker("-c", "1", **other)
    for options, environment in (((), {}), (("--enable-events=False",), other)):
        url = f"http://127.0.0.1:{start(shop, *options, **environment)}"
        answered(url)

    def turned_on() -> int:
        return asked.output.count("Events of group {task} enabled by remote.")

    until(turned_on, what="Flower has turned them on")
    for broker in (redis.url(), redis.url(2)):
        shop.do(f"with app.connection_for_write({broker!r}) as c: app.control.disable_events(connection=c)")
    until(lambda: "Events of group {task} disabled by remote." in asked.output, what="they are off")
    until(lambda: turned_on() == 2, what="Flower has turned them on again")
    assert "enabled by remote" not in left.output


def start(shop: Shop, *options: str, **environment: str) -> int:
    port = free_port()
    shop.python("flower", *CELERY, "flower", "--address=127.0.0.1", f"--port={port}", *options, **environment)
    return port
