"""The rules: functions found by decorator, fed with what their first parameter is annotated with.

A rule is a generator of `Problem`. Its first parameter says what it looks at: an AST node class (``call: ast.Call``),
`Task`, `Dispatch`, `Setting`, `BeatEntry`, `TextFile`, or `Project` for the whole; a second one, ``project``, is there
for all but the last, and a rule on AST nodes gets ``module`` between the two. Its docstring is its documentation.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from textwrap import dedent
from typing import Callable, NamedTuple

SEVERITIES = ("info", "warning", "error")  # in rising order
SECTIONS = re.compile(r"^(Why|Fix|Source|Bad|Good):[ \n]", re.MULTILINE)


class Problem(NamedTuple):
    """What a rule yields: one line without a full stop, and where: an AST node, or a line number in a text file."""

    message: str
    node: ast.AST | int
    path: str | None = None  # when not the subject's own file


@dataclass(frozen=True)
class Rule:
    """One rule. The docstring holds what, ``Why:``, ``Fix:``, ``Source:`` (what proves it), ``Bad:`` and ``Good:``."""

    id: str
    name: str
    severity: str
    reference: str  # page#section of the skill's references
    function: Callable[..., Iterable[Problem]]
    since: str = "0.2.0"  # the release that brought it

    @cached_property
    def subject(self) -> type:
        """What the rule looks at."""
        first = next(iter(inspect.signature(self.function).parameters))
        return typing.get_type_hints(self.function)[first]

    @cached_property
    def _sections(self) -> dict[str, list[str]]:
        doc = inspect.getdoc(self.function) or ""
        first, *rest = SECTIONS.split(doc)
        sections: dict[str, list[str]] = {"What": [first.strip()]}
        for name, body in zip(rest[::2], rest[1::2]):
            sections.setdefault(name, []).append(dedent(body).strip("\n"))
        return sections

    @property
    def what(self) -> str:
        return self._one("What")

    @property
    def why(self) -> str:
        return self._one("Why")

    @property
    def fix(self) -> str:
        return self._one("Fix")

    @property
    def source(self) -> str:
        return self._one("Source")

    @property
    def bad(self) -> list[str]:
        return self._sections.get("Bad", [])

    @property
    def good(self) -> list[str]:
        return self._sections.get("Good", [])

    def _one(self, section: str) -> str:
        return " ".join(" ".join(self._sections.get(section, [])).split())


RULES: dict[str, Rule] = {}


def rule(id: str, name: str, severity: str, reference: str, since: str = Rule.since) -> Callable[[Callable], Callable]:
    """Register a rule under ``DCE`` and three digits; the first digit is its group's."""

    def register(function: Callable[..., Iterable[Problem]]) -> Callable[..., Iterable[Problem]]:
        if id in RULES or severity not in SEVERITIES or not re.fullmatch(r"DCE\d{3}", id):
            raise ValueError(f"rule {id!r}: the id is taken or malformed, or its severity is unknown")
        RULES[id] = Rule(id, name, severity, reference, function, since)
        return function

    return register
