"""The command line: ``python scripts/validate [PATH]``. Exit status 0 clean, 1 findings, 2 could not run."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from . import report
from .findings import CannotRun, Finding
from .registry import Check, known
from .runner import Result, validate

PURPOSE = ("check", "page", "name", "reason")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="validate",
        description="Validate a skill folder, a plugin, or a repository of them.",
        epilog="Exit status: 0 clean, 1 findings, 2 could not run.",
    )
    arguments.add_argument("path", nargs="?", type=Path, default=Path(), help="the folder (default: this one)")
    arguments.add_argument("--format", choices=("text", *report.FORMATS), default="text")
    arguments.add_argument("--select", action="append", default=[], metavar="ID", help="only checks that begin so")
    arguments.add_argument("--ignore", action="append", default=[], metavar="ID", help="no checks that begin so")
    arguments.add_argument(
        "--installed", action="store_true", help="also compare every name with the installed Celery, Django and so on"
    )
    arguments.add_argument("--min-severity", choices=("warning", "error"), default="warning")
    arguments.add_argument("--statistics", action="store_true", help="count findings by check instead of listing them")
    arguments.add_argument("--list", action="store_true", help="name every check")
    arguments.add_argument("--explain", metavar="ID", help="say what a check looks for, why, and how to mend it")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except CannotRun as error:
        print(f"validate: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.installed:
        _load_installed()
    checks = known(options.installed)
    _known(options.select + options.ignore, checks)
    if options.list:
        print("\n".join(f"{id:<32} {check.severity:<8} {check.what}" for id, check in sorted(checks.items())))
        return 0
    if options.explain:
        print(_explain(options.explain, checks))
        return 0
    config = _config(options.path)
    result = validate(
        options.path,
        select=options.select,
        ignore=options.ignore,
        exclude=tuple(config.get("exclude", ())),
        installed=options.installed,
        progress=report.progress,
    )
    if not options.select:
        result.findings += _too_little(result, config.get("at-least", {}))
    if options.min_severity == "error":
        result.findings = [finding for finding in result.findings if finding.severity == "error"]
    name = options.path.resolve().name
    if options.statistics:
        print(report.summary(result.findings))
    elif options.format == "text":
        print(report.text(result, name, report.coloured(sys.stdout)))
    else:
        print(report.FORMATS[options.format](result, name))
    return 1 if result.findings else 0


def _load_installed() -> None:
    """Import, and so register, the checks that need the packages the skill writes about."""
    try:
        import django  # noqa: F401

        from .checks import names  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("celery", "kombu", "django"):
            raise
        raise CannotRun(
            f"--installed compares names with installed packages, and {error.name} is not: pip install celery[redis] "
            "django, or start validate with an interpreter that has them"
        ) from error


def _known(prefixes: list[str], checks: dict[str, Check]) -> None:
    for prefix in prefixes:
        if not any(id.startswith(prefix) for id in checks):
            raise CannotRun(f"no check begins with {prefix!r}; --list names them")


def _explain(id: str, checks: dict[str, Check]) -> str:
    if id not in checks:
        raise CannotRun(f"there is no check {id!r}; --list names them")
    check = checks[id]
    examples = [f"Bad:\n{bad}" for bad in check.bad] + [f"Good:\n{good}" for good in check.good]
    return "\n\n".join(
        [f"{check.id} ({check.severity})", check.what, f"Why: {check.why}", f"Mend: {check.mend}", *examples]
    )


def _config(root: Path) -> dict[str, object]:
    """``[tool.validate]`` of the validated folder's pyproject.toml: ``exclude``, ``at-least``, ``wrong-on-purpose``."""
    path = root / "pyproject.toml"
    if not os.path.isfile(path):
        return {}
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError, RecursionError) as error:
        raise CannotRun(f"{path}: {error}; mend it, the settings of this run stand there") from error
    config = tool.get("validate", {}) if isinstance(tool, dict) else {}
    if not isinstance(config, dict) or config.keys() - {"exclude", "at-least", "wrong-on-purpose"}:
        raise CannotRun(
            f"{path}: tool.validate must be a table with exclude, at-least and wrong-on-purpose and nothing else"
        )
    exclude, least = config.get("exclude", []), config.get("at-least", {})
    if not isinstance(exclude, list) or not all(isinstance(prefix, str) for prefix in exclude):
        raise CannotRun(f"{path}: tool.validate.exclude must be a list of paths")
    if not isinstance(least, dict) or not all(isinstance(number, int) for number in least.values()):
        raise CannotRun(f"{path}: tool.validate.at-least must be a table of numbers")
    purposes = config.get("wrong-on-purpose", [])
    if not isinstance(purposes, list) or not all(_is_purpose(entry) for entry in purposes):
        raise CannotRun(f"{path}: tool.validate.wrong-on-purpose must be tables of the texts {', '.join(PURPOSE)}")
    return config


def _is_purpose(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() <= set(PURPOSE)
        and all(isinstance(text, str) for text in entry.values())
    )


def _too_little(result: Result, least: dict[str, int]) -> list[Finding]:
    """A check that looked at nothing proves nothing: fewer things inspected than promised is a finding."""
    return [
        Finding(
            "pyproject.toml",
            1,
            1,
            "coverage/too-little",
            "error",
            f"{result.inspected[thing]:,} {thing} inspected, at least {number:,} promised",
            "See why they were not found, or lower tool.validate.at-least.",
        )
        for thing, number in least.items()
        if result.inspected[thing] < number
    ]
