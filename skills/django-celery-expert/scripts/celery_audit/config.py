"""What a run is asked to do: where the project begins, and ``[tool.celery_audit]`` of its pyproject.toml."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .registry import SEVERITIES

# Which values a key of the section takes. The command line has an option of the same name, which wins.
KEYS = {"select": list, "ignore": list, "exclude": list, "min-severity": str, "baseline": str}
MARKS = ("manage.py", "pyproject.toml", ".git")


class CannotRun(Exception):
    """The run cannot be done; the message is one line that says what, where and how to mend it."""


def find_root(paths: Sequence[str]) -> str:
    """The folder to audit: the one that is given; for files, or several paths, the project they stand in."""
    for path in paths:
        if not os.path.lexists(path):
            raise CannotRun(f"{path}: no such file or folder; give a project's folder, or files of one project")
    if len(paths) == 1 and os.path.isdir(paths[0]):
        return paths[0]
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in map(os.path.abspath, paths)]
    start = folder = os.path.commonpath(folders)
    while not any(os.path.exists(os.path.join(folder, mark)) for mark in MARKS):
        above = os.path.dirname(folder)
        if above == folder:
            return start
        folder = above
    return folder


def git_root(folder: str) -> str | None:
    """The working tree around a folder, if any."""
    folder = os.path.abspath(folder)
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def read(root: str) -> dict[str, object]:
    """The section of the root's pyproject.toml, checked; empty without one."""
    path = os.path.join(root, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CannotRun(
            f"{path}: {error.strerror}; make it readable, the settings of this run may stand there"
        ) from None
    if b"celery_audit" not in content:
        return {}
    if sys.version_info < (3, 11):
        if b"tool.celery_audit" in content:
            version = "%d.%d" % sys.version_info[:2]  # noqa: UP031
            print(
                f"celery_audit: {path}: [tool.celery_audit] is not read by Python {version}; "
                "run the audit with Python 3.11 or newer, or give its settings as options",
                file=sys.stderr,
            )
        return {}
    import tomllib

    try:
        tool = tomllib.loads(content.decode("utf-8")).get("tool", {})
    except (ValueError, RecursionError) as error:
        raise CannotRun(f"{path}: {error}; mend it, the settings of this run stand there") from None
    section = tool.get("celery_audit", {}) if isinstance(tool, dict) else {}
    return _checked(section, f"{path}: tool.celery_audit")


def _checked(section: object, place: str) -> dict[str, object]:
    if not isinstance(section, dict):
        raise CannotRun(f"{place} must be a table with {', '.join(KEYS)}")
    for key, value in section.items():
        if key not in KEYS:
            raise CannotRun(f"{place} has no key {key!r}; it takes {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or (
            isinstance(value, list) and not all(isinstance(part, str) for part in value)
        ):
            raise CannotRun(f"{place}.{key} must be {'a list of texts' if KEYS[key] is list else 'a text'}")
    if section.get("min-severity", "info") not in SEVERITIES:
        raise CannotRun(f"{place}.min-severity must be one of {', '.join(SEVERITIES)}")
    return section
