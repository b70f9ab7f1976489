"""Whether a report of three branches ends, and with what, when none, one or all of them fail."""

from __future__ import annotations

from collections.abc import Iterator

from evals.crashes import AT_ONCE, PATIENCE, came, unended
from evals.trial import Trial, Verdict
from shop import Shop
from waiting import until

# How the branches answer is in a file, so that it can change while a worker runs.
ANSWERS = """
import os
from pathlib import Path

@task_prerun.connect
def trouble(**_):
    os.environ["SHOP_BRANCHES"] = Path("trouble.txt").read_text()
"""
START = "from orders.tasks import start_report; result = start_report().pk"
FIGURES = {"north": 500, "south": 500, "west": 400}


def report(trial: Trial, shop: Shop, trouble: str) -> tuple[str, dict[str, int]]:
    """The status of a report when it has ended, or nothing runs any more, and the figures it holds."""
    (shop.folder / "trouble.txt").write_text(trouble)
    begun = shop.counts()["began"]
    pk = shop.do(START)
    client = trial.servers.redis.client()
    row = f"Report.objects.values_list('status', 'turnover').get(pk={pk})"

    def ended() -> bool:
        return shop.ask(row)[0] != "building"

    def quiet() -> bool:
        waiting = client.llen("celery") + client.hlen("unacked")
        return shop.counts()["began"] >= begun + 3 and not waiting and not unended(shop)

    until(lambda: ended() or quiet(), PATIENCE, "the report ended, or nothing runs any more")
    came(ended, 2)
    status, turnover = shop.ask(row)
    return status, {branch: figure for branch, figure in turnover.items() if figure in FIGURES.values()}


def without(*branches: str) -> dict[str, int]:
    return {branch: figure for branch, figure in FIGURES.items() if branch not in branches}


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "", AT_ONCE, ANSWERS, CELERY_RESULT_BACKEND="django-db")
    shop.worker("-c", "1")
    status, figures = report(trial, shop, "")
    yield Verdict("done", (status, figures) == ("done", FIGURES), f"status {status!r}, figures {figures}")

    status, figures = report(trial, shop, "south=offline")
    yield Verdict("one-offline", status == "partly failed", f"status {status!r}")
    yield Verdict("keeps-others", figures == without("south"), f"figures {figures}")

    status, figures = report(trial, shop, "west=garbled")
    evidence = f"status {status!r}, figures {figures}"
    yield Verdict("any-error", (status, figures) == ("partly failed", without("west")), evidence)

    status, _ = report(trial, shop, ",".join(f"{branch}=offline" for branch in FIGURES))
    yield Verdict("none", status == "failed", f"status {status!r}")
