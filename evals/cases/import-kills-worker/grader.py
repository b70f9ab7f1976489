"""Whether an upload that kills its process ends, is recorded as failed, and lets the uploads behind it through."""

from __future__ import annotations

from collections.abc import Iterator

from evals.crashes import AT_ONCE, PATIENCE, accepted, came, past_visibility, unended
from evals.trial import Trial, Verdict
from shop import NOTICED_SOON, Shop
from waiting import until

RECEIVE = """
from imports.uploads import receive
result = [receive(name, content.encode()).pk for name, content in {files}]
"""
BAD = ("bad.csv", "email,name\neve@example.com,E\0e\n")
MOST_RUNS = 15


def good(name: str) -> tuple[str, str]:
    return f"{name}.csv", f"email,name\n{name}@example.com,{name}\n"


def statuses(shop: Shop, *uploads: int) -> list[str]:
    return shop.ask(f"[CsvImport.objects.get(pk=pk).status for pk in {uploads}]")


def loaded(shop: Shop, *names: str) -> bool:
    emails = [f"{name}@example.com" for name in names]
    return shop.ask(f"Contact.objects.filter(email__in={emails}).count()") == len(names)


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "postgres", NOTICED_SOON, AT_ONCE)
    first = shop.worker("-c", "1")
    (ada,) = shop.do(RECEIVE.format(files=[good("ada")]))
    done = came(lambda: statuses(shop, ada) == ["done"] or (not unended(shop) and shop.ledger("ended")), PATIENCE)
    status = statuses(shop, ada)[0]
    yield Verdict("loads", done and status == "done" and loaded(shop, "ada"), f"status {status!r}")

    begun = shop.counts()["began"]
    database = shop.environment["SHOP_DB"].rpartition("/")[2]
    with trial.servers.postgres.connect(database) as held, held.transaction():
        held.execute("LOCK TABLE imports_contact IN SHARE ROW EXCLUSIVE MODE")  # so it cannot end before the kill
        (grace,) = shop.do(RECEIVE.format(files=[good("grace")]))
        until(lambda: shop.counts()["began"] > begun and accepted(shop), PATIENCE, "the second upload is being loaded")
        first.kill()
    killed, put_back = unended(shop), past_visibility(trial)
    shop.worker("-c", "1")
    until(put_back, PATIENCE, "Redis has put back what the dead worker held")

    before = shop.counts()["began"]
    bad, *others = shop.do(RECEIVE.format(files=[BAD, good("joan"), good("mary")]))

    def runs() -> int:
        return shop.counts()["began"] - before

    def over() -> bool:
        closed = runs() >= 3 and unended(shop) <= killed
        return runs() > MOST_RUNS + 5 or statuses(shop, bad) == ["failed"] or closed

    until(over, PATIENCE, "the bad upload ended, or ran too often")
    behind = came(lambda: statuses(shop, *others) == ["done"] * 2, PATIENCE) and loaded(shop, "joan", "mary")
    again = came(lambda: statuses(shop, grace) == ["done"], 3) and loaded(shop, "grace")  # it came before the others
    recorded = came(lambda: statuses(shop, bad) == ["failed"], 3)
    looping = runs() > MOST_RUNS + 5
    status, *ended = statuses(shop, bad, *others)
    evidence = f"status {statuses(shop, grace)[0]!r} after the kill and the next worker's start"
    yield Verdict("worker-killed", again, evidence)
    yield Verdict("others", behind, f"statuses {ended} behind it")
    yield Verdict("ends", not looping, f"{runs()} runs of the bad and the others")
    yield Verdict("recorded", recorded, f"status {status!r} after {runs()} runs")
