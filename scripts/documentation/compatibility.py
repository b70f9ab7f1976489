"""The compatibility page, from what ``make matrix KEEP=1`` recorded."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from .sources import read

INTRODUCTION = """# Compatibility

The code of every page of the guide was imported, checked, migrated and run with each of these. ✓ means that all blocks
passed; a number says how many could not run there, because a package that they need is not out for it. – means that no
such installation exists.
"""


def page() -> str:
    """Python and Django by Celery, and what was left out."""
    rows: list[dict[str, Any]] = json.loads(read("docs/data/matrix.json"))
    cells = {(row["python"], row["django"], row["celery"]): row for row in rows}
    pythons, djangos, celeries = (sorted({key[at] for key in cells}, key=_numbers) for at in range(3))
    lines = [
        INTRODUCTION,
        f"| Python | Django | {' | '.join(f'Celery {celery}' for celery in celeries)} |",
        f"|---|---|{':-:|' * len(celeries)}",
    ]
    for python, django in product(pythons, djangos):
        found = [_cell(cells.get((python, django, celery))) for celery in celeries]
        lines.append(f"| {python} | {django} | {' | '.join(found)} |")
    lacking = sorted({package for row in rows for package in row["without"]})
    lines += (
        ["", f"Left out where it has no release for that Django and Python: {', '.join(lacking)}."] if lacking else []
    )
    lines += ["", "The audit needs Python 3.9 or newer and no package; its examples run on Python 3.9 to 3.14."]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    if row["result"] != "pass":
        return {"impossible": "–", "fail": "✕"}[row["result"]]
    lacking = row["counts"].get("lacking", 0)
    return f"✓ but {lacking}" if lacking else "✓"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
