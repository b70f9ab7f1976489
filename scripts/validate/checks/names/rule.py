"""How a check of names is written: a generator that judges every name, the right ones too, so that they are counted.

``wrong-on-purpose`` in ``[tool.validate]`` of the validated folder's pyproject.toml names what a page is right to get
wrong ("is ignored", "does not exist"), with the reason; an entry that is no longer needed is a finding.
"""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from ...discover import Tree
from ...document import Document
from ...findings import Problem
from ...registry import INSTALLED, check
from .page import Mention, Page, read

RIGHT = ""
Verdict = tuple[Mention, str]  # what is wrong with the name, or RIGHT
Rule = Callable[[Page], Iterable[Verdict]]
CONFIG = "pyproject.toml"
RULES: dict[str, Rule] = {}


@dataclass(frozen=True)
class Purpose:
    """An entry of ``wrong-on-purpose``."""

    check: str = ""
    page: str = ""  # the end of the path
    name: str = ""
    reason: str = ""

    def covers(self, check: str, path: str, name: str) -> bool:
        return bool(self.reason) and (self.check, self.name) == (check, name) and self.on(path)

    def on(self, path: str) -> bool:
        return f"/{path}".endswith(f"/{self.page}")


def rule(id: str, severity: str = "error") -> Callable[[Rule], Rule]:
    """Register a generator of verdicts as a check of documents that counts what it judged."""

    def register(function: Rule) -> Rule:
        def run(document: Document, tree: Tree, inspected: Counter[str]) -> Iterator[Problem]:
            for mention, complaint in judge(function, document, tree):
                inspected[id] += 1
                if complaint and not any(entry.covers(id, document.path, mention.name) for entry in purposes(tree)):
                    yield Problem(complaint, mention.line, mention.column)

        run.__doc__ = function.__doc__
        RULES[id] = function
        check(id, severity, among=INSTALLED)(run)
        return function

    return register


def judge(function: Rule, document: Document, tree: Tree) -> Iterator[Verdict]:
    """A rule's verdicts; a name that is newer than what is installed, and says so, is right.

    A page that never says Celery is about something else, and its names are, too.
    """
    if "celery" not in document.text.lower():
        return
    page = read(document.text)
    page.held = {PurePosixPath(path).parent.name for path in tree.files if path.endswith("/__init__.py")}
    for mention, complaint in function(page):
        yield mention, RIGHT if complaint and page.newer(mention.line) else complaint


def near(name: str, names: Iterable[str]) -> str:
    """``"; did you mean …?"``, where there is something near."""
    close = difflib.get_close_matches(name, names, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""


def purposes(tree: Tree) -> list[Purpose]:
    try:
        return _purposes(tree.read(CONFIG).decode())
    except (OSError, UnicodeDecodeError):
        return []


@lru_cache(maxsize=8)
def _purposes(text: str) -> list[Purpose]:
    try:
        entries = tomllib.loads(text).get("tool", {}).get("validate", {}).get("wrong-on-purpose", [])
        return [Purpose(**entry) for entry in entries]
    except (ValueError, TypeError, AttributeError):  # the command line says what is wrong with it
        return []


@check("names/not-needed", among=INSTALLED)
def not_needed(tree: Tree, inspected: Counter[str]) -> Iterator[Problem]:
    """An entry of `wrong-on-purpose` that no page needs (any more), or one without a reason.

    Why: the name was mended or left the page; the entry would hide the next mistake of that name.
    Mend: Delete the entry from `[[tool.validate.wrong-on-purpose]]` in pyproject.toml, or give its reason.

    Bad:
        === pyproject.toml
        [[tool.validate.wrong-on-purpose]]
        check = "names/setting"
        page = "SKILL.md"
        name = "CELERY_TASK_ACK_LATE"
        reason = "The page says that it is ignored."
        === SKILL.md +
        Celery reads `CELERY_TASK_ACKS_LATE`.
    Bad:
        === pyproject.toml
        [[tool.validate.wrong-on-purpose]]
        check = "names/setting"
        page = "SKILL.md"
        name = "CELERY_TASK_ACK_LATE"
        === SKILL.md +
        Celery ignores `CELERY_TASK_ACK_LATE`.
    Good:
        === pyproject.toml
        [[tool.validate.wrong-on-purpose]]
        check = "names/setting"
        page = "SKILL.md"
        name = "CELERY_TASK_ACK_LATE"
        reason = "The page says that it is ignored."
        === SKILL.md +
        Celery ignores `CELERY_TASK_ACK_LATE`.
    """
    for entry in purposes(tree):
        inspected["names/not-needed"] += 1
        line = _line_of(tree, entry)
        if not entry.reason:
            yield Problem(f"wrong on purpose without a reason: {entry.name!r}", line, path=CONFIG)
        elif not _needed(entry, tree):
            yield Problem(f"{entry.check} does not complain of {entry.name!r} in {entry.page!r}", line, path=CONFIG)


def _needed(entry: Purpose, tree: Tree) -> bool:
    return entry.check in RULES and any(
        complaint and mention.name == entry.name
        for document in tree.documents.values()
        if entry.on(document.path)
        for mention, complaint in judge(RULES[entry.check], document, tree)
    )


def _line_of(tree: Tree, entry: Purpose) -> int:
    lines = tree.read(CONFIG).decode().splitlines()
    return next((number for number, line in enumerate(lines, 1) if f'"{entry.name}"' in line), 1)
