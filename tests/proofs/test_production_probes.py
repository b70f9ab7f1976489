"""production-deployment: what a probe says of a healthy, busy, hung or disconnected worker."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pages
import pytest
import yaml
from servers import Redis
from shop import MakeShop
from validate.document import parse
from waiting import stays, until

PAGE = pages.SKILL / "references" / "production-deployment.md"


def probe(file: Path) -> int:
    """The exit status of the page's own probe command, for another file."""
    manifest = next(f.content for f in parse("", PAGE.read_text()).fences if "readinessProbe" in f.content)
    container = next(yaml.safe_load_all(manifest))["spec"]["template"]["spec"]["containers"][0]
    command = [part.replace("/tmp/worker.alive", str(file)) for part in container["readinessProbe"]["exec"]["command"]]
    return subprocess.run(command, check=False, capture_output=True).returncode


@pytest.mark.proves("production-deployment#probes")
@pytest.mark.proves("production-deployment#kubernetes")
def test_alive_file(shop: MakeShop, own_redis: Redis) -> None:
    """The consumer touches the page's file through a long task on prefork and threads, and again after a reconnect; the
    page's probe passes, and fails for a file two minutes old. The file goes stale while the broker is down, on the
    solo pool during a task, and for a stopped process. `inspect ping` without -d passes although the probed worker is
    hung, as any other answers."""
    shop = shop("production-deployment", own_redis)
    step = shop.folder / "shop" / "celery.py"
    assert step.read_text().count("call_after(5.0, ") == 1
    step.write_text(step.read_text().replace("call_after(5.0, ", "call_after(0.1, "))  # a proof has no minutes
    shop.tasks(
        """
        import os, time

        @shared_task
        def busy(pool):
            note(pool)
            while not os.path.exists("open"):
                time.sleep(0.05)
        """
    )
    files = {pool: shop.folder / f"{pool}.alive" for pool in ("prefork", "threads", "solo")}
    workers = {
        pool: shop.worker("-P", pool, "-c", "1", "-Q", pool, wait=False, WORKER_ALIVE_FILE=str(file))
        for pool, file in files.items()
    }

    def touched(pool: str) -> bool:
        """Whether the file is touched from now on."""
        since = time.time()
        until(lambda: files[pool].exists() and files[pool].stat().st_mtime > since, what=f"{pool}: the file is touched")
        return True

    def stale(pool: str) -> None:
        last = until(lambda: _unchanged(files[pool]), what=f"{pool}: the file is no longer touched")
        stays(lambda: files[pool].stat().st_mtime == last, 1, f"{pool}: the file stays stale")

    assert all(map(touched, files))
    assert probe(files["prefork"]) == 0
    old = shop.folder / "old.alive"
    old.touch()
    os.utime(old, (time.time() - 120,) * 2)
    assert probe(old) != 0 and probe(shop.folder / "missing.alive") != 0
    shop.do(f"for pool in {[*files]}: app.send_task('proofs.tasks.busy', [pool], queue=pool)")
    until(lambda: shop.counts() == dict.fromkeys(files, 1), what="all are busy")
    stale("solo")
    assert touched("prefork") and touched("threads")
    (shop.folder / "open").touch()
    assert touched("solo")

    own_redis.stop()
    for pool in files:
        stale(pool)
    own_redis.start()
    assert all(map(touched, files)), "after the reconnect"

    hung = workers["prefork"]
    hung.signal(SIGSTOP)
    stale("prefork")
    assert shop.celery("inspect", "ping", "--timeout", "3")[0] == 0
    assert shop.celery("inspect", "ping", "--timeout", "1", "-d", hung.node)[0] != 0
    hung.signal(SIGCONT)


def _unchanged(file: Path) -> float | None:
    """The file's time if it is five touches old."""
    at = file.stat().st_mtime
    return at if time.time() - at > 0.5 else None
