"""Whether the workers of two hosts together keep an API's limit, lose no call and leave room for other tasks."""

from __future__ import annotations

import itertools
import json
import shlex
import time
from collections.abc import Iterator
from contextlib import suppress

from evals.outside import service
from evals.trial import Trial, Verdict
from shop import Shop, Worker
from waiting import Late, until

LIMIT, CONTACTS = 2, 18  # calls a second
BURST = 2 * LIMIT + 1  # a counter of calendar seconds allows twice the limit around the turn of one
SEND = """
from accounts.tasks import sync_contact
from orders.tasks import send_receipt
users = [User.objects.create(username=f"u{{n}}", email=f"u{{n}}@example.com") for n in range({contacts})]
for user in users:
    sync_contact.delay(user.pk)
send_receipt.delay(1)
"""


def start(shop: Shop, host: int) -> Iterator[Worker]:
    """What one host runs of the Procfile; Beat only on the first."""
    for line in (shop.folder / "Procfile").read_text().splitlines():
        name, _, command = line.partition(":")
        words = shlex.split(command, comments=True)
        if "celery" in words and "worker" in words:
            quiet = ("--without-gossip", "--without-mingle", "--loglevel", "INFO", "-n", f"{name}{host}@proof")
            yield shop.python(f"{name}{host}", "-m", *words[words.index("celery") :], *quiet)
        elif "celery" in words and "beat" in words and host == 1:
            shop.python(name, "-m", *words[words.index("celery") :])


def is_ready(worker: Worker) -> bool:
    assert worker.process.poll() is None, f"{worker.node} ended:\n{worker.output[-2000:]}"
    return "ready." in worker.output


def failures(shop: Shop) -> int:
    return sum(line["task"] == "accounts.sync_contact" and line["state"] == "FAILURE" for line in shop.ledger("ended"))


def receipts(shop: Shop) -> list[float]:
    return [line["at"] for line in shop.ledger("began") if line["task"] == "orders.send_receipt"]


def excess(times: list[float]) -> float:
    """The most calls of any interval beyond those that its length allows."""
    return max((j - i + 1 - LIMIT * (times[j] - times[i]) for i, j in itertools.combinations(range(len(times)), 2)))


def grade(trial: Trial) -> Iterator[Verdict]:
    noted: list[tuple[float, str]] = []

    def push(_path: str, body: bytes) -> str:
        noted.append((time.time(), json.loads(body)["email"]))
        return json.dumps({"id": f"crm-{noted[-1][1]}"})

    with service(push) as address:
        shop = trial.shop("redis", "postgres")
        shop.environment |= {"CRM_ADDRESS": address, "CRM_CALLS_PER_SECOND": str(LIMIT)}
        workers = [worker for host in (1, 2) for worker in start(shop, host)]
        until(lambda: all(map(is_ready, workers)), 60, "the workers are ready")
        shop.do(SEND.format(contacts=CONTACTS))
        with suppress(Late):
            until(lambda: len({email for _, email in noted}) == CONTACTS or failures(shop), 60)
            until(lambda: shop.ask("User.objects.filter(crm_id='').count()") == 0 or failures(shop), 10)
            until(lambda: receipts(shop), 60)
        right = shop.ask("[user.crm_id == f'crm-{user.email}' for user in User.objects.exclude(crm_id='')]")
        began, calls = receipts(shop), sorted(noted)

    yield Verdict("calls", bool(right) and all(right), f"{sum(right)} of {len(right)} ids kept are right")
    times, pushed = [at for at, _ in calls], {email for _, email in calls}
    over = excess(times) if len(times) > 1 else 0
    took = times[-1] - times[0] if times else 0
    evidence = f"{len(calls)} calls in {took:.1f} s, at most {over:.1f} beyond {LIMIT}/s ({BURST} are let pass)"
    yield Verdict("rate", bool(calls) and over <= BURST, evidence)
    evidence = f"{len(pushed)} of {CONTACTS} contacts in {len(calls)} calls, {failures(shop)} tasks failed"
    yield Verdict("none-lost", len(pushed) == len(calls) == CONTACTS and not failures(shop), evidence)
    before = sum(at < began[0] for at in times) if began else CONTACTS
    evidence = f"began after {before} of {CONTACTS} calls" if began else "never began"
    yield Verdict("others", bool(began) and before < CONTACTS / 2, evidence)
