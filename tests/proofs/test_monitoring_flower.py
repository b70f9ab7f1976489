"""monitoring-observability: Flower, as the page starts it and as it is often started."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass

import pages
import pytest
from servers import Redis, free_port
from shop import CELERY, MakeShop, Shop, Worker
from validate.document import parse
from waiting import until
from web import answered, ask, scrape

PAGE = pages.SKILL / "references" / "monitoring-observability.md"


@dataclass
class Flower:
    process: Worker
    url: str


def command(*options: str) -> tuple[str, ...]:
    return (*CELERY, "flower", "--address=127.0.0.1", *options)


def flower(shop: Shop, *options: str, prefix: str = "", **environment: str) -> Flower:
    """Start Flower; it is up when it is asked for."""
    port = free_port()
    process = shop.python("flower", *command(f"--port={port}", *options), **environment)
    return Flower(process, f"http://127.0.0.1:{port}{prefix}")


def of_the_page() -> list[str]:
    """The options of the page's command."""
    fence = next(fence for fence in parse("", PAGE.read_text()).fences if "FLOWER_BASIC_AUTH" in fence.content)
    words = shlex.split(fence.content.replace("\\\n", ""))
    return words[words.index("flower") + 1 :]


@pytest.mark.proves("monitoring-observability#flower")
def test_doors_of_flower(shop: MakeShop, redis: Redis) -> None:
    """The page's command asks credentials for pages and API, not for /metrics and /healthcheck, and answers 404 where
    the proxy drops the prefix. Without credentials pages are open and the API is 401; with
    FLOWER_UNAUTHENTICATED_API anyone shuts a worker down, with --read-only nobody does."""
    shop = shop("monitoring-observability", redis)
    worker = shop.worker("-c", "1")
    options = [option for option in of_the_page() if not option.startswith("--db")]
    page = flower(shop, *options, prefix="/flower", FLOWER_BASIC_AUTH="ops:word")
    bare = flower(shop)
    reading = flower(shop, "--read-only=True", FLOWER_UNAUTHENTICATED_API="true")
    acting = flower(shop, FLOWER_UNAUTHENTICATED_API="true")
    for each in (page, bare, reading, acting):
        answered(each.url)

    for path in ("/workers", "/tasks", "/api/tasks"):
        assert ask(page.url + path)[0] == 401, path
        assert ask(page.url + path, login="ops:wrong")[0] == 401, path
        assert ask(page.url + path, login="ops:word")[0] == 200, path
    assert ask(f"{page.url}/metrics")[0] == ask(f"{page.url}/healthcheck")[0] == 200
    root = page.url.removesuffix("/flower")
    assert ask(f"{root}/workers", login="ops:word")[0] == 404

    assert ask(f"{bare.url}/workers")[0] == 200
    assert ask(f"{bare.url}/api/tasks")[0] == 401
    shut_down = f"/api/worker/shutdown/{worker.node}"
    until(lambda: worker.node in ask(f"{acting.url}/api/workers?refresh=1")[1], what="Flower knows the worker")
    until(lambda: worker.node in ask(f"{reading.url}/api/workers?refresh=1")[1], what="the other, too")
    assert ask(bare.url + shut_down, "POST")[0] == 401
    assert ask(reading.url + shut_down, "POST")[0] == 403
    assert worker.process.poll() is None
    assert ask(acting.url + shut_down, "POST")[0] == 200
    assert worker.process.wait(30) == 0


@pytest.mark.proves("monitoring-observability#flower")
def test_memory_of_flower(shop: MakeShop, redis: Redis) -> None:
    """With --state-save-interval Flower still knows its tasks after a SIGKILL; with --persistent alone it is empty.
    What it counted is in /metrics."""
    shop = shop("monitoring-observability", redis)
    shop.tasks("@shared_task\ndef plain(): note('ran')")
    shop.worker("-c", "1", "-E")
    saved = ("--persistent=True", f"--db={shop.folder / 'saved'}", "--state-save-interval=2000")
    alone = ("--persistent=True", f"--db={shop.folder / 'alone'}")
    assert {option.partition("=")[0] for option in saved} <= {option.partition("=")[0] for option in of_the_page()}
    environment = {"FLOWER_UNAUTHENTICATED_API": "true"}
    first = [flower(shop, *options, **environment) for options in (saved, alone)]

    def tasks(each: Flower) -> str:
        return ask(f"{each.url}/api/tasks")[1]

    for each in first:
        answered(each.url)
    counted = 'flower_events_total{task="proofs.tasks.plain",type="task-succeeded",worker="w1@proof"}'

    def known() -> bool:
        shop.do("app.send_task('proofs.tasks.plain')")
        return all("SUCCESS" in tasks(each) for each in first)

    until(known, what="both have seen a task")  # they listen a moment after they answer
    assert all(scrape(f"{each.url}/metrics")[counted] >= 1 for each in first)
    kept = shop.folder / "saved"
    until(lambda: any(file.read_bytes().count(b"proofs.tasks.plain") for file in shop.folder.glob("saved*")), what=kept)
    # A save empties the file first: what is killed in that moment has nothing.
    until(lambda: 0.3 < time.time() - max(file.stat().st_mtime for file in shop.folder.glob("saved*")) < 1, what=kept)
    for each in first:
        each.process.kill()
    second = [flower(shop, *options, **environment) for options in (saved, alone)]
    for each in second:
        answered(each.url)
    assert "proofs.tasks.plain" in tasks(second[0])
    assert tasks(second[1]) == "{}"


@pytest.mark.proves("monitoring-observability#flower")
def test_options_of_flower(shop: MakeShop, redis: Redis) -> None:
    """--broker after `flower` is ignored in favour of amqp://guest@localhost, before it it is used; --broker-api with
    redis:// ends Flower; in --auth an escaped dot matches nobody, the plain one matches."""
    shop = shop("monitoring-observability", redis)
    broker = f"--broker={redis.url(3)}"
    local = ("--address=127.0.0.1", f"--port={free_port()}")
    after = shop.python("after", "-m", "celery", "flower", broker, *local)
    before = shop.python("before", "-m", "celery", broker, "flower", *local[:1], f"--port={free_port()}")
    wrong_api = shop.python("api", *command(f"--broker-api={redis.url()}", f"--port={free_port()}"))
    until(lambda: "Broker: " in after.output, what="it names its broker")
    assert "Broker: amqp://guest:**@localhost:5672//" in after.output
    until(lambda: f"Broker: {redis.url(3)}" in before.output.replace(":**@", ""), what="it names its broker")
    assert wrong_api.process.wait(30) != 0
    assert "invalid scheme 'redis'" in wrong_api.output
    assert shop.do(
        r"""
        from flower.utils.authentication import authenticate
        patterns = (".*@example.com", r".*@example\.com")
        result = [bool(authenticate(pattern, "ann@example.com")) for pattern in patterns]
        """
    ) == [True, False]
