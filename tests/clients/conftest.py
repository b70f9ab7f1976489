"""Fixtures: a source, a home, and the record of what was run."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from clients import CLIENTS, Client
from homes import Home
from sources import GITHUB, GitHandler, Source, make_source, serve


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, metavar="FILE", help="write what was run, and how it went, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--record")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(path))


class Recorder:
    """Gathers, in the process that starts the workers, what each test ran and how it ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict] = []
        self.results: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.results[report.nodeid] = {"skipped": "not run"}.get(report.outcome, report.outcome)
        if report.when == "teardown":
            result = self.results.get(report.nodeid, "passed")
            self.rows += [row | {"result": result} for name, row in report.user_properties if name == "round-trip"]

    def pytest_sessionfinish(self) -> None:
        """Sorted as the clients are, because parallel tests end in any order."""
        order = [kind.title for kind in CLIENTS]
        self.rows.sort(key=lambda row: (order.index(row["client"]), row["from"], row["what"]))
        record = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "platform": f"{platform.system()} {platform.machine()}",
            "rows": self.rows,
        }
        self.path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which its repositories are served."""
    root = tmp_path_factory.mktemp("clients")
    with serve(partial(GitHandler, root)) as url:
        yield root, url


@pytest.fixture
def source(served: tuple[Path, str], request: pytest.FixtureRequest) -> Source:
    """A clone of the test's own, because a release changes it."""
    root, url = served
    folder = root / f"{len(list(root.iterdir()))}"
    folder.mkdir()
    return make_source(folder, url)


@pytest.fixture
def home(source: Source) -> Home:
    home = Home(source.bare.parents[1] / "home", {str(source.clone): "PATH", source.url: "URL"})
    github = f"https://github.com/{GITHUB}"
    (home.path / ".gitconfig").write_text(f'[url "{source.url}"]\ninsteadOf = {github}.git\ninsteadOf = {github}\n')
    return home


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `client` runs with every client, from everything that it can install from."""
    if "client" in metafunc.fixturenames:
        pairs = [(kind, origin) for kind in CLIENTS for origin in kind.origins]
        names = [f"{kind.__name__}-{origin.replace(' ', '-')}" for kind, origin in pairs]
        metafunc.parametrize("client", pairs, ids=names, indirect=True)


@pytest.fixture
def client(home: Home, source: Source, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client that has done nothing yet; what it does goes into the record."""
    kind, origin = request.param
    row = {
        "client": kind.title,
        "version": kind.version(),
        "from": origin,
        "what": request.function.__name__.removeprefix("test_").replace("_", " "),
        "commands": home.commands,
    }
    request.node.user_properties.append(("round-trip", row))
    if not kind.installed():
        pytest.skip(f"{kind.title}: the lock has no program for this platform")
    yield kind(home, source, origin)
    row["commands"] = list(dict.fromkeys(home.commands))


@pytest.fixture
def file_server(source: Source) -> Iterator[str]:
    """The address under which the clone's files are served one by one."""
    handler = partial(SimpleHTTPRequestHandler, directory=source.clone)
    with serve(handler) as url:
        yield url
