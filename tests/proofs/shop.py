"""The shop under fire: a page's project with real workers, seen from outside.

``Shop.do`` runs Python in the project, in a process of its own that lives as long as the shop. What tasks did is read
from the ledger, a file that every process appends to: a line written before a SIGKILL is still there afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from waiting import Late, until

# Appended to the page's project. Proofs add tasks of their own to proofs/tasks.py.
SETTINGS = """
import json as _json, os as _os
from .{base} import *  # noqa: F403
INSTALLED_APPS = [*INSTALLED_APPS, "proofs"]
vars().update(_json.loads(_os.environ.get("SHOP_SETTINGS", "{}")))
"""
LEDGER = '''
"""An append-only record that survives a SIGKILL and is shared by all processes."""
import json, os, time

def note(event, **facts):
    line = json.dumps({"event": event, "pid": os.getpid(), "at": time.time(), **facts}) + "\\n"
    file = os.open(os.environ["SHOP_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
'''
# Runs what arrives on stdin, a line of JSON a request, and answers with a line of JSON.
DRIVER = """
import json, sys, traceback
import django
django.setup()
from celery import current_app as app
answers, sys.stdout = sys.stdout, sys.stderr
names = {"app": app}
from django.apps import apps
names.update({model.__name__: model for model in apps.get_models()})
for line in sys.stdin:
    request = json.loads(line)
    try:
        if request["how"] == "eval":
            answer = {"value": eval(request["code"], names)}
        else:
            exec(compile(request["code"], "<proof>", "exec"), names)
            answer = {"value": names.pop("result", None)}
        answer = json.dumps(answer, default=str)
    except BaseException as error:
        answer = json.dumps({"error": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()})
    answers.write(answer + "\\n")
    answers.flush()
"""

# Backoff without its waiting; the page's tasks run as they stand.
AT_ONCE = """
from celery.app import autoretry

real = autoretry.get_exponential_backoff_interval

def at_once(**how):
    note("delay", bound=real(**how | {"full_jitter": False}), jitter=how["full_jitter"])
    return 0

autoretry.get_exponential_backoff_interval = at_once
"""

# A pool's child that ended is noticed at once, or, where it is no zombie yet, in the next round: 5 s later by default.
NOTICED_SOON = """
from celery.concurrency.asynpool import AsynPool

AsynPool.timers = property(lambda pool: {pool.maintain_pool: 0.1})
"""

# `sent` holds the arguments of every message that the process has published.
SENT = """
from celery.signals import after_task_publish

sent = []

@after_task_publish.connect
def remember(body, **extra):
    sent.append(list(body[0]))
"""

CELERY = ("-m", "celery", "-A", "shop")


class Raised(Exception):
    """What the code raised in the project; ``kind`` is the exception's class name."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__(f"{answer['error']}: {answer['message']}\n{answer['traceback']}")
        self.kind = answer["error"]


class Worker:
    """A ``celery worker`` process and its children."""

    def __init__(self, process: subprocess.Popen, log: Path, node: str) -> None:
        self.process = process
        self.log = log
        self.node = node

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def children(self) -> list[int]:
        """The pids of the pool's processes."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the main process and its children, as the end of a container or host does."""
        for pid in (self.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def kill_child(self) -> int:
        """SIGKILL one process of the pool, as the kernel does when memory is short."""
        pid = until(self.children, 10, "the worker has a child")[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                return self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


class Shop:
    """A page's project in ``folder``, with its broker, results and database."""

    def __init__(
        self, folder: Path, broker: str, results: str, database: str, settings: dict[str, Any], base: str = "settings"
    ) -> None:
        self.folder = folder
        self.ledger_path = folder / "ledger.jsonl"
        self.workers: list[Worker] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "DJANGO", "SHOP"))},
            "DJANGO_SETTINGS_MODULE": "shop.settings_proof",
            "SHOP_BROKER": broker,
            "SHOP_RESULTS": results,
            "SHOP_DB": database,
            "SHOP_LEDGER": str(self.ledger_path),
            "SHOP_GATEWAY": str(folder / "gateway.jsonl"),
            "SHOP_SETTINGS": json.dumps(settings),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(folder),
        }
        (folder / "shop" / "settings_proof.py").write_text(SETTINGS.replace("{base}", base))
        (folder / "proofs").mkdir(exist_ok=True)
        (folder / "proofs" / "__init__.py").touch()
        (folder / "proofs" / "ledger.py").write_text(LEDGER)
        self.patience = 300.0  # seconds for one answer of the driver
        self._driver: subprocess.Popen | None = None

    def tasks(self, *code: str) -> None:
        """Add tasks of the proof's own (the wrong way, say) to the project, before a process has started."""
        assert self._driver is None and not self.workers, "processes that run already would not see them"
        head = "from celery import shared_task\nfrom proofs.ledger import note\n"
        (self.folder / "proofs" / "tasks.py").write_text("\n".join([head, *map(textwrap.dedent, code)]))

    def configure(self, code: str) -> None:
        """Add settings that are no JSON (queues, say), before a process has started."""
        assert self._driver is None and not self.workers, "processes that run already would not see them"
        with (self.folder / "shop" / "settings_proof.py").open("a") as file:
            file.write(textwrap.dedent(code))

    # Python in the project.

    def do(self, code: str) -> Any:
        """Run statements in the project and return what they leave in ``result``."""
        return self._ask("exec", textwrap.dedent(code))

    def ask(self, expression: str) -> Any:
        """The value of an expression in the project; ``app`` and every model are in reach."""
        return self._ask("eval", expression)

    def _ask(self, how: str, code: str) -> Any:
        if self._driver is None:
            with (self.folder / "driver.log").open("ab") as log:
                self._driver = subprocess.Popen(
                    [sys.executable, "-c", DRIVER],
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        self._driver.stdin.write(json.dumps({"how": how, "code": code}) + "\n")
        self._driver.stdin.flush()
        try:
            answered = select.select([self._driver.stdout], [], [], self.patience)[0]
            line = self._driver.stdout.readline() if answered else ""
        except ValueError:  # closed meanwhile, by `close` in another thread
            answered, line = True, ""
        if not answered:
            self._driver.kill()
            raise Late(f"no answer within {self.patience:.0f} s: {code.strip()}")
        assert line, f"the project's process ended:\n{(self.folder / 'driver.log').read_text()[-2000:]}"
        answer = json.loads(line)
        if "error" in answer:
            raise Raised(answer)
        return answer["value"]

    def manage(self, *arguments: str) -> str:
        """Run ``manage.py`` and return what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def celery(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run ``celery -A shop`` to its end: its exit status, and what it prints."""
        command = [sys.executable, *CELERY, *arguments]
        done = subprocess.run(
            command,
            env=self.environment | environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    # What happened.

    def ledger(self, event: str | None = None) -> list[dict[str, Any]]:
        """What tasks noted, in order; of one event, or all."""
        if not self.ledger_path.exists():
            return []
        lines = [json.loads(line) for line in self.ledger_path.read_text().splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def counts(self) -> Counter[str]:
        """How often each event was noted."""
        return Counter(line["event"] for line in self.ledger())

    # Processes.

    def worker(self, *options: str, wait: bool = True, **environment: str) -> Worker:
        """Start a worker and, unless told otherwise, wait until it consumes."""
        node = f"w{len(self.workers) + 1}@proof"
        quiet = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
        command = [*CELERY, "worker", "-n", node, *quiet, *options]
        return self._spawn(command, node, "ready." if wait else "", environment)

    def beat(self, *options: str) -> Worker:
        """Start Beat and wait until it runs."""
        schedule = ("--schedule", str(self.folder / "beat-schedule"), "--pidfile", "")
        return self._spawn([*CELERY, "beat", *schedule, "--loglevel", "INFO", *options], "beat", "beat: Starting", {})

    def python(self, name: str, *arguments: str, **environment: str) -> Worker:
        """Start a lasting Python process of the project, Flower or an exporter; who needs it waits for it."""
        return self._spawn(list(arguments), name, "", environment)

    def _spawn(self, command: list[str], node: str, sign: str, environment: dict[str, str]) -> Worker:
        log = self.folder / f"{node}-{len(self.workers)}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                env=self.environment | environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        worker = Worker(process, log, node)
        self.workers.append(worker)

        def is_up() -> bool:
            assert process.poll() is None, f"{' '.join(command)} ended:\n{worker.output[-3000:]}"
            return sign in worker.output

        until(is_up, 40, f"{node} is up")
        return worker

    def close(self) -> None:
        """End every process of the shop, whatever state it is in."""
        for worker in self.workers:
            for pid in (*worker.children(), worker.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            worker.process.wait(10)
        if self._driver is not None:
            self._driver.kill()
            self._driver.communicate()

    def logs(self) -> Iterator[str]:
        """The end of every process's output, for a failure's report."""
        for worker in self.workers:
            yield f"--- {worker.log.name}\n{worker.output[-3000:]}"


MakeShop = Callable[..., Shop]  # what the `shop` fixture gives
