"""One run: build the project, let every chosen rule look at it, drop what ``noqa`` silences.

A rule that raises is noted in ``Project.failures``, and the rest of the run goes on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

from . import rules as _rules  # noqa: F401  registers them
from .files import discover
from .module import Module, enclosing
from .project import BeatEntry, Dispatch, Project, Setting, Task, TextFile, build
from .registry import RULES, SEVERITIES, Problem, Rule

NOQA = re.compile(r"#\s*noqa(?![\w-])(?P<some>:\s*(?P<ids>[A-Z]+[0-9]*(?:[\s,]+[A-Z]+[0-9]+)*)?)?", re.IGNORECASE)
NOQA_ID = re.compile(r"[\s,]+")


class Finding(NamedTuple):
    """A problem with everything a report needs. ``path`` is relative to the root.

    Lines and columns count from 1, columns in characters; a function or class ends with its first line.
    """

    path: str
    line: int
    column: int
    rule: Rule
    message: str
    code: str  # the line's text, without its indentation
    end_line: int
    end_column: int


@dataclass
class Result:
    """What a run found, and what it could not look at."""

    project: Project
    rules: list[Rule]
    findings: list[Finding]
    silenced: int = 0  # by noqa
    skipped: list[tuple[str, int, str]] = field(default_factory=list)  # path, line, why: what was not looked at


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = (), min_severity: str = "info") -> list[Rule]:
    """The rules whose id starts with one of ``select`` (all, if empty), with none of ``ignore``, at least so severe."""
    select, ignore = tuple(select), tuple(ignore)
    least = SEVERITIES.index(min_severity)
    return [
        rule
        for id, rule in sorted(RULES.items())
        if (not select or id.startswith(select))
        and not (ignore and id.startswith(ignore))
        and SEVERITIES.index(rule.severity) >= least
    ]


def audit(
    root: str,
    rules: list[Rule],
    excluded: Callable[[str], bool] = lambda _: False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Result:
    """Audit a folder or a file; nothing in it is imported, executed or written."""
    files = discover(root, excluded)
    project = build(files, progress)
    result = Result(project, rules, [])
    found: set[Finding] = set()
    silenced: set[Finding] = set()
    for rule in rules:
        for subject, module, path in _subjects(project, rule):
            try:
                for problem in _look(rule, subject, module, project):
                    finding = _finding(rule, problem, path, project)
                    (silenced if _silenced(finding, problem.node, project) else found).add(finding)
            except Exception as error:  # noqa: PERF203  the other rules and files still count
                project.failed(path, rule.id, error)
    result.silenced = len(silenced)
    result.findings = sorted(found, key=lambda f: (f.path, f.line, f.column, f.rule.id, f.message))
    result.skipped = [*((path, 1, why) for path, why in files.problems.items()), *project.unparsed]
    return result


def _subjects(project: Project, rule: Rule) -> Iterator[tuple[object, Module | None, str]]:
    """What a rule looks at, with the module and path it stands in."""
    kind = rule.subject
    if kind is Project:
        yield project, None, ""
    elif kind is TextFile:
        for text in project.text:
            yield text, None, text.path
    elif kind is Task:
        for task in project.each_task:
            yield task, task.module, task.module.path
    elif kind in (Setting, BeatEntry):
        for subject in project.settings if kind is Setting else project.beat:
            yield subject, subject.module, subject.module.path
    else:
        for module in project.modules:
            subjects = project.dispatches[module] if kind is Dispatch else module.find(kind)  # type: ignore[type-var]
            for subject in subjects:
                yield subject, module, module.path


def _look(rule: Rule, subject: object, module: Module | None, project: Project) -> Iterable[Problem]:
    if rule.subject is Project:
        return rule.function(subject)
    if issubclass(rule.subject, ast.AST):
        return rule.function(subject, module, project)
    return rule.function(subject, project)


def _finding(rule: Rule, problem: Problem, path: str, project: Project) -> Finding:
    path = problem.path or path
    node = problem.node
    lines = lines_of(project, path)
    if isinstance(node, int):
        line, column, end_line, end_column = node, 1, node, len(_line(lines, node)) + 1
    else:
        line, column = node.lineno, _column(_line(lines, node.lineno), node.col_offset)  # type: ignore[attr-defined]
        end_line, end_offset = node.end_lineno or line, node.end_col_offset or 0  # type: ignore[attr-defined]
        end_column = _column(_line(lines, end_line), end_offset)
        if hasattr(node, "body"):
            end_line, end_column = line, len(_line(lines, line)) + 1
    return Finding(path, line, column, rule, problem.message, _line(lines, line).strip(), end_line, end_column)


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _column(line: str, offset: int) -> int:
    """The column in characters of an offset in bytes of UTF-8."""
    if line.isascii():
        return offset + 1
    return len(line.encode("utf-8", errors="replace")[:offset].decode("utf-8", errors="ignore")) + 1


def lines_of(project: Project, path: str) -> list[str]:
    """The lines of a file that was looked at."""
    if path.endswith(".py"):
        module = project.load(path)
        return module.lines if module else []
    return next((text.lines for text in project.text if text.path == path), [])


def _silenced(finding: Finding, node: ast.AST | int, project: Project) -> bool:
    """Whether a ``# noqa`` on the finding's line, or on the last of its statement, names the rule or nothing."""
    lines = lines_of(project, finding.path)
    for number in {finding.line, finding.end_line, _last_line(node)}:
        match = NOQA.search(_line(lines, number))
        if match and (not match["some"] or any(_names(id, finding.rule) for id in NOQA_ID.split(match["ids"] or ""))):
            return True
    return False


def _names(id: str, rule: Rule) -> bool:
    """Whether a code of a ``noqa`` is the rule's, or the beginning of it; ``D`` is another tool's."""
    return len(id) > 2 and rule.id.startswith(id.upper())


def _last_line(node: ast.AST | int) -> int:
    """Where the statement around a node ends, or, of one with a body, its head."""
    if isinstance(node, int):
        return node
    statement = node if isinstance(node, ast.stmt) else enclosing(node, ast.stmt)
    if statement is None:
        return 0
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        first = body[0]
        return max(statement.lineno, min(part.lineno for part in (first, *getattr(first, "decorator_list", ()))) - 1)
    return statement.end_lineno or 0
