"""periodic-tasks: Beat as a process: two of them, killed, restarted, stuck; and what it cleans up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pages
import pytest
from servers import Redis
from shop import MakeShop, Worker
from validate.document import parse
from waiting import until

PAGE = pages.SKILL / "references" / "periodic-tasks.md"
DATABASE = "django_celery_beat.schedulers:DatabaseScheduler"


def entry(name: str, seconds: float) -> dict[str, object]:
    return {name: {"task": f"proofs.{name}", "schedule": seconds}}


def queued(redis: Redis) -> Counter[str]:
    """How often each task is in the queue."""
    messages = redis.client().lrange("celery", 0, -1)
    return Counter(json.loads(message)["headers"]["task"].removeprefix("proofs.") for message in messages)


def sent(beat: Worker) -> int:
    """How often this Beat says that it has sent the tick."""
    return beat.output.count("Sending due task tick")


@pytest.mark.proves("periodic-tasks#run-one-beat")
def test_two_beats(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """Nothing elects a leader: of two Beats with the DatabaseScheduler each sends every tick. Of two with RedBeat one
    sends and the other waits; when the first is killed, the second takes over once the lock has expired, which takes
    5 times the loop interval: 25 s with the page's settings, 1,500 s without."""
    tick = entry("tick", 1)
    doubled = shop("periodic-tasks", redis, CELERY_BEAT_SCHEDULER=DATABASE, CELERY_BEAT_SCHEDULE=tick)
    both = [doubled.beat(), doubled.beat()]
    until(lambda: min(map(sent, both)) >= 3, what="both send")
    for beat in both:
        beat.kill()
    redis.client().flushall()

    quick = {"CELERY_BEAT_MAX_LOOP_INTERVAL": 1, "CELERY_REDBEAT_REDIS_URL": redis.url(3)}
    elected = shop("periodic-tasks", redis, base="settings_redbeat", CELERY_BEAT_SCHEDULE=tick, **quick)
    holder = elected.beat()
    until(lambda: sent(holder), what="the first sends")
    standby = elected.beat()
    seen = sent(holder)
    until(lambda: sent(holder) >= seen + 4, what="the first goes on")
    assert sent(standby) == 0 and queued(redis)["tick"] in (sent(holder), sent(holder) - 1)
    holder.kill()
    killed = time.monotonic()
    until(lambda: sent(standby), 60, "the second has taken over")
    evidence["figures"]["takeover after a kill, loop interval 1 s, seconds"] = round(time.monotonic() - killed, 1)

    lock = """
        from redbeat import RedBeatScheduler
        from shop import settings_redbeat
        page = settings_redbeat.CELERY_BEAT_MAX_LOOP_INTERVAL
        result = []
        for interval in (page, 0):
            app.conf.beat_max_loop_interval = interval
            result.append(RedBeatScheduler(app, lazy=True).lock_timeout)
    """
    assert elected.do(lock) == [25, 1500]


@pytest.mark.proves("periodic-tasks#run-one-beat")
@pytest.mark.proves("periodic-tasks#missed-runs")
def test_killed_beat(shop: MakeShop, redis: Redis, evidence: dict) -> None:
    """Beat was down for 25 hours: the hourly entry is sent once, not 25 times. SIGKILL right after it has sent several:
    by default Beat has saved only the first and sends the rest again at restart; with the page's `beat_sync_every = 1`
    it sends none again."""
    runs = {}
    for name, settings in {"default": {"CELERY_BEAT_SYNC_EVERY": 0}, "page": {}}.items():
        redis.client().flushall()
        # In any order; that ticks follow shows that the others had their turn.
        schedule = entry("hourly", 3600) | entry("daily", 86_400) | entry("tick", 1)
        here = shop("periodic-tasks", redis, CELERY_BEAT_SCHEDULE=schedule, **settings)
        here.do(
            f"""
            from datetime import timedelta
            from celery.beat import PersistentScheduler
            beat = PersistentScheduler(app, schedule_filename={str(here.folder / "beat-schedule")!r})
            for entry in beat.schedule.values():
                entry.last_run_at -= timedelta(hours=25)
            beat.close()
            """
        )
        for _ in range(2):
            beat = here.beat()
            until(lambda beat=beat: sent(beat) >= 2, what="Beat has sent what was due, then ticks")
            beat.kill()
        runs[name] = queued(redis)
    assert max(runs["default"]["hourly"], runs["default"]["daily"]) == 2
    assert (runs["page"]["hourly"], runs["page"]["daily"]) == (1, 1)
    evidence["figures"] |= {"sends of a daily entry around a kill, by default": 2, "with beat_sync_every = 1": 1}


@pytest.mark.proves("periodic-tasks#beat-health")
def test_probe(shop: MakeShop, redis: Redis) -> None:
    """The page's ping is answered by a Beat that ticks. When its scheduler hangs, the process lives on and a look at
    the process sees nothing; the ping ends with exit code 69, as it does when Beat is frozen or dead."""
    age = {"CELERY_BEAT_MAX_LOOP_INTERVAL": 1, "CELERY_BEAT_REMOTE_CONTROL_MAX_TICK_AGE": 4}
    shop = shop("periodic-tasks", redis, CELERY_BEAT_ENABLE_REMOTE_CONTROL=True, **age)
    shop.tasks(
        """
        import os, time
        from celery.beat import Scheduler

        real = Scheduler.tick

        def tick(self):
            if os.path.exists("hang"):
                note("hangs")
                time.sleep(1000)
            return real(self)

        Scheduler.tick = tick
        """
    )
    fence = next(fence for fence in parse("", PAGE.read_text()).fences if "inspect ping" in fence.content)
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOSTNAME": socket.gethostname()}

    def ping(seconds: int = 10) -> int:
        command = fence.content.replace("--timeout 10", f"--timeout {seconds}")
        done = subprocess.run(
            ["bash", "-c", command], env=shop.environment | path, cwd=shop.folder, capture_output=True, check=False
        )
        return done.returncode

    beat = shop.beat()
    until(lambda: ping() == 0, what="Beat answers")
    beat.signal(signal.SIGSTOP)
    assert ping(1) == 69
    beat.signal(signal.SIGCONT)
    until(lambda: ping() == 0, what="Beat answers again")
    (shop.folder / "hang").touch()
    until(lambda: shop.counts()["hangs"], what="the scheduler hangs")
    until(lambda: ping(1) == 69, what="Beat is silent")
    assert beat.process.poll() is None
    beat.kill()
    assert ping(1) == 69
