"""Whether the scrape of a web process tells how many messages wait, whatever their priorities and without a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

from evals.trial import PATIENCE, Trial, Verdict
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port, listens
from shop import Shop
from waiting import until

SEND = "for priority in {priorities}: app.send_task('orders.any', queue='default', priority=priority)"
NOWHERE = "redis://127.0.0.1:1/0"
Page = dict[tuple[str, str], float]  # (metric, queue) → value


def serve(shop: Shop, name: str, **environment: str) -> str:
    """Start a web process; the address of its metrics."""
    port = free_port()
    command = ("manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}")
    process = shop.python(name, *command, **environment)

    def is_up() -> bool:
        assert process.process.poll() is None, f"the web process ended:\n{process.output[-2000:]}"
        return listens(port)

    until(is_up, PATIENCE, "the web process listens")
    return f"http://127.0.0.1:{port}/metrics"


def scrape(address: str) -> tuple[Page, str]:
    """What the page says, and, when it is no such page, why."""
    try:
        with urlopen(address, timeout=PATIENCE) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    except HTTPError as error:
        return {}, f"status {error.code}"
    except (OSError, ValueError) as error:
        return {}, f"{type(error).__name__}: {error}"
    page: Page = {}
    for sample in (sample for family in families for sample in family.samples):
        key = sample.name, sample.labels.get("queue", "")
        page[key] = page.get(key, 0) + sample.value  # a series for each priority adds up
    return page, ""


def lengths(address: str) -> tuple[list[float | None], str]:
    """The lengths of the two queues, None where the page does not tell."""
    page, why = scrape(address)
    found = [page.get(("celery_queue_length", queue)) for queue in ("default", "reports")]
    return found, why or f"default {found[0]}, reports {found[1]}"


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis")
    address = serve(shop, "web")

    found, evidence = lengths(address)
    yield Verdict("empty", found == [0, 0], evidence)
    shop.do(SEND.format(priorities="[0, 0, 0]"))
    found, evidence = lengths(address)
    yield Verdict("waiting", found == [3, 0], f"{evidence}; sent 3, 0")
    trial.servers.redis.client().flushall()
    shop.do(SEND.format(priorities="[0, 3, 6, 9]"))
    page, why = scrape(address)
    yield Verdict("page", ("shop_orders_open", "") in page, why or f"{len(page)} series")
    before, evidence = lengths(address)
    yield Verdict("priorities", before == [4, 0], f"{evidence}; sent 4, one of each priority")
    trial.servers.redis.client().rpop("default")
    after, evidence = lengths(address)
    yield Verdict("current", None not in (before[0], after[0]) and after[0] == before[0] - 1, f"{evidence}; took one")

    alone = serve(shop, "away", SHOP_BROKER=NOWHERE)
    started = time.monotonic()
    page, why = scrape(alone)
    took = time.monotonic() - started
    claimed = [value for (metric, _), value in page.items() if metric == "celery_queue_length" and value == 0]
    evidence = why or f"{len(page)} series after {took:.1f} s, {len(claimed)} say 0"
    yield Verdict("broker-away", ("shop_orders_open", "") in page and took < 10 and not claimed, evidence)
