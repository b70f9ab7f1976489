"""Whether a job of four hours starts once, and again after its worker's death; hours pass by ageing the messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evals.clock import hours_pass
from evals.trial import PATIENCE, Trial, Verdict
from shop import Shop
from waiting import until

MARKER = """
@shared_task(name="proofs.marker")
def marker(): pass
"""
# Notes its start and works for as long as the shop is there.
ENCODER = """#!/bin/sh
echo "$1" >> {folder}/started
while [ -e {folder}/started ]; do sleep 0.1; done
"""
# What a worker does every now and then, with the project's own options.
SWEEP = """
with app.connection_for_read() as connection:
    connection.default_channel.qos.restore_visible(num=100, interval=1)
"""
TASK = "catalog.encode_video"


def starts(shop: Shop) -> int:
    started = shop.folder / "started"
    return len(started.read_text().split()) if started.exists() else 0


def settled(shop: Shop) -> bool:
    """Whether each job that a worker has received has started the encoder, or ended without."""
    received = sum(len(re.findall(rf"Task {TASK}\[\S+ received", worker.output)) for worker in shop.workers)
    return starts(shop) + sum(line["task"] == TASK for line in shop.ledger("ended")) >= received


def starts_after(trial: Trial, shop: Shop, hours: float) -> int:
    """How often the encoder has started when so many hours have passed and the broker has been swept."""
    hours_pass(shop, trial.servers.redis, hours)
    shop.do(SWEEP)
    marker = shop.do("result = app.send_task('proofs.marker').id")  # the queue's last message
    until(lambda: any(line["id"] == marker for line in shop.ledger("ended")), PATIENCE, "the worker has had it all")
    until(lambda: settled(shop), PATIENCE, "each job has started or ended")
    return starts(shop)


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "", MARKER)
    encoder = shop.folder / "encoder.sh"
    encoder.write_text(ENCODER.format(folder=shop.folder))
    encoder.chmod(0o755)
    shop.environment["ENCODER"] = str(encoder)
    worker = shop.worker("-c", "3", wait=False)
    shop.do(f"app.send_task({TASK!r}, (1,))")
    until(lambda: starts(shop), PATIENCE, "the encoder has started")
    seen = starts_after(trial, shop, 0)
    yield Verdict("encodes", seen == 1, f"{seen} starts of the encoder")
    before, seen = seen, starts_after(trial, shop, 4)
    yield Verdict("once-while-running", seen == before == 1, f"{seen} starts after four hours")
    worker.kill()
    shop.worker("-c", "3", wait=False)
    before, seen = seen, starts_after(trial, shop, 24)
    yield Verdict("comes-back", seen > before, f"{seen - before} starts in the day after the worker's death")
