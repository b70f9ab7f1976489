"""Findings as text for people, and as json, sarif and GitHub annotations for programs."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TextIO
from urllib.parse import quote

from .findings import Finding
from .runner import Result

RED, YELLOW, GREEN, DIM, BOLD, RESET = "\033[31m", "\033[33m", "\033[32m", "\033[2m", "\033[1m", "\033[0m"


def coloured(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR asks not to; FORCE_COLOR asks to."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def text(result: Result, name: str, colour: bool) -> str:
    """One line a finding, ``path:line:column: id message``, how to mend it below, and what was inspected."""

    def paint(code: str, words: str) -> str:
        return f"{code}{words}{RESET}" if colour else words

    lines = []
    for finding in result.findings:
        shade = RED if finding.severity == "error" else YELLOW
        place = f"{finding.path}:{finding.line}:{finding.column}:"
        lines.append(f"{paint(BOLD, place)} {paint(shade, finding.check)} {finding.message}")
        lines.append(paint(DIM, f"    {finding.mend}"))
    lines.append(f"Inspected {name}: {inspected(result.inspected)}; {len(result.checks)} checks.")
    if result.findings:
        count = Counter(finding.severity for finding in result.findings)
        lines.append(paint(RED, f"Found {plural(count['error'], 'error')} and {plural(count['warning'], 'warning')}."))
    else:
        lines.append(paint(GREEN, "No findings."))
    return "\n".join(lines)


def inspected(count: Counter[str]) -> str:
    """What was looked at, in words: '2 skills, 18 documents, …, 92 fences (python 60, bash 20)'."""
    things = ("skills", "plugins", "manifests", "documents", "headings", "links")
    parts = [plural(count[thing], thing[:-1]) for thing in things]
    by_language = Counter({key.removesuffix(" fences"): n for key, n in count.items() if key.endswith(" fences")})
    detail = ", ".join(f"{language} {n:,}" for language, n in by_language.most_common(6))
    fences = f"{by_language.total():,} fences{f' ({detail})' if detail else ''}"
    names = Counter({key.removeprefix("names/"): n for key, n in count.items() if key.startswith("names/")})
    by_kind = ", ".join(f"{kind} {n:,}" for kind, n in names.most_common())
    return ", ".join([*parts, fences, *([f"{plural(names.total(), 'name')} ({by_kind})"] if names else [])])


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def as_json(result: Result, name: str) -> str:
    findings = [_record(finding) for finding in result.findings]
    return json.dumps({"validated": name, "inspected": dict(result.inspected), "findings": findings}, indent=2)


def _record(finding: Finding) -> dict[str, object]:
    return {slot: getattr(finding, slot) for slot in Finding.__slots__}


def sarif(result: Result, _name: str) -> str:
    """SARIF 2.1.0, as code scanning services read it."""
    rules = [
        {
            "id": check.id,
            "shortDescription": {"text": check.what},
            "fullDescription": {"text": check.why},
            "help": {"text": check.mend},
            "defaultConfiguration": {"level": check.severity},
        }
        for check in result.checks
    ]
    results = [
        {
            "ruleId": finding.check,
            "level": finding.severity,
            "message": {"text": f"{finding.message}. {finding.mend}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(finding.path)},
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    }
                }
            ],
        }
        for finding in result.findings
    ]
    driver = {"name": "django-celery-expert validate", "rules": rules}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2)


def github(result: Result, name: str) -> str:
    """Workflow commands: GitHub shows each beside its line."""
    lines = [
        f"::{finding.severity} file={_escape(finding.path, ',:')},line={finding.line},col={finding.column},"
        f"title={_escape(finding.check, ',:')}::{_escape(f'{finding.message}. {finding.mend}')}"
        for finding in result.findings
    ]
    return "\n".join([*lines, f"Inspected {name}: {inspected(result.inspected)}."])


def _escape(words: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        words = words.replace(character, f"%{ord(character):02X}")
    return words


def progress(done: int, total: int, stream: TextIO = sys.stderr) -> None:
    """A line that counts, on a terminal only, and only where a run is long enough to wonder."""
    if total >= 500 and stream.isatty():
        end = "\r\033[K" if done == total else ""
        stream.write(f"\rReading documents {done:,}/{total:,}{end}")
        stream.flush()


FORMATS = {"json": as_json, "sarif": sarif, "github": github}


def summary(findings: Iterable[Finding]) -> str:
    """How often each check spoke, most first."""
    count = Counter(finding.check for finding in findings)
    return "\n".join(f"{n:>7,}  {check}" for check, n in count.most_common())
