"""production-deployment: which process of a container or a supervisor hears TERM, and what that does to its task."""

from __future__ import annotations

import ast
import os
import signal
import sys
from pathlib import Path

import pages
import pytest
from servers import Redis
from shop import MakeShop, Shop, Worker
from validate.document import parse
from waiting import stays, until

PAGE = pages.SKILL / "references" / "production-deployment.md"
# Runs until its gate opens.
TASK = """
import os, time

@shared_task(bind=True, acks_late=True)
def late(self, queue):
    note("started", queue=queue)
    while not os.path.exists("open-" + queue):
        time.sleep(0.05)
    note("ended", queue=queue)
"""
# A container's process tree: process 1 of its own namespace, and all of it dies with that process.
CONTAINER = """
import os, sys
as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
os.execvp("unshare", ["unshare", *as_root, "--pid", "--fork", "--mount-proc", "--kill-child", *sys.argv[1:]])
"""
# An init: the child in a session of its own; TERM goes to the child (tini, dumb-init --single-child) or to its whole
# process group (tini -g, plain dumb-init); it ends with its child.
INIT = """
import os, signal, sys
child = os.fork()
if not child:
    os.setsid()
    os.execvp(sys.argv[2], sys.argv[2:])
to = os.killpg if sys.argv[1] == "group" else os.kill
signal.signal(signal.SIGTERM, lambda *_: to(child, signal.SIGTERM))
while os.wait()[0] != child:
    pass
"""


def block(language: str, words: str = "") -> str:
    return next(f.content for f in parse("", PAGE.read_text()).fences if f.language == language and words in f.content)


class Box:
    """A process tree with one worker that runs one task, to be told to stop at its top."""

    def __init__(self, shop: Shop, queue: str, command: list[str]) -> None:
        self.shop, self.queue = shop, queue
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.outside: Worker = shop.python(queue, "-c", CONTAINER, *command, PATH=path)

    @property
    def first(self) -> int:
        """Process 1, by its number outside."""
        return until(self.outside.children, what=f"{self.queue} has a process 1")[0]

    def begin(self) -> None:
        until(lambda: "ready." in self.outside.output, 60, f"the worker of {self.queue} is up")
        self.shop.do(f"app.send_task('proofs.tasks.late', [{self.queue!r}], queue={self.queue!r})")
        until(lambda: self.events() == ["started"], what=f"the task of {self.queue} runs")

    def events(self) -> list[str]:
        return [line["event"] for line in self.shop.ledger() if line["queue"] == self.queue]

    def heard(self) -> bool:
        return "Warm shutdown (MainProcess)" in self.outside.output

    def runs(self) -> bool:
        return self.outside.process.poll() is None

    def open(self) -> None:
        (self.shop.folder / f"open-{self.queue}").touch()


@pytest.mark.proves("production-deployment#docker-and-compose")
@pytest.mark.proves("production-deployment#worker-command")
def test_container_stop(shop: MakeShop, redis: Redis) -> None:
    """TERM to process 1, as `docker stop` sends it. The page's CMD in exec form, its `exec` line under a shell and an
    init that signals only its child let the task finish. bash replaces itself, even after `&&`. dash as process 1
    ignores TERM, so that celery hears nothing until KILL; dash under an init dies and takes the running task with it.
    An init that signals the process group kills even an acks_late task."""
    shop = shop("production-deployment", redis)
    shop.tasks(TASK)
    cmd = next(line for line in block("dockerfile").splitlines() if line.startswith("CMD "))
    celery = ast.literal_eval(cmd.removeprefix("CMD "))

    def worker(queue: str) -> list[str]:
        return [*celery, "-n", f"{queue}@%h", "-Q", queue, "-c", "1"]

    def init(how: str, *command: str) -> list[str]:
        return [sys.executable, "-c", INIT, how, *command]

    line = " ".join
    page_line = block("bash", "exec celery").replace("default", "page-line")
    boxes = {
        queue: Box(shop, queue, command)
        for queue, command in {
            "exec-form": worker("exec-form"),
            "page-line": ["dash", "-c", page_line],
            "bash": ["bash", "-c", "true && " + line(worker("bash"))],
            "dash": ["dash", "-c", line(worker("dash"))],
            "init-dash": init("child", "dash", "-c", line(worker("init-dash"))),
            "init-child": init("child", *worker("init-child")),
            "init-group": init("group", *worker("init-group")),
        }.items()
    }
    for box in boxes.values():
        box.begin()
    for box in boxes.values():
        os.kill(box.first, signal.SIGTERM)

    good = [boxes[queue] for queue in ("exec-form", "page-line", "bash", "init-child")]
    for box in good:
        until(box.heard, what=f"{box.queue} heard TERM")
    for queue in ("init-group", "init-dash"):
        until(lambda queue=queue: not boxes[queue].runs(), what=f"{queue} is gone")
        assert boxes[queue].events() == ["started"]
    assert "WorkerLostError" in boxes["init-group"].outside.output
    assert not boxes["init-dash"].heard()
    stays(lambda: boxes["dash"].runs() and not boxes["dash"].heard(), 1, "dash keeps TERM to itself")
    assert all(box.runs() for box in good), "they wait for their task"
    os.kill(boxes["dash"].first, signal.SIGKILL)
    until(lambda: not boxes["dash"].runs(), what="KILL ends it")
    for box in good:
        box.open()
    for box in good:
        until(lambda box=box: not box.runs(), what=f"{box.queue} exits")
        assert box.events() == ["started", "ended"]
    # What was cut off is held by Redis until the visibility timeout; the group's task was acknowledged as failed.
    held = {
        message for queue in boxes for message in redis.client().hvals("unacked") if f'"{queue}"'.encode() in message
    }
    assert len(held) == 2 and all(b"dash" in message for message in held)


@pytest.mark.proves("production-deployment#systemd-and-supervisor")
def test_supervisor(shop: MakeShop, redis: Redis) -> None:
    """A real supervisord is told to stop: with the page's program the main process alone gets TERM and its task
    finishes; with stopasgroup=true, as under systemd's KillMode=control-group, even an acks_late task is lost."""
    shop = shop("production-deployment", redis)
    shop.tasks(TASK)
    config = ["[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%(here)s/supervisord.pid\n"]
    for queue in ("page", "group"):
        options = f" -Q {queue} -c 1 --without-mingle"
        program = block("ini", "[program:").replace("celery-worker]", f"{queue}]").replace("user=shop\n", "")
        program = program.replace("/srv/shop/.venv/bin/celery", f"{sys.executable} -m celery")
        program = program.replace("default@%%h", f"{queue}@%%h{options}").replace("/srv/shop", str(shop.folder))
        config.append(f"{program}redirect_stderr=true\nstdout_logfile={shop.folder}/{queue}.log\n")
    config[-1] = config[-1].replace("stopasgroup=false", "stopasgroup=true")
    (shop.folder / "supervisord.conf").write_text("\n".join(config))
    supervisor = shop.python("supervisor", "-m", "supervisor.supervisord", "-c", "supervisord.conf")

    def events(queue: str) -> list[str]:
        return [line["event"] for line in shop.ledger() if line["queue"] == queue]

    shop.do("for queue in ('page', 'group'): app.send_task('proofs.tasks.late', [queue], queue=queue)")
    until(lambda: events("page") == events("group") == ["started"], 60, "both tasks run")
    supervisor.signal(signal.SIGTERM)
    # supervisord stops its programs one after the other.
    until(lambda: "Warm shutdown" in (shop.folder / "page.log").read_text(), what="the page's worker heard TERM")
    (shop.folder / "open-page").touch()
    until(lambda: "WorkerLostError" in (shop.folder / "group.log").read_text(), what="the group's task is lost")
    until(lambda: supervisor.process.poll() is not None, what="supervisord exits")
    assert (events("page"), events("group")) == (["started", "ended"], ["started"])
    assert redis.client().hlen("unacked") == redis.client().llen("group") == 0
