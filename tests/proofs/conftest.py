"""Servers, shops and the evidence: what every proof starts from, and what it leaves behind."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pages
import pytest
from servers import PostgreSQL, RabbitMQ, Redis, Server
from shop import MakeShop, Shop

HERE = pages.Environment("here", Path(sys.executable))
EVIDENCE = os.environ.get("PROOFS_EVIDENCE")  # the file for its lines
SERVERS = {"shared_redis", "shared_rabbitmq", "broker", "postgres"}
number = itertools.count(1)


def _run(kind: type[Server], factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = kind(factory.mktemp(kind.name))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from _run(Redis, tmp_path_factory)


@pytest.fixture(scope="session")
def shared_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from _run(RabbitMQ, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    yield from _run(PostgreSQL, tmp_path_factory)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that the proof may stop, freeze and restart."""
    yield from _run(Redis, tmp_path_factory)


@pytest.fixture
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from _run(RabbitMQ, tmp_path_factory)


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    yield from _run(PostgreSQL, tmp_path_factory)


@pytest.fixture
def redis(shared_redis: Redis) -> Redis:
    shared_redis.client().flushall()
    return shared_redis


@pytest.fixture
def rabbitmq(shared_rabbitmq: RabbitMQ) -> RabbitMQ:
    return shared_rabbitmq


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Redis | RabbitMQ:
    """Both brokers, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, evidence: dict
) -> Iterator[MakeShop]:
    """Make the project of a page: ``shop("error-handling", broker=redis)``; further keywords are settings.

    Without a broker messages stay in the memory of the process that `Shop.do` runs in.
    ``database`` is a PostgreSQL; without one it is SQLite. ``results`` is a result backend's address; results go to
    database 1 of a Redis broker, else to Django's database. ``base`` names the module of the shop's settings: a page's
    own are in ``settings_…``.
    """
    made: list[Shop] = []

    def make(
        page: str,
        broker: Redis | RabbitMQ | None = None,
        database: PostgreSQL | None = None,
        results: str = "",
        base: str = "settings",
        **settings: object,
    ) -> Shop:
        name = f"shop{os.getpid()}_{next(number)}"
        folder = tmp_path_factory.mktemp("shop")
        pages.build(pages.SKILL / "references" / f"{page}.md", folder, HERE)
        address = broker.virtual_host(name) if isinstance(broker, RabbitMQ) else broker.url() if broker else "memory://"
        if not results:
            results = broker.url(1) if isinstance(broker, Redis) else "django-db"
        evidence["versions"] |= {server.version for server in (broker, database) if server}
        if database:
            migrated = page in database.databases()
            store = database.create(name, template=page) if migrated else database.create(name)
        else:
            kept, store = tmp_path_factory.getbasetemp() / f"{page}.sqlite3", str(folder / "shop.sqlite3")
            if migrated := kept.exists():
                shutil.copy(kept, store)
        new = Shop(folder, address, results, store, settings, base)
        made.append(new)
        if not migrated:  # the page's first shop; the next ones start from a copy of its tables
            new.manage("makemigrations", "--verbosity", "0")
            new.manage("migrate", "--verbosity", "0", "--run-syncdb")
            if database:
                database.create(page, template=name)
            else:
                shutil.copy(store, kept)
        return new

    yield make
    for each in made:
        each.close()
    if request.node.stash.get(FAILED, False):
        print("\n".join(text for each in made for text in each.logs()))


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that ``-m "not servers"`` leaves it out."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if any(name in SERVERS or name.startswith("own_") for name in names):
            item.add_marker("servers")


@pytest.fixture(autouse=True)
def evidence(request: pytest.FixtureRequest) -> Iterator[dict]:
    """What the proof adds to its line of evidence: versions come by themselves, ``figures`` from the proof."""
    found: dict = {"versions": {f"Celery {version('celery')}", f"Django {version('django')}"}, "figures": {}}
    started = time.monotonic()
    yield found
    line = {
        "sections": [mark.args[0] for mark in request.node.iter_markers("proves")],
        "proof": request.node.nodeid,
        "claim": " ".join((request.function.__doc__ or "").split()),
        "versions": sorted(found["versions"]),
        "outcome": "failed" if request.node.stash.get(FAILED, False) else "held",
        "seconds": round(time.monotonic() - started, 1),
        "figures": found["figures"],
    }
    if EVIDENCE:
        with Path(EVIDENCE).open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
