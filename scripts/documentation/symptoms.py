"""The decision page's symptoms, by the section they lead to: the page is docs/symptoms.md, written by hand."""

from __future__ import annotations

import re
from collections import defaultdict

from .sources import LINK, read

ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+) \|$")
TARGET = re.compile(r"references/([\w-]+)\.md#([\w-]+)$")


def by_section() -> dict[str, list[str]]:
    """What people see, by ``page#section``: for readers who come from the search, and for the search."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in read("docs/symptoms.md").splitlines():
        row = ROW.match(line)
        if row is None:
            continue
        for _, target in LINK.findall(row[3]):
            section = TARGET.search(target)
            if section:
                found["#".join(section.groups())].append(row[1])
    return found
