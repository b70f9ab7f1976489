"""The command line. Exit status 0: clean, 1: findings, 2: could not run, or a rule failed on some file."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from io import TextIOWrapper
from typing import Callable

from . import baseline, config, report
from .audit import Result, audit, chosen
from .config import CannotRun
from .files import is_test
from .registry import RULES, SEVERITIES


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="celery_audit",
        description="Find mistakes in how a Django project uses Celery. It only reads; nothing audited is run.",
        epilog="Exit status: 0 clean, 1 findings, 2 could not run. `# noqa: DCE101` on a line silences a rule there. "
        "[tool.celery_audit] in pyproject.toml takes select, ignore, exclude, min-severity and baseline.",
    )
    add = arguments.add_argument
    add("path", nargs="*", default=["."], help="a project's folder (default: this one), or files and folders of one")
    add("--format", choices=("text", *report.FORMATS), default="text")
    add("--select", action="append", metavar="ID", help="only rules of these ids, beginnings of ids, or names")
    add("--ignore", action="append", metavar="ID", help="no rules of these ids, beginnings of ids, or names")
    add("--min-severity", choices=SEVERITIES)
    add("--exclude", action="append", metavar="GLOB", help="leave out files and folders of this name or path")
    add("--limit", type=_count, default=30, metavar="N", help="show so many findings in text (default: 30; 0: all)")
    add("--statistics", action="store_true", help="only the summary: findings by severity and rule")
    add("--baseline", metavar="FILE", help="report only what this file does not know")
    add("--write-baseline", metavar="FILE", help="write all findings to a file for --baseline, and report none")
    add("--list", action="store_true", help="name every rule")
    add("--explain", metavar="ID", help="say what a rule looks for, why, and how to mend it")
    add("--version", action="version", version=f"celery_audit {version()}")
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of findings; 0 shows all")
    return int(text)


def version() -> str:
    """The skill's version, which SKILL.md alone holds."""
    skill = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "SKILL.md")
    try:
        with open(skill, encoding="utf-8") as file:
            match = re.search(r"""(?m)^\s+version:\s*["']?([\w.+-]+)""", file.read(10_000))
    except (OSError, ValueError):
        match = None
    return match[1] if match else "(version unknown: no SKILL.md beside scripts/)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except CannotRun as error:
        print(f"celery_audit: {report.plain(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("celery_audit: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.explain:
        print(report.explain(_rule(options.explain), report.coloured(sys.stdout)))
        return 0
    if options.list:
        rules = chosen(_ids(options.select), _ids(options.ignore), options.min_severity or "info")
        print(report.listing(rules, report.coloured(sys.stdout)))
        return 0
    root = config.find_root(options.path)
    settings = config.read(root)
    place = f"{os.path.join(root, 'pyproject.toml')}: tool.celery_audit."
    select = _ids(options.select) or _ids(settings.get("select"), f"{place}select: ")
    ignore = _ids(options.ignore) or _ids(settings.get("ignore"), f"{place}ignore: ")
    severity = options.min_severity or settings.get("min-severity") or "info"
    known_file = options.baseline or (os.path.join(root, str(settings["baseline"])) if "baseline" in settings else "")
    known = baseline.read(known_file) if known_file and not options.write_baseline else Counter()

    rules = chosen(select, ignore, str(severity))
    result = audit(root, rules, _excluded(_split(options.exclude) or settings.get("exclude") or ()), report.progress)
    if not result.project.files.python and not result.project.files.text and not result.skipped:
        raise CannotRun(f"{root}: no Python and no deployment file; give a project's folder")
    within = _within(root, options.path)
    _restrict(result, within)
    ids = {rule.id for rule in rules}

    def looked_at(rule: str, path: str) -> bool:
        return rule in ids and within(path)

    if options.write_baseline:
        return _write_baseline(options.write_baseline, result, looked_at)
    result.findings, stale = baseline.new(result.findings, known, looked_at)
    view = report.View(
        result,
        root,
        version(),
        known=sum(known.values()) - sum(stale.values()),
        stale=stale,
        baseline=known_file,
        limit=options.limit,
        statistics=options.statistics,
    )
    if options.format == "text":
        print(report.text(view, report.coloured(sys.stdout)))
    else:
        print(report.FORMATS[options.format](view))
    if result.project.failures:
        return 2
    return 1 if result.findings else 0


def _write_baseline(path: str, result: Result, looked_at: Callable[[str, str], bool]) -> int:
    """A run that looked at less than everything keeps what the file knows of the rest."""
    before = baseline.read(path) if os.path.exists(path) else Counter()
    kept = Counter({key: n for key, n in before.items() if not looked_at(key[0], key[1])})
    number = baseline.write(path, result.findings, kept)
    name = report.plain(path)
    print(f"Wrote {report.plural(number, 'finding')} to {name}; --baseline {name} passes them.")
    for line in report.failed(result):
        print(line, file=sys.stderr)
    return 2 if result.project.failures else 0


def _split(values: Sequence[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _ids(values: object, place: str = "") -> list[str]:
    """Ids, beginnings of ids and names, comma-separated or repeated, as ids and their beginnings."""
    ids = []
    for value in _split(values):  # type: ignore[arg-type]
        id = _id(value)
        if not any(known.startswith(id) for known in RULES):
            raise CannotRun(f"{place}no rule is called or begins with {value!r}{_near(value)}; --list names them")
        ids.append(id)
    return ids


def _rule(value: str) -> str:
    id = _id(value)
    if id not in RULES:
        raise CannotRun(f"there is no rule {value!r}{_near(value)}; --list names them")
    return id


def _id(value: str) -> str:
    """The id of the rule with this name; anything else as an id, or as the beginning of some."""
    return next((rule.id for rule in RULES.values() if rule.name == value.lower()), value.upper())


def _near(value: str) -> str:
    names = [*RULES, *(rule.name for rule in RULES.values())]
    near = difflib.get_close_matches(value.lower(), names, 1) or difflib.get_close_matches(value.upper(), names, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _excluded(globs: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is left out: by the name of the file or folder, or, for a glob with a slash, by its path."""
    whole = [glob.strip("/") for glob in globs if "/" in glob.strip("/")]
    names = [glob.strip("/") for glob in globs if "/" not in glob.strip("/")]

    def excluded(path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(fnmatchcase(name, glob) for glob in names) or any(fnmatchcase(path, glob) for glob in whole)

    return excluded


def _within(root: str, paths: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path, relative to the root, is one of those asked for or stands in one."""
    base = os.path.abspath(root)
    asked = [os.path.relpath(os.path.abspath(path), base).replace(os.sep, "/") for path in paths]
    return lambda path: any(one == "." or path == one or path.startswith(f"{one}/") for one in asked)


def _restrict(result: Result, within: Callable[[str], bool]) -> None:
    """Keep what is about the paths that were asked for; the whole project was read to understand them."""
    result.findings = [finding for finding in result.findings if within(finding.path)]
    result.skipped = [place for place in result.skipped if within(place[0])]
    if not within("."):
        left_out = [path for path in result.project.files.python if is_test(path) and within(path)]
        result.skipped += [(path, 1, "test code, left out") for path in left_out]
