"""What the search ranks: sections are found by what people see, and before the pages that speak about them."""

from __future__ import annotations

import re
from typing import Any

SECTION = re.compile(r"references/([\w-]+)/#([\w-]+)$")
CODE = re.compile(r"</?code>|`")
# By the beginning of a page's place; the rest counts once.
ABOUT = ("evidence/", "evaluations/", "evaluation-cases/", "round-trips/", "changelog/", "contributing/")
WEIGHTS = {"references/": 2} | dict.fromkeys(ABOUT, 0.05)


def ranked(entries: list[dict[str, Any]], symptoms: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The entries of the search, a section's symptoms in its title, where words count most and people read them."""
    found = []
    for entry in entries:
        weight = next((weight for start, weight in WEIGHTS.items() if entry["location"].startswith(start)), 1)
        section = SECTION.match(entry["location"])
        seen = symptoms.get("#".join(section.groups()), []) if section else []
        title = f"{entry['title']}: {CODE.sub('', '; '.join(seen))}" if seen else entry["title"]
        found.append(entry | {"title": title, "boost": weight})
    return found
