"""What a payment's task does when the gateway says no, is away for a moment, or charges and its answer is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evals.crashes import AT_ONCE, PATIENCE, unended
from evals.trial import Trial, Verdict
from shop import Shop
from waiting import until

# How the gateway answers, run by run; the last answer stays.
ANSWERS = """
import os
from pathlib import Path

@task_prerun.connect
def next_answer(**_):
    plan = Path("answers.txt")
    first, *rest = plan.read_text().split(",")
    os.environ["SHOP_GATEWAY_FAIL"] = first
    plan.write_text(",".join(rest or [first]))
"""
PAYMENT = """
user, _ = User.objects.get_or_create(username="ada")
order = Order.objects.create(customer=user)
result = Payment.objects.create(order=order, amount={amount}).pk
"""
MOST_RUNS = 60


class Seen(NamedTuple):
    """What became of a payment."""

    runs: int
    charges: int
    status: str
    charge_id: str

    def __str__(self) -> str:
        return f"{self.runs} runs, {self.charges} charges, status {self.status!r}"


class Payments:
    """Payments of one shop, told apart by their amount."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def make(self, amount: int) -> int:
        return self.shop.do(PAYMENT.format(amount=amount))

    def send(self, payment: int, amount: int, *answers: str) -> Seen:
        """Send the task of a payment, with the gateway's answers, and see what becomes of it."""
        before = self.shop.counts()["began"]
        (self.shop.folder / "answers.txt").write_text(",".join(answers))
        self.shop.do(f"app.send_task('payments.charge_payment', ({payment},))")

        def runs() -> int:
            return self.shop.counts()["began"] - before

        until(lambda: runs() > MOST_RUNS or (runs() and not unended(self.shop)), PATIENCE, "the payment's task ended")
        status, charge_id = self.shop.ask(f"Payment.objects.values_list('status', 'charge_id').get(pk={payment})")
        ledger = Path(self.shop.environment["SHOP_GATEWAY"])
        taken = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
        return Seen(runs(), sum(float(charge["amount"]) == amount for charge in taken), status, charge_id)


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "", AT_ONCE, ANSWERS)
    payments = Payments(shop)
    shop.worker("-c", "1")

    seen = payments.send(payments.make(10), 10, "")
    yield Verdict("charges", (seen.charges, seen.status) == (1, "charged") and seen.charge_id == "ch_1", str(seen))

    seen = payments.send(payments.make(20), 20, "declined")
    yield Verdict("declined-once", (seen.runs, seen.charges, seen.status) == (1, 0, "failed"), str(seen))

    seen = payments.send(payments.make(30), 30, "unavailable", "unavailable", "")
    yield Verdict("temporary", (seen.runs, seen.charges, seen.status) == (3, 1, "charged"), str(seen))

    seen = payments.send(payments.make(40), 40, "timeout", "")
    yield Verdict("timeout", (seen.charges, seen.status) == (1, "charged"), str(seen))

    silent = payments.make(50)
    first = payments.send(
        silent, 50, "timeout"
    )  # who retries without end, at long intervals, may: the button comes first
    again = payments.send(silent, 50, "")
    yield Verdict("sent-again", (again.charges, again.status) == (1, "charged"), f"{first}; sent again: {again}")
