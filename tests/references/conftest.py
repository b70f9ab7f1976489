"""Collects the pages themselves: each Python block, version note and step of a page is a test, and fails at its line.

The projects run once, for all pages and both environments, when the first test process asks for an outcome: in the
newest environment, which is that of this interpreter, and in the oldest, which is made from its lock on first use.
"""

from __future__ import annotations

import fcntl
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from matrix import oldest
from pages import PAGES, SKELETON, Block, Claim, Environment, Note, Outcome, claims, prove

NAMES = ("newest", "oldest")
KINDS = {
    "executed": "executed",
    "wrong": "wrong on purpose and only compiled",
    "below": "below their version floor",
    "lacking": "without their package",
    "failed": "failed",
}


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    return Pages.from_parent(parent, path=file_path) if file_path.name == "pages.py" else None


class Pages(pytest.File):
    """Stands where pages.py is and holds the pages, which are elsewhere."""

    def collect(self) -> Iterator[pytest.Collector]:
        return (Page.from_parent(self, path=page) for page in (SKELETON, *PAGES))


class Page(pytest.File):
    """A page, or the skeleton."""

    def collect(self) -> Iterator[pytest.Item]:
        for name in NAMES:
            for claim in claims(self.path):
                yield ClaimItem.from_parent(self, name=f"{claim.line} {claim.name} [{name}]", claim=claim, where=name)


class ClaimItem(pytest.Item):
    def __init__(self, *, claim: Claim, where: str, **options) -> None:
        super().__init__(**options)
        self.claim, self.where = claim, where

    def runtest(self) -> None:
        environment, pages = proved(self.session)[self.where]
        outcome = pages[self.path][self.claim]
        self.user_properties.append(("claim", (type(self.claim).__name__, outcome.kind)))
        self.user_properties.append(("environment", environment))
        if outcome.kind == "failed":
            raise NotBorneOut(f"{outcome.message}\nin {environment}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, NotBorneOut) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.claim.line - 1, self.name


class NotBorneOut(Exception):
    """A claim of a page fails; says where."""


Proved = dict[str, tuple[str, dict[Path, dict[Claim, Outcome]]]]
PROVED = pytest.StashKey[Proved]()


def proved(session: pytest.Session) -> Proved:
    """Of each environment its versions and the outcomes of the selected pages, from whichever process asked first."""
    if PROVED not in session.stash:
        base: Path = session.config._tmp_path_factory.getbasetemp()
        if hasattr(session.config, "workerinput"):
            base = base.parent  # that of the whole session
        kept = base / "proved"
        with (base / "proved.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_bytes(pickle.dumps(_prove(session, base / "pages")))
        session.stash[PROVED] = pickle.loads(kept.read_bytes())
    return session.stash[PROVED]


def _prove(session: pytest.Session, folder: Path) -> Proved:
    selected = [item for item in session.items if isinstance(item, ClaimItem)]
    pages = [page for page in PAGES if any(item.path == page for item in selected)]

    def run(name: str) -> tuple[str, dict[Path, dict[Claim, Outcome]]]:
        environment = Environment(name, Path(sys.executable) if name == "newest" else oldest())
        return str(environment), prove(pages, folder / name, environment)

    names = [name for name in NAMES if any(item.where == name for item in selected)]
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that accounts for every block and every note."""
    reports = [report for group in terminalreporter.stats.values() for report in group if hasattr(report, "nodeid")]
    properties = [dict(report.user_properties) for report in reports if getattr(report, "when", "") == "call"]
    counts = Counter(found["claim"] for found in properties if "claim" in found)
    if not counts:
        return
    where = " and ".join(sorted({found["environment"] for found in properties if "environment" in found}))
    blocks = {kind: count for (claim, kind), count in counts.items() if claim == Block.__name__}
    notes = Counter({kind: count for (claim, kind), count in counts.items() if claim == Note.__name__})
    told = ", ".join(f"{blocks.get(kind, 0)} {words}" for kind, words in KINDS.items())
    terminalreporter.write_line(
        f"references: {sum(blocks.values())} Python blocks in {where}: {told}; {notes.total()} version notes: "
        f"{notes['checked']} checked, {notes['value']} about a value that older versions lack, "
        f"{notes['excepted']} excepted, {notes['failed']} failed"
    )
