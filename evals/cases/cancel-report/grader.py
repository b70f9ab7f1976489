"""Whether Cancel stops a report: in the queue, while it runs on a pool of threads, and when it is finished."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from evals.outside import service
from evals.trial import PATIENCE, Trial, Verdict
from shop import Shop
from waiting import stays, until

PAGE = "import json; from django.test import Client; result = json.loads(Client().{}.content)"


class Warehouse:
    """What the tasks ask; the answer to one section is held back until ``go_on``, ten seconds at most."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []  # report, section
        self.held: int | None = None
        self.go_on = threading.Event()

    def __call__(self, path: str, _body: bytes) -> str:
        report, section = map(int, path.strip("/").split("/"))
        self.asked.append((report, section))
        if section == self.held:
            self.go_on.wait(10)
        return "42"

    def count(self, report: int) -> int:
        return sum(pk == report for pk, _ in self.asked)


def begin(shop: Shop, sections: int) -> int:
    return shop.do(PAGE.format(f"post('/reports/', {{'sections': {sections}}})"))["id"]


def cancel(shop: Shop, pk: int) -> tuple[str, int]:
    """Press Cancel; what the page says afterwards."""
    shop.do(PAGE.format(f"post('/reports/{pk}/cancel/')"))
    return look(shop, pk)


def look(shop: Shop, pk: int) -> tuple[str, int]:
    page = shop.do(PAGE.format(f"get('/reports/{pk}/')"))
    return page["status"], page["lines"]


def idle(shop: Shop) -> bool:
    """Every run that began has ended."""
    return {line["id"] for line in shop.ledger("began")} == {line["id"] for line in shop.ledger("ended")}


def grade(trial: Trial) -> Iterator[Verdict]:
    warehouse = Warehouse()
    with service(warehouse) as address:
        shop = trial.shop("redis", "postgres")
        shop.environment["WAREHOUSE"] = address
        yield from verdicts(shop, warehouse)


def verdicts(shop: Shop, warehouse: Warehouse) -> Iterator[Verdict]:
    queued = begin(shop, 3)
    waiting = cancel(shop, queued)
    shop.worker("--pool", "threads", "-c", "4")
    plain = begin(shop, 3)
    until(lambda: look(shop, plain)[0] == "done", PATIENCE, "a report is done")
    yield Verdict("builds", look(shop, plain)[1] == 3, f"{look(shop, plain)}, of 3 sections")
    finished = cancel(shop, plain)
    yield Verdict("done-stays", finished == ("done", 3), f"{finished} after Cancel")
    until(lambda: idle(shop), PATIENCE, "the report from the queue has ended")
    seen, asked = (waiting, look(shop, queued)), warehouse.count(queued)
    yield Verdict("queued", seen == (("cancelled", 0),) * 2 and not asked, f"{seen}, asked {asked} times")

    warehouse.held = 2
    victim, other = begin(shop, 40), begin(shop, 6)
    until(lambda: {(victim, 2), (other, 2)} <= set(warehouse.asked), PATIENCE, "both reports are at work")
    at_once, before = cancel(shop, victim), warehouse.count(victim)
    warehouse.go_on.set()
    until(lambda: idle(shop), PATIENCE, "both tasks have ended")
    stays(lambda: idle(shop), 0.3, "no other run goes on with it")
    later, more = look(shop, victim), warehouse.count(victim) - before
    yield Verdict("stops", more == 0, f"asked {more} times after Cancel")
    yield Verdict("no-more-lines", later[1] == at_once[1], f"{at_once[1]} lines when it answered, {later[1]} later")
    yield Verdict("status", at_once[0] == later[0] == "cancelled", f"{at_once[0]!r}, later {later[0]!r}")
    beside = look(shop, other)
    yield Verdict("others", beside == ("done", 6), f"{beside}, of 6 sections")
