"""Projects of some files, written from the notation of the rules' examples, and what the audit says of them.

``=== path`` begins a file. A line that ends in ``# <- DCE101`` is where the rule must report; the mark
itself is not written.
"""

from __future__ import annotations

import re
from pathlib import Path

from celery_audit.audit import Finding, audit, chosen

MARK = re.compile(r"#\s*<-\s*(?P<ids>DCE\d{3}(?:\s*,\s*DCE\d{3})*)\s*$")


def write(folder: Path, example: str) -> dict[tuple[str, int], set[str]]:
    """Write the example's files into the folder; return the ids expected at each path and line that carries a mark."""
    expected: dict[tuple[str, int], set[str]] = {}
    for block in re.split(r"(?m)^(?==== )", example):
        if not block.strip():
            continue
        head, _, content = block.partition("\n")
        path = head.removeprefix("=== ").strip()
        lines = content.splitlines()
        for number, line in enumerate(lines, 1):
            if match := MARK.search(line):
                expected[path, number] = set(re.split(r"\s*,\s*", match["ids"]))
                lines[number - 1] = line[: match.start()].rstrip()
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
    return expected


def findings(folder: Path, *select: str) -> list[Finding]:
    """What the rules, or those that are selected, find in a folder."""
    result = audit(str(folder), chosen(select))
    assert not result.project.failures, "the audit raised on this code"
    return result.findings
