"""A payment gateway that keeps its ledger in a file, so that several worker processes share it.

``SHOP_GATEWAY`` names the ledger (default ``gateway.jsonl`` in the working directory); every charge that took
money is one line. ``SHOP_GATEWAY_FAIL`` holds how the next charge ends: ``unavailable`` (nothing was charged),
``timeout`` (charged, then the answer is lost) or ``declined``.
"""

import fcntl
import json
import os
from decimal import Decimal
from pathlib import Path


class GatewayError(Exception):
    """Base of everything the gateway raises."""


class GatewayUnavailable(GatewayError):
    """Nothing is known about the charge: it may or may not have happened. Temporary."""


class CardDeclined(GatewayError):
    """The bank said no. Permanent."""


def charge(amount: Decimal, *, idempotency_key: str) -> str:
    """Charge once for each key and return the charge id; the same key again returns the first charge."""
    failure = os.environ.get("SHOP_GATEWAY_FAIL", "")
    if failure == "unavailable":
        raise GatewayUnavailable("503")
    if failure == "declined":
        raise CardDeclined("insufficient funds")
    ledger = Path(os.environ.get("SHOP_GATEWAY", "gateway.jsonl"))
    with ledger.open("a+") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)
        lines.seek(0)
        charges = [json.loads(line) for line in lines]
        known = next((entry for entry in charges if entry["key"] == str(idempotency_key)), None)
        if known is None:
            known = {"id": f"ch_{len(charges) + 1}", "key": str(idempotency_key), "amount": str(amount)}
            lines.write(json.dumps(known) + "\n")
    if failure == "timeout":
        raise GatewayUnavailable("the answer was lost")
    return known["id"]


def refund(charge_id: str, *, idempotency_key: str) -> None:
    """Give the money of one charge back, once for each key."""
    charge(Decimal(0), idempotency_key=f"refund-{charge_id}-{idempotency_key}")
