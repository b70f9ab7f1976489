"""configuration-guide: what survives JSON, what a worker refuses, and what signing protects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from certificates import issue
from servers import Redis
from shop import MakeShop
from waiting import until

PAGE = "configuration-guide"


@pytest.mark.proves("configuration-guide#serialization-and-signing")
def test_json(shop: MakeShop, redis: Redis) -> None:
    """Decimal, datetime, date, UUID and bytes come out of a JSON message as they went in, tuples as lists, integer keys
    as strings; a set, a timedelta and a dataclass are refused at publish. A pickled message is discarded by the worker
    and its task never runs; a gzipped one is read by a worker that knows nothing of compression."""
    shop = shop(PAGE, redis)
    shop.tasks(
        """
        @shared_task(name="proofs.take")
        def take(*values):
            note("take", values=[repr(value) for value in values])
        """
    )
    worker = shop.worker("-c", "1")
    kept = [
        "Decimal('1.10')",
        "datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)",
        "datetime.date(2026, 1, 1)",
        "UUID('00000000-0000-0000-0000-000000000001')",
        "b'1'",
    ]
    shop.do(
        f"""
        import dataclasses, datetime
        from decimal import Decimal
        from uuid import UUID
        from kombu.exceptions import EncodeError

        @dataclasses.dataclass
        class Row:
            pk: int

        app.send_task("proofs.take", [[2]], serializer="pickle")
        for refused in ({{1}}, datetime.timedelta(1), Row(1)):
            try:
                app.send_task("proofs.take", [refused])
            except EncodeError:
                continue
            raise AssertionError(refused)
        app.send_task("proofs.take", [{", ".join(kept)}])
        app.send_task("proofs.take", [(1, 2), {{1: 2}}], compression="gzip")
        """
    )
    until(lambda: shop.counts()["take"] == 2, what="the JSON ones ran")
    assert [line["values"] for line in shop.ledger("take")] == [kept, ["[1, 2]", "{'1': 2}"]]
    assert "Refusing to deserialize untrusted content of type pickle" in worker.output
    until(lambda: not redis.client().exists("default", "unacked"), what="the pickled one is gone")


@pytest.mark.proves("configuration-guide#serialization-and-signing")
def test_signing(shop: MakeShop, redis: Redis, tmp_path: Path) -> None:
    """Without signing whoever writes to the broker has tasks run. With the page's settings a worker runs what a known
    signer sent and drops what is unsigned or from a stranger; the task's name is not signed, so a captured body runs
    under another one."""
    for name in ("service", "stranger"):
        folder = tmp_path / name
        (folder / "trusted").mkdir(parents=True)
        key, certificate = issue(folder, name)
        key.rename(folder / "service.key")
        certificate.rename(folder / "service.pem")
        (folder / "trusted" / "service.pem").write_bytes((folder / "service.pem").read_bytes())
    plain, signing, stranger = shop(PAGE, redis), shop(PAGE, redis), shop(PAGE, redis)
    signing.environment["SHOP_SIGNING"] = str(tmp_path / "service")
    stranger.environment["SHOP_SIGNING"] = str(tmp_path / "stranger")
    for each in (plain, signing, stranger):
        each.tasks(
            """
            @shared_task(name="proofs.pay")
            def pay(sender): note("pay", sender=sender)

            @shared_task(name="proofs.refund")
            def refund(sender): note("refund", sender=sender)
            """
        )

    def send(sender: str) -> None:
        {"plain": plain, "signing": signing, "stranger": stranger}[sender].do(
            f"app.send_task('proofs.pay', [{sender!r}], ignore_result=True)"
        )

    send("signing")
    broker = redis.client()
    captured = json.loads(broker.lindex("default", 0))
    captured["headers"] |= {"task": "proofs.refund", "id": "captured"}
    captured["properties"]["delivery_tag"] = "captured"
    broker.lpush("default", json.dumps(captured))
    for sender in ("plain", "stranger"):
        send(sender)
    worker = signing.worker("-c", "1")
    until(lambda: signing.counts() == {"pay": 1, "refund": 1}, what="the signed ones ran")
    until(lambda: not broker.exists("default", "unacked"), what="all are taken")
    assert {line["sender"] for line in signing.ledger()} == {"signing"}
    assert "Unknown certificate" in worker.output
    assert "Refusing to deserialize untrusted content of type json" in worker.output
    worker.stop()

    send("plain")
    plain.worker("-c", "1")
    until(lambda: plain.counts()["pay"], what="an unsigned message runs where nothing signs")
