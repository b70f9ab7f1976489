"""Findings as text for people and assistants, and as json, sarif and GitHub annotations for programs.

Text is bounded and tells what matters first: the summary, then the most severe findings, the rule's fix once.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO
from urllib.parse import quote

from . import baseline, config
from .audit import Finding, Result, lines_of
from .files import is_test
from .registry import RULES, SEVERITIES, Rule

RED, YELLOW, BLUE, GREEN = "\033[31m", "\033[33m", "\033[34m", "\033[32m"
DIM, BOLD, RESET = "\033[2m", "\033[1m", "\033[0m"
SHADES = {"error": RED, "warning": YELLOW, "info": BLUE}
WIDTH = 140  # of a line of code; what is longer is cut around its finding
FEW = 5  # skipped files, failures and stale entries that are named one by one
PAPER = 88  # columns of an explanation


@dataclass
class View:
    """A run and how it is to be shown."""

    result: Result
    root: str
    version: str
    known: int = 0  # findings that the baseline passed
    stale: Counter[tuple] = field(default_factory=Counter)  # what the baseline knows and is mended
    baseline: str = ""
    limit: int = 0
    statistics: bool = False

    @property
    def findings(self) -> list[Finding]:
        return self.result.findings


def coloured(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR asks not to; FORCE_COLOR asks to."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plural(number: int, word: str) -> str:
    if number != 1:
        word = f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith("ch") else f"{word}s"
    return f"{number:,} {word}"


def plain(text: str) -> str:
    """Text that no terminal obeys: control characters, and bytes of a name that are no UTF-8, as escapes."""
    if text.isprintable():
        return text
    text = os.fsencode(text).decode("utf-8", "backslashreplace") if _is_name(text) else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _is_name(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def progress(done: int, total: int, stream: TextIO = sys.stderr) -> None:
    """A line that counts, on a terminal only, and only where a run is long enough to wonder."""
    if total >= 500 and (done % 100 == 0 or done == total) and stream.isatty():
        stream.write(f"\rReading Python files {done:,}/{total:,}" + ("\r\033[K" if done == total else ""))
        stream.flush()


# Text.


class Paint:
    """Words in a colour, or as they are."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, code: str, words: str) -> str:
        return f"{code}{words}{RESET}" if self.colour and words else words


def text(view: View, colour: bool) -> str:
    """The summary, then the findings by rule, the most severe rules first."""
    paint = Paint(colour)
    groups = _groups(view.findings)
    lines = [*_summary(view, paint), *_table(groups, paint)]
    if not view.statistics:
        shares = _shares([len(found) for found in groups.values()], view.limit)
        for (rule, found), share in zip(groups.items(), shares):
            if share:
                lines += _group(view, rule, found, share, paint)
        hidden = len(view.findings) - sum(shares)
        if hidden:
            first = next(rule.id for (rule, found), share in zip(groups.items(), shares) if share < len(found))
            lines += [
                "",
                f"{plural(hidden, 'finding')} not shown: --limit 0 shows all, --select {first} those of a rule.",
            ]
    return "\n".join(lines)


def _groups(findings: Iterable[Finding]) -> dict[Rule, list[Finding]]:
    """The findings of each rule, the most severe rules first."""
    groups: dict[Rule, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    return dict(sorted(groups.items(), key=lambda item: (-SEVERITIES.index(item[0].severity), item[0].id)))


def _shares(counts: list[int], limit: int) -> list[int]:
    """How many findings of each rule are shown: all, or the limit, dealt out so that no rule hides another."""
    if not limit or sum(counts) <= limit:
        return counts
    shares = [0] * len(counts)
    while limit:
        for number, count in enumerate(counts):
            if limit and shares[number] < count:
                shares[number] += 1
                limit -= 1
    return shares


def _summary(view: View, paint: Paint) -> Iterator[str]:
    """What was found, what was looked at, and what was not."""
    result = view.result
    by_severity = Counter(finding.rule.severity for finding in view.findings)
    number = len(view.findings)
    if number:
        kinds = [plural(by_severity[s], s) if s != "info" else f"{by_severity[s]:,} info" for s in reversed(SEVERITIES)]
        kinds = [kind for kind in kinds if not kind.startswith("0 ")]
        said = paint(BOLD, f"{plural(number, 'finding')}: {', '.join(kinds)}")
    else:
        said = paint(GREEN, "No findings")
    tool = f"celery_audit {view.version}, {plural(len(result.rules), 'rule')}"
    yield f"{said} in {plain(os.path.abspath(view.root))} ({tool})"
    yield f"Looked at {_looked_at(result)}."
    if not has_celery(result):
        yield "No Celery found: nothing imports it, and no deployment file names it. Is this the project's folder?"
    if result.silenced:
        yield f"{plural(result.silenced, 'finding')} silenced by noqa."
    if view.baseline:
        yield f"{plural(view.known, 'finding')} known from {plain(view.baseline)}."
        if view.stale:
            stale = plural(sum(view.stale.values()), "finding")
            yield f"{stale} of it mended since; --write-baseline {plain(view.baseline)} forgets them:"
            yield from _few([f"{path}: {rule}" for rule, path, _ in sorted(view.stale)], view.limit)
    if result.skipped:
        yield f"{plural(len(result.skipped), 'path')} not looked at:"
        yield from _few([f"{shown(view, path)}:{line}: {why}" for path, line, why in result.skipped], view.limit)
    yield from (paint(RED, line) for line in failed(result, view.limit))


def _looked_at(result: Result) -> str:
    """How much there was to see, in words."""
    project = result.project
    tests = sum(map(is_test, project.files.python))
    parts = [f"{len(project.modules):,} that may use Celery", *([f"{tests:,} tests left out"] if tests else [])]
    things = [
        plural(len({id(task) for task in project.tasks.values()}), "task"),
        plural(sum(map(len, project.dispatches.values())), "dispatch"),
        plural(len(project.settings), "setting"),
        plural(len(project.beat), "schedule entry"),
    ]
    return (
        f"{plural(len(project.files.python), 'Python file')} ({', '.join(parts)}) and "
        f"{plural(len(project.text), 'deployment file')}: {', '.join(things)}"
    )


def has_celery(result: Result) -> bool:
    """Whether the project has anything to do with Celery, as far as the audit sees."""
    project = result.project
    return bool(project.tasks or project.apps or project.text) or any(
        name.partition(".")[0] in ("celery", "kombu") or name.startswith("django_celery")
        for module in project.modules
        for name in module.imports.values()
    )


def failed(result: Result, limit: int = FEW) -> list[str]:
    """What broke inside the audit: the one thing here that is no fault of the audited project."""
    failures = result.project.failures
    if not failures:
        return []
    lines = [f"{f.step} on {f.path or 'the project'}: {f.error}" for f in failures]
    return [
        f"{plural(len(failures), 'internal error')} of celery_audit; all else was looked at. Please report:",
        *_few(lines, limit),
    ]


def _few(lines: list[str], limit: int) -> list[str]:
    """The first of some lines, indented, and how many more there are."""
    most = FEW if limit else len(lines)
    more = [f"  … and {len(lines) - most:,} more (--limit 0)"] if len(lines) > most else []
    return [*(f"  {plain(line)}" for line in lines[:most]), *more]


def _table(groups: dict[Rule, list[Finding]], paint: Paint) -> Iterator[str]:
    if groups:
        yield ""
    width = max((len(rule.name) for rule in groups), default=0)
    for rule, found in groups.items():
        severity = paint(SHADES[rule.severity], f"{rule.severity:<7}")
        yield f"{len(found):>7,}  {severity}  {rule.id}  {rule.name:<{width}}".rstrip()


def _group(view: View, rule: Rule, found: list[Finding], share: int, paint: Paint) -> Iterator[str]:
    """What a rule means and how to mend it, once, and its first findings."""
    head = paint(BOLD + SHADES[rule.severity], f"{rule.id} {rule.name}")
    yield f"\n{head} ({rule.severity}): {rule.what}"
    yield f"Fix: {rule.fix}"
    yield paint(DIM, f"Read references/{rule.reference.replace('#', '.md#')}")
    for finding in found[:share]:
        place = f"{plain(shown(view, finding.path))}:{finding.line}:{finding.column}:"
        yield f"\n{paint(BOLD, place)} {paint(SHADES[rule.severity], rule.id)} {plain(finding.message)}"
        yield from _frame(finding, lines_of(view.result.project, finding.path), paint)
    if share < len(found):
        yield f"\n… and {len(found) - share:,} more of {rule.id}"


def shown(view: View, path: str) -> str:
    """A path as the reader can open it: from here, when the audited folder is here or below, else from that folder."""
    root = os.path.relpath(os.path.abspath(view.root))
    if root == "." or root.startswith(".."):
        return path or "."
    return f"{root}/{path}".replace(os.sep, "/")


def _frame(finding: Finding, lines: list[str], paint: Paint) -> Iterator[str]:
    """The line of a finding, marked, between its neighbours; common indentation is taken away."""
    if not 0 < finding.line <= len(lines) or not lines[finding.line - 1].strip():
        return
    around = range(max(1, finding.line - 1), min(len(lines), finding.line + 1) + 1)
    around = [n for n in around if lines[n - 1].strip()]
    indent = min(_indent(lines[n - 1]) for n in around)
    for number in around:
        line = lines[number - 1].rstrip()
        if number == finding.line:
            end = finding.end_column if finding.end_line == finding.line else len(line) + 1
            code = _cut(line, finding.column - 1, end - 1, indent, paint)
            yield f"{paint(RED, '>')}{number:>5} | {code}"
        else:
            yield paint(
                DIM, f"{number:>6} | {_visible(line[indent : indent + WIDTH])}{'…' * (len(line) > indent + WIDTH)}"
            )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _cut(line: str, start: int, end: int, indent: int, paint: Paint) -> str:
    """A line with its finding painted; of a long one the part around it."""
    begin = max(indent, start - WIDTH // 2) if len(line) - indent > WIDTH else indent
    stop = begin + WIDTH
    start, end = max(start, begin), min(end, stop)
    painted = [_visible(line[begin:start]), paint(RED, _visible(line[start:end])), _visible(line[end:stop])]
    return f"{'…' * (begin > indent)}{''.join(painted)}{'…' * (len(line) > stop)}"


def _visible(code: str) -> str:
    return plain(code.replace("\t", "    "))


# What a rule is.


def listing(rules: Iterable[Rule], colour: bool) -> str:
    """Every rule in a line, under the title of its group."""
    paint = Paint(colour)
    rules = list(rules)
    width = max((len(rule.name) for rule in rules), default=0)
    lines, group = [], ""
    for rule in rules:
        title = _title(rule)
        if title != group:
            lines += [*([""] if lines else []), paint(BOLD, title)]
            group = title
        severity = paint(SHADES[rule.severity], f"{rule.severity:<7}")
        lines.append(f"  {rule.id}  {severity}  {rule.name:<{width}}  {paint(DIM, rule.what)}")
    return "\n".join([*lines, "", f"{plural(len(rules), 'rule')}; --explain ID says why, and how to mend it."])


def _title(rule: Rule) -> str:
    """The first line of the group's module: ``DCE2xx: calls of tasks, and what they send``."""
    module = sys.modules.get(rule.function.__module__)
    doc = (module.__doc__ or "").strip() if module else ""
    return doc.split("\n")[0].rstrip(".") or f"DCE{rule.id[3]}xx"


def explain(id: str, colour: bool) -> str:
    """All that a rule's documentation holds."""
    rule, paint = RULES[id], Paint(colour)
    parts = [
        f"{paint(BOLD, f'{rule.id} {rule.name}')} ({paint(SHADES[rule.severity], rule.severity)}, since {rule.since})",
        _wrapped(rule.what),
    ]
    for title, body in (("Why", rule.why), ("Fix", rule.fix)):
        parts.append(f"{paint(BOLD, title)}\n{_wrapped(body[:1].upper() + body[1:], '  ')}")
    parts.append(f"{paint(BOLD, 'Read')}\n  references/{rule.reference.replace('#', '.md#')}")
    parts.append(f"{paint(BOLD, 'Source')}\n{_wrapped(rule.source, '  ')}")
    for title, examples, shade in (("Bad", rule.bad, RED), ("Good", rule.good, GREEN)):
        for example in examples:
            files = [part.strip("\n").partition("\n") for part in f"\n{example}".split("\n=== ") if part.strip("\n")]
            files = [f"{paint(DIM, f'# {name}')}\n{code}" for name, _, code in files]
            parts.append(f"{paint(BOLD + shade, title)}\n" + textwrap.indent("\n\n".join(files), "  "))
    parts.append(paint(DIM, f"Silence it on a line with `# noqa: {rule.id}`, everywhere with `--ignore {rule.id}`."))
    return "\n\n".join(parts)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, PAPER, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


# For programs.


def as_json(view: View) -> str:
    """The documented shape: ``version`` is raised when a key goes away or changes its meaning.

    ``summary`` counts by severity, ``rules`` holds each rule that found something, by id, with what, why and fix;
    ``findings`` stand in the order of path, line and column, which count from 1, columns in characters, the end
    exclusive. ``silenced`` by noqa, ``known`` from the baseline; ``stale`` is what the baseline knows and is mended.
    ``skipped`` was not looked at; ``failures`` are internal errors, and the exit status is 2. Paths are relative to
    ``root``, with slashes; bytes that are no UTF-8 are escaped.
    """
    result, project = view.result, view.result.project
    by_severity = Counter(finding.rule.severity for finding in view.findings)
    groups = _groups(view.findings)
    report = {
        "version": 1,
        "tool": {"name": "celery_audit", "version": view.version},
        "root": _text(os.path.abspath(view.root)),
        "celery": has_celery(result),
        "looked_at": {
            "python_files": len(project.files.python),
            "celery_files": len(project.modules),
            "deployment_files": len(project.text),
            "tasks": len({id(task) for task in project.tasks.values()}),
            "dispatches": sum(map(len, project.dispatches.values())),
            "settings": len(project.settings),
            "schedule_entries": len(project.beat),
        },
        "summary": {severity: by_severity[severity] for severity in reversed(SEVERITIES)},
        "rules": {
            rule.id: {
                "name": rule.name,
                "severity": rule.severity,
                "count": len(found),
                "what": rule.what,
                "why": rule.why,
                "fix": rule.fix,
                "reference": f"references/{rule.reference.replace('#', '.md#')}",
            }
            for rule, found in groups.items()
        },
        "findings": [
            {
                "rule": finding.rule.id,
                "severity": finding.rule.severity,
                "path": _text(finding.path),
                "line": finding.line,
                "column": finding.column,
                "end_line": finding.end_line,
                "end_column": finding.end_column,
                "message": finding.message,
                "code": finding.code[:WIDTH],
            }
            for finding in view.findings
        ],
        "silenced": result.silenced,
        "known": view.known,
        "stale": [{"rule": r, "path": _text(p), "count": n} for (r, p, _), n in sorted(view.stale.items())],
        "skipped": [{"path": _text(path), "line": line, "reason": why} for path, line, why in result.skipped],
        "failures": [{"path": _text(f.path), "step": f.step, "error": f.error} for f in project.failures],
    }
    return json.dumps(report, indent=2)


def _text(path: str) -> str:
    """A path whose bytes are no UTF-8 is escaped: JSON has no other way."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") if _is_name(path) else plain(path)


def sarif(view: View) -> str:
    """SARIF 2.1.0, as code scanning services read it; addresses are relative to the root of the git repository."""
    place = _base(view)
    rules = [
        {
            "id": rule.id,
            "name": rule.name.title().replace("-", ""),
            "shortDescription": {"text": rule.what},
            "fullDescription": {"text": rule.why},
            "help": {"text": f"{rule.fix} See references/{rule.reference.replace('#', '.md#')} of the skill."},
            "defaultConfiguration": {"level": _level(rule)},
        }
        for rule in view.result.rules
    ]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    notifications = [
        {"level": "warning", "message": {"text": why}, "locations": [_location(place, path, {"startLine": line})]}
        for path, line, why in view.result.skipped
    ] + [
        {"level": "error", "message": {"text": f"{f.step}: {f.error}"}, "locations": [_location(place, f.path or ".")]}
        for f in view.result.project.failures
    ]
    run = {
        "tool": {"driver": {"name": "celery_audit", "semanticVersion": _semantic(view.version), "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not view.result.project.failures,
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": [
            {
                "ruleId": finding.rule.id,
                "ruleIndex": index[finding.rule.id],
                "level": _level(finding.rule),
                "message": {"text": f"{finding.message}. {finding.rule.fix}"},
                "locations": [
                    _location(
                        place,
                        finding.path or ".",
                        {
                            "startLine": finding.line,
                            "startColumn": finding.column,
                            "endLine": finding.end_line,
                            "endColumn": finding.end_column,
                        },
                    )
                ],
                "partialFingerprints": {"celeryAudit/v1": baseline.fingerprint(finding)},
            }
            for finding in view.findings
        ],
    }
    if not run["tool"]["driver"]["semanticVersion"]:  # type: ignore[index]
        del run["tool"]["driver"]["semanticVersion"]  # type: ignore[attr-defined]
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def _semantic(version: str) -> str:
    return version if version[:1].isdigit() else ""


def _level(rule: Rule) -> str:
    return "note" if rule.severity == "info" else rule.severity


def _location(base: str, path: str, region: dict[str, int] | None = None) -> dict[str, object]:
    address = {"artifactLocation": {"uri": quote(os.fsencode(base + path) if _is_name(path) else path)}}
    return {"physicalLocation": {**address, **({"region": region} if region else {})}}


def _base(view: View) -> str:
    """What stands before a path so that it begins at the git repository's root, or else at this folder."""
    root = os.path.realpath(view.root)
    inside = os.path.relpath(root, os.path.realpath(config.git_root(root) or os.getcwd())).replace(os.sep, "/")
    return "" if inside == "." or inside.startswith("..") else f"{inside}/"


def github(view: View) -> str:
    """Workflow commands: GitHub shows each beside its line."""
    place = _base(view)
    lines = []
    for rule, found in _groups(view.findings).items():
        level = "notice" if rule.severity == "info" else rule.severity
        for finding in found:
            where = f"file={_escape(place + _text(finding.path), ',:')},line={finding.line},endLine={finding.end_line}"
            if finding.line == finding.end_line:
                where += f",col={finding.column},endColumn={finding.end_column}"
            message = _escape(f"{finding.message}. {rule.fix}")
            lines.append(f"::{level} {where},title={rule.id} {rule.name}::{message}")
    failures = [f"{failure.step} on {failure.path}: {failure.error}" for failure in view.result.project.failures]
    lines += [f"::error title=celery_audit failed::{_escape(failure)}" for failure in failures]
    return "\n".join([*lines, *_summary(view, Paint(False))])


def _escape(words: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        words = words.replace(character, f"%{ord(character):02X}")
    return plain(words)


FORMATS = {"json": as_json, "sarif": sarif, "github": github}
