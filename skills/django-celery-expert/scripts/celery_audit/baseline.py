"""Findings that a project knows already. A finding is recognized by its rule, its path and its line's text.

So it stays known where lines move; each copy counts, so a second one on an equal line is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable

from .audit import Finding
from .config import CannotRun

FORM = 1
Key = tuple  # of rule, path and line


def fingerprint(finding: Finding) -> str:
    """The line's text as a short hash: blanks do not count, and no secret is copied into the baseline."""
    text = " ".join(finding.code.split())
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:16]


def _key(finding: Finding) -> Key:
    return finding.rule.id, finding.path, fingerprint(finding)


def read(path: str) -> Counter[Key]:
    """How often each finding of a baseline file may occur."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise CannotRun(f"{path}: no such file; --write-baseline {path} makes it") from None
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}; make it readable, or leave --baseline out") from None
    except (ValueError, RecursionError) as error:
        raise CannotRun(f"{path}: not JSON: {error}; write it anew with --write-baseline {path}") from None
    entries = content.get("findings") if isinstance(content, dict) and content.get("celery_audit") == FORM else None
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise CannotRun(f"{path}: not a baseline of this version; write it anew with --write-baseline {path}")
    known: Counter[Key] = Counter()
    for entry in entries:
        known[entry["rule"], entry["path"], entry["line"]] += entry["count"]
    return known


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("rule", "path", "line"))
        and isinstance(entry.get("count"), int)
        and entry["count"] > 0
    )


def new(
    findings: Iterable[Finding], known: Counter[Key], looked_at: Callable[[str, str], bool]
) -> tuple[list[Finding], Counter[Key]]:
    """The findings that are not known, and what is known and was not found again where this run looked.

    ``looked_at`` says whether the run looked for a rule at a path.
    """
    left = Counter(known)
    fresh = []
    for finding in findings:
        key = _key(finding)
        if left[key] > 0:
            left[key] -= 1
        else:
            fresh.append(finding)
    return fresh, Counter({key: n for key, n in left.items() if n > 0 and looked_at(key[0], key[1])})


def write(path: str, findings: Iterable[Finding], kept: Counter[Key]) -> int:
    """Write all findings, and what is ``kept`` of the file before; one line each, in order, so that merges are easy."""
    count = Counter(kept)
    count.update(_key(finding) for finding in findings)
    entries = [{"rule": r, "path": p, "line": h, "count": n} for (r, p, h), n in sorted(count.items())]
    lines = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
    text = f'{{\n "celery_audit": {FORM},\n "findings": [\n{lines}\n ]\n}}\n'
    try:
        folder = os.path.dirname(os.path.abspath(path))
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".celery_audit-")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}; give a file in a folder that can be written to") from None
    return sum(count.values())
