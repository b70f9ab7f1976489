"""What a check says, and how it says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SEVERITIES = ("warning", "error")  # in rising order


class Problem(NamedTuple):
    """What a check yields: a message and a place, by default the top of the thing that was checked."""

    message: str
    line: int = 1
    column: int = 1
    path: str | None = None


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """A problem with everything a report needs. ``path`` is relative to the validated folder, lines count from 1."""

    path: str
    line: int
    column: int
    check: str
    severity: str
    message: str
    mend: str


class CannotRun(Exception):
    """The run makes no sense (a missing path, no skill): one line for the user and exit status 2."""
