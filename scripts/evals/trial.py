"""A trial: what an assistant left behind, run on real servers by the case's grader."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from servers import PostgreSQL, RabbitMQ, Redis, Server
from shop import Raised, Shop
from waiting import Late, until

from .cases import BadCase, Case, load

S = TypeVar("S", bound=Server)
PATIENCE = 90  # seconds for one answer of the project, on a loaded machine too: what takes longer hangs
# Added to each project: the ledger tells which runs began and ended.
HEARD = """
from celery.signals import task_postrun, task_prerun

@task_prerun.connect
def began(task, task_id, **_): note("began", task=task.name, id=task_id)

@task_postrun.connect
def ended(task, task_id, state=None, **_): note("ended", task=task.name, id=task_id, state=state)
"""


class NoServer(Exception):
    """A private server does not start, which says nothing of the project."""


class Verdict(NamedTuple):
    """What was seen of one criterion."""

    criterion: str
    passed: bool
    evidence: str  # the numbers seen, in a few words


class Servers(AbstractContextManager):
    """Private servers, each started when a grader first asks for it, ended with the block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evals-")))
        self.number = itertools.count(1)
        self._started: dict[type[Server], Server] = {}
        self._asked: set[type[Server]] = set()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _server(self, kind: type[S]) -> S:
        if kind not in self._started:
            self._started[kind] = self._start(kind)
        self._asked.add(kind)
        return self._started[kind]

    def _start(self, kind: type[S]) -> S:
        folder = self.folder / kind.name
        folder.mkdir(exist_ok=True)  # it is tried again for the next trial
        try:
            server = kind(folder)
            self._stack.callback(server.kill)
            server.start()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            raise NoServer(f"{kind.name} does not start ({_one_line(str(error))}); `make graders` brings it") from error
        return server

    def asked(self) -> list[str]:
        """The versions of the servers that were asked for since the last call."""
        kinds, self._asked = self._asked, set()
        return sorted(self._started[kind].version for kind in kinds)

    @property
    def redis(self) -> Redis:
        return self._server(Redis)

    @property
    def rabbitmq(self) -> RabbitMQ:
        return self._server(RabbitMQ)

    @property
    def postgres(self) -> PostgreSQL:
        return self._server(PostgreSQL)


class Trial(AbstractContextManager):
    """One result to be graded. A grader makes as many shops of it as it has scenarios."""

    def __init__(self, project: Path, servers: Servers) -> None:
        self.project = project
        self.servers = servers
        self._folder = tempfile.TemporaryDirectory(prefix="trial-")
        self._shops: list[Shop] = []

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for shop in self._shops:
            shop.close()
        self._folder.cleanup()

    def text(self, path: str) -> str:
        """A file of the result; empty when it is not there."""
        file = self.project / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def shop(self, broker: str = "redis", database: str = "", *code: str, **settings: object) -> Shop:
        """The project in a folder of its own, migrated, with ``redis``, ``rabbitmq`` or (in this process) ``memory``.

        ``database`` is ``postgres`` or, when empty, SQLite. ``code`` becomes proofs/tasks.py, which workers import;
        ``settings`` go on top of the project's own.
        """
        number = next(self.servers.number)
        folder = Path(self._folder.name) / f"shop{number}"
        shutil.copytree(self.project, folder)
        if broker == "redis":
            self.servers.redis.client().flushall()
            address, results = self.servers.redis.url(), self.servers.redis.url(1)
        elif broker == "rabbitmq":
            address, results = self.servers.rabbitmq.virtual_host(f"trial{number}"), "django-db"
        else:
            address, results = "memory://", "django-db"
        store = self._migrated(folder, f"trial{number}", bool(database))
        made = Shop(folder, address, results, store, dict(settings))
        made.patience = PATIENCE
        made.tasks(HEARD, *code)
        self._shops.append(made)
        return made

    def _migrated(self, folder: Path, name: str, on_postgres: bool) -> str:
        """The address of a database with the project's tables, a copy where another project has the same models."""
        models = sorted([*folder.glob("*/models.py"), *folder.glob("*/migrations/*.py")])
        key = hashlib.sha1(b"".join(path.read_bytes() for path in models), usedforsecurity=False).hexdigest()[:12]
        if on_postgres:
            postgres = self.servers.postgres
            if key not in postgres.databases():
                _migrate(folder, postgres.create(key))
            return postgres.create(name, template=key)
        kept = self.servers.folder / f"{key}.sqlite3"
        if not kept.exists():
            _migrate(folder, str(kept))
        return str(shutil.copy(kept, folder / "shop.sqlite3"))


def _migrate(folder: Path, store: str) -> None:
    shop = Shop(folder, "memory://", "django-db", store, {})
    shop.manage("makemigrations", "--verbosity", "0")
    shop.manage("migrate", "--verbosity", "0", "--run-syncdb")


def as_it_is(case: Path, new: Shop, **settings: object) -> Shop:
    """The user's code of today, from the folder of a case, on the broker, results and database of the new code."""
    folder = load(case).write(new.folder.with_name("today"))
    where = (new.environment[name] for name in ("SHOP_BROKER", "SHOP_RESULTS", "SHOP_DB"))
    return Shop(folder, *where, settings)


def all_ended(shop: Shop, runs: int, task: str = "") -> None:
    """Wait until so many runs, of one task or of all, have ended."""

    def ended() -> int:
        return sum(task in ("", line["task"]) for line in shop.ledger("ended"))

    until(lambda: ended() >= runs, PATIENCE, f"{runs} runs ended")


def grade(case: Case, project: Path, servers: Servers) -> list[Verdict]:
    """What the case's grader says of a project: a verdict for each criterion, whatever the project does."""
    verdicts: dict[str, Verdict] = {}
    why = "the grader says nothing of it"
    with Trial(project, servers) as trial:
        try:
            for verdict in case.grade(trial):
                verdicts[verdict.criterion] = verdict
        except (Raised, Late, AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
            why = f"{type(error).__name__}: {_one_line(str(error))}"
    return list(_whole(case, verdicts, why))


def _whole(case: Case, verdicts: dict[str, Verdict], why: str) -> Iterator[Verdict]:
    """A verdict for each criterion of the case, in its order."""
    for criterion in case.criteria:
        yield verdicts.pop(criterion, None) or Verdict(criterion, False, f"not reached: {why}")
    if verdicts:
        raise BadCase(f"{case.folder}: the grader speaks of {sorted(verdicts)}, which case.yaml does not name")


def _one_line(text: str) -> str:
    """The last line that says something: a traceback ends with the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
