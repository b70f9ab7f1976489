"""Waiting on a condition, with a deadline: no proof sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Late(AssertionError):
    """The condition did not come true in time."""


def until(condition: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """The first true value of ``condition``, asked again and again; `Late` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Late(f"not within {seconds} s: {what or condition.__doc__ or 'the condition'}")
        time.sleep(0.02)
    return value


def stays(condition: Callable[[], object], seconds: float, what: str = "") -> None:
    """Fail when ``condition`` turns false within ``seconds``: for what must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what}"
        time.sleep(0.05)
