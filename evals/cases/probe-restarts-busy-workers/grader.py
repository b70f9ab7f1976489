"""What the probe says of a worker that is idle, busy, frozen, or without a broker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGSTOP

from evals.trial import PATIENCE, Trial, Verdict
from shop import Shop, Worker
from waiting import Late, until

EVERY, LONG = 1, 4  # PROBE_EVERY and PROBE_PATIENCE
BUSY = """
import time

@shared_task(name="proofs.busy")
def busy():
    note("busy")
    time.sleep(1000)
"""


class Pod:
    """A worker, with the environment that its probe has too."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        times = {"PROBE_EVERY": str(EVERY), "PROBE_PATIENCE": str(LONG)}
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        file = shop.folder / f"{name}.probe"
        self.environment = {"HOSTNAME": name, "PROBE_FILE": str(file), "PATH": programs, **times}
        options = ("-n", f"worker@{name}", "-c", "2", "-Q", f"celery,{name}")
        self.said = -1
        self.worker: Worker = shop.worker(*options, wait=False, **self.environment)

    def probe(self) -> int:
        environment = self.shop.environment | self.environment
        how = {"env": environment, "cwd": self.shop.folder, "capture_output": True, "timeout": PATIENCE}
        try:
            self.said = subprocess.run(["sh", "probe.sh"], check=False, **how).returncode
        except subprocess.TimeoutExpired:
            self.said = 124  # the kubelet counts it as a failure
        return self.said

    def becomes(self, alive: bool, seconds: float) -> bool:
        """Whether the probe says so within the time."""
        try:
            return until(lambda: (self.probe() == 0) is alive, seconds)
        except Late:
            return False


def patience_ends() -> None:
    end = time.monotonic() + LONG + 2 * EVERY
    until(lambda: time.monotonic() > end, LONG * 2)


def grade(trial: Trial) -> Iterator[Verdict]:
    shop = trial.shop("redis", "", BUSY)
    one, two = Pod(shop, "one"), Pod(shop, "two")
    until(lambda: all("ready." in pod.worker.output for pod in (one, two)), 2 * PATIENCE, "the workers are up")
    healthy = all(pod.becomes(True, 20) for pod in (one, two))
    yield Verdict("healthy", healthy, f"exit status {one.said} and {two.said}")
    shop.do("for _ in range(2): app.send_task('proofs.busy', queue='one')")
    until(lambda: shop.counts()["busy"] == 2, PATIENCE, "one is busy")
    two.worker.signal(SIGSTOP)
    patience_ends()
    yield Verdict("busy", one.becomes(True, 20), f"exit status {one.said} during the tasks")
    yield Verdict("hung", two.becomes(False, 5), f"exit status {two.said} of a worker frozen by SIGSTOP")
    trial.servers.redis.stop()
    try:
        patience_ends()
        yield Verdict("broker-away", one.becomes(True, 6), f"exit status {one.said} without a broker")
    finally:
        trial.servers.redis.start()
