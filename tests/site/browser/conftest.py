"""The site in Chromium, built for an address and served from a folder, as GitHub Pages does it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from built import build
from playwright.sync_api import Browser, expect, sync_playwright
from visiting import Visits

FOLDER = "guide"
# Nothing leaves the machine, whatever a page asks for.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_configure() -> None:
    if chromium() is None:
        raise pytest.UsageError("no Chromium found; on Debian: apt install chromium")
    expect.set_options(timeout=60_000)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of the built site, and its address."""
    root = tmp_path_factory.mktemp("served")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        address = f"http://127.0.0.1:{server.server_port}/{FOLDER}/"
        build(root / FOLDER, address)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield root / FOLDER, address
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def site(served: tuple[Path, str]) -> Path:
    return served[0]


@pytest.fixture(scope="module")  # a Chromium that dies takes only these tests along
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(served: tuple[Path, str], browser: Browser) -> Iterator[Visits]:
    """Opens a page; afterwards nothing may have gone wrong in the browser, and no other host been asked."""
    visits = Visits(browser, served[1])
    yield visits
    for context in visits.contexts:
        context.close()
    assert visits.wrong == []
