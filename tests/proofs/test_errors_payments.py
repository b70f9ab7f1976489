"""error-handling: a payment whose answer is lost, and whose message comes twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import PostgreSQL, Redis
from shop import AT_ONCE, MakeShop, Shop
from waiting import until


def charges(shop: Shop) -> list[dict[str, str]]:
    """What the gateway has taken."""
    ledger = Path(shop.environment["SHOP_GATEWAY"])
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


@pytest.mark.proves("error-handling#payments")
def test_answer_lost_and_delivered_twice(shop: MakeShop, redis: Redis, postgres: PostgreSQL, evidence: dict) -> None:
    """The gateway charges and every answer is lost; the message comes twice. With a new key on each attempt the card is
    charged 14 times; a task that writes FAILED leaves a taken payment that no replay mends. The page's task runs 14
    times, charges once and ends in REVIEW; the replay of its dead letter ends CHARGED with that charge."""
    shop = shop("error-handling", redis, postgres)
    shop.tasks(
        AT_ONCE,
        """
        import uuid
        from payments import gateway
        from payments.models import Payment

        answer = gateway.charge

        def charge(amount, *, idempotency_key):
            note("run " + str(amount), key=str(idempotency_key))
            return answer(amount, idempotency_key=idempotency_key)

        gateway.charge = charge
        policy = dict(acks_late=True, retry_backoff=10, max_retries=6)

        @shared_task(name="proofs.new_key", autoretry_for=(gateway.GatewayUnavailable,), **policy)
        def new_key(payment_pk):
            gateway.charge(Payment.objects.get(pk=payment_pk).amount, idempotency_key=uuid.uuid4())

        @shared_task(name="proofs.writes_failed", acks_late=True)
        def writes_failed(payment_pk):
            payment = Payment.objects.get(pk=payment_pk, status="pending")
            try:
                gateway.charge(payment.amount, idempotency_key=payment.idempotency_key)
            except gateway.GatewayError:
                Payment.objects.filter(pk=payment_pk).update(status="failed")
        """,
    )
    names = {"payments.charge": 1, "proofs.new_key": 2, "proofs.writes_failed": 3}
    pks = shop.do(
        f"""
        result = {{}}
        user = User.objects.create(username="customer")
        for name, amount in {names}.items():
            order = Order.objects.create(customer=user)
            result[name] = Payment.objects.create(order=order, amount=amount).pk
            sent = app.send_task(name, [result[name]])
            if name != "proofs.writes_failed":
                app.send_task(name, [result[name]], task_id=sent.id)
        """
    )
    state = "Payment.objects.filter(pk={!r}).values_list('status', 'charge_id')[0]".format
    lost = shop.worker("-c", "2", SHOP_GATEWAY_FAIL="timeout")
    runs = {"run 1.00": 14, "run 2.00": 14, "run 3.00": 1}
    until(lambda: {name: shop.counts()[name] for name in runs} == runs, what="all attempts were made")
    until(lambda: lost.output.count("raised unexpected: GatewayUnavailable") == 4, what="all were given up")
    page, *wrong = (pks[name] for name in names)
    until(lambda: shop.ask(state(page)) == ["review", ""], what="the payment is held for review")
    taken = [entry["amount"] for entry in charges(shop)]
    assert [taken.count(amount) for amount in ("1.00", "2.00", "3.00")] == [1, 14, 1]
    assert len({line["key"] for line in shop.ledger("run 1.00")}) == 1

    lost.stop()
    letter = until(lambda: shop.ask("list(DeadLetter.objects.filter(name='payments.charge').values_list('pk'))"))
    assert len(letter) == 1  # of both messages
    assert shop.do(f"from orders.dead_letters import replay\nresult = replay({letter[0][0]})") is True
    shop.do(f"app.send_task('proofs.writes_failed', [{wrong[1]}])")
    again = shop.worker("-c", "2")
    charge = next(entry["id"] for entry in charges(shop) if entry["amount"] == "1.00")
    until(lambda: shop.ask(state(page)) == ["charged", charge], what="the replay charged nothing and ended")
    until(lambda: "raised unexpected: DoesNotExist" in again.output, what="the failed payment stays failed")
    assert shop.ask(state(wrong[1])) == ["failed", ""]
    assert len(charges(shop)) == 16
    evidence["figures"] |= {"runs": 14, "charges": 1, "charges, new key on each attempt": 14}
