"""What Celery's own command line, its remote control, its Beat and the shell make of deployment files."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import Scheduler
from celery.bin.celery import celery
from celery.worker.components import Beat
from click.testing import CliRunner


@pytest.fixture
def reached(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Which of two nodes run the command that a call broadcasts."""
    ran: list[str] = []
    sent: list[dict] = []
    mailbox = app.control.mailbox

    def broadcast(
        command: str, arguments: dict | None = None, destination: list | None = None, *_: object, **__: object
    ):
        sent.append({"method": command, "arguments": arguments or {}, "destination": destination})

    monkeypatch.setattr(mailbox, "_broadcast", broadcast)

    def reached(call: Callable[[], object]) -> list[str]:
        ran.clear()
        sent.clear()
        call()
        (message,) = sent
        for name in ("celery@one", "celery@two"):
            handlers = {message["method"]: lambda state, name=name, **_: ran.append(name)}
            mailbox.Node(name, state=SimpleNamespace(), handlers=handlers).handle_message(message)
        return ran

    return reached


@pytest.mark.proves("DCE801")
def test_each_beat_sends_every_entry(app: Celery) -> None:
    app.conf.beat_schedule = {"report": {"task": "orders.report", "schedule": 0.0}}
    beats = [Scheduler(app=app) for _ in range(2)]
    for beat in beats:
        beat.tick()
        beat.close()
    assert [name for name, _ in app.queued()] == ["orders.report"] * 2
    (one,) = beats[:1]
    one.tick()
    assert [name for name, _ in app.queued()] == ["orders.report"]


@pytest.mark.proves("DCE802")
def test_every_worker_with_b_starts_a_beat() -> None:
    workers = [SimpleNamespace() for _ in range(3)]
    assert [Beat(worker, beat=True).enabled for worker in workers[:2]] == [True, True]
    assert Beat(workers[2]).enabled is False


@pytest.mark.proves("DCE804")
def test_ping_without_destination_is_answered_by_any(app: Celery, reached: Callable[..., list[str]]) -> None:
    assert reached(lambda: app.control.inspect().ping()) == ["celery@one", "celery@two"]
    assert reached(lambda: app.control.inspect(destination=["celery@two"]).ping()) == ["celery@two"]


@pytest.mark.proves("DCE805")
@pytest.mark.proves("DCE806")
def test_shutdown_without_destination_reaches_all(app: Celery, reached: Callable[..., list[str]]) -> None:
    both = ["celery@one", "celery@two"]
    assert reached(lambda: app.control.shutdown()) == both
    assert reached(lambda: app.control.broadcast("shutdown")) == both
    assert reached(lambda: app.control.shutdown(destination=["celery@one"])) == ["celery@one"]


@pytest.mark.proves("DCE807")
@pytest.mark.proves("DCE808")
def test_purge_takes_what_others_published(app: Celery) -> None:
    app.send_task("orders.ship", (1,))
    app.send_task("mail.send", (2,))
    assert app.control.purge() == 2
    assert app.queued() == []


@pytest.mark.proves("DCE809")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("worker -A shop", "worker"),
        ("worker --app=shop", "worker"),
        ("beat -A shop", "beat"),
        ("inspect ping -A shop", "inspect"),
        ("purge -f -A shop", "purge"),
        ("worker --broker=redis://r", "worker"),
        ("worker -b redis://r", "worker"),
        ("beat --workdir=/srv", "beat"),
        ("worker --maxtasksperchild=100", "worker --max-tasks-per-child=100"),
        ("worker --maxmemperchild=100", "worker --max-memory-per-child=100"),
        ("worker --autoreload", "worker"),
    ],
)
def test_old_command_lines_are_refused(old: str, new: str) -> None:
    runner = CliRunner()
    assert runner.invoke(celery, old.split()).exit_code == 2
    assert runner.invoke(celery, [*new.split(), "--help"]).exit_code == 0


FLOWER = """
import sys
import flower.command
from celery.bin.celery import celery
from click.testing import CliRunner

flower.command.Flower = lambda capp, **_: sys.exit(capp.connection().transport_cls)
print(CliRunner().invoke(celery, sys.argv[1:]).output.split()[-1])
"""


@pytest.mark.proves("DCE810")
@pytest.mark.parametrize(
    ("line", "transport"),
    [
        ("flower --broker=memory:// --app=nowhere", "amqp"),
        ("flower -A nowhere -b memory://", "amqp"),
        ("--broker=memory:// flower", "memory"),
    ],
)
def test_flower_ignores_options_after_its_name(line: str, transport: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "FLOWER"))}
    command = [sys.executable, "-W", "ignore", "-c", FLOWER, *line.split()]
    done = subprocess.run(command, env=clean, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == transport


WORKER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.proves("DCE811")
@pytest.mark.parametrize("form", ["script", "option"])
def test_the_shell_keeps_the_signal(form: str, tmp_path: Path) -> None:
    def survives(before: str, after: str = "") -> bool:
        """Whether the shell's child is there when the shell has ended of TERM."""
        text = f"{before}{shlex.quote(sys.executable)} -c {shlex.quote(WORKER)}{after}"
        (tmp_path / "start").write_text(f"{text}\n")
        arguments = [str(tmp_path / "start")] if form == "script" else ["-c", text]
        shell = subprocess.Popen(["sh", *arguments], stdout=subprocess.PIPE, text=True)
        child = int(shell.stdout.readline())
        shell.terminate()
        assert shell.wait(10) == -signal.SIGTERM
        shell.stdout.close()
        if child == shell.pid:
            return False
        os.kill(child, signal.SIGKILL)  # raises when there is no such process
        return True

    assert survives("true && ", " || false")
    assert not survives("true && exec ")
