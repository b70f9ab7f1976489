"""The checks: functions found by decorator, fed by the names of their parameters, documented by their docstrings.

The first parameter names what a check looks at: ``document``, ``skill``, ``plugin``, ``manifest`` or ``tree``.
A check of ``document`` alone runs where the file is parsed (in parallel on a large tree); one that also asks for
``tree`` runs afterwards, when every document is known. One that asks for ``inspected`` counts there what it looked at.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from textwrap import dedent

from .findings import SEVERITIES, Finding, Problem

SUBJECTS = ("document", "skill", "plugin", "manifest", "tree")
SECTIONS = re.compile(r"^(Why|Mend|Bad|Good):[ \n]", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One check. Its docstring holds what, ``Why:``, ``Mend:``, and the examples ``Bad:`` and ``Good:``."""

    id: str
    severity: str
    function: Callable[..., Iterable[Problem]]

    @cached_property
    def asks(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.function).parameters)

    @cached_property
    def _sections(self) -> dict[str, list[str]]:
        doc = inspect.getdoc(self.function) or ""
        first, *rest = SECTIONS.split(doc)
        sections: dict[str, list[str]] = {"What": [first.strip()]}
        for name, body in zip(rest[::2], rest[1::2], strict=True):
            sections.setdefault(name, []).append(dedent(body).strip("\n"))
        return sections

    @property
    def what(self) -> str:
        return self._one("What")

    @property
    def why(self) -> str:
        return self._one("Why")

    @property
    def mend(self) -> str:
        return self._one("Mend")

    @property
    def bad(self) -> list[str]:
        return self._sections.get("Bad", [])

    @property
    def good(self) -> list[str]:
        return self._sections.get("Good", [])

    def _one(self, section: str) -> str:
        return " ".join(" ".join(self._sections.get(section, [])).split())

    def run(self, path: str, **subjects: object) -> Iterator[Finding]:
        """Run over one subject; ``path`` is where a problem stands that names no path itself."""
        for problem in self.function(**{name: subjects[name] for name in self.asks}):
            yield Finding(
                problem.path or path,
                problem.line,
                problem.column,
                self.id,
                self.severity,
                problem.message,
                self.mend,
            )


CHECKS: dict[str, Check] = {}
INSTALLED: dict[str, Check] = {}  # those that compare with installed packages: filled, and run, only on request


def check(id: str, severity: str = "error", among: dict[str, Check] = CHECKS) -> Callable[[Callable], Callable]:
    """Register a check under ``group/what-is-wrong``."""

    def register(function: Callable[..., Iterable[Problem]]) -> Callable[..., Iterable[Problem]]:
        entry = Check(id, severity, function)
        if id in CHECKS | INSTALLED or severity not in SEVERITIES or entry.asks[0] not in SUBJECTS:
            raise ValueError(f"check {id!r}: the id is taken, or its severity or subject is unknown")
        among[id] = entry
        return function

    return register


def known(installed: bool = False) -> dict[str, Check]:
    """The checks that a run may choose from."""
    return CHECKS | INSTALLED if installed else CHECKS


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = (), installed: bool = False) -> list[Check]:
    """The checks whose id starts with one of ``select`` (all, if empty) and with none of ``ignore``."""
    select, ignore = tuple(select), tuple(ignore)
    return [
        entry
        for id, entry in sorted(known(installed).items())
        if (not select or id.startswith(select)) and not (ignore and id.startswith(ignore))
    ]
