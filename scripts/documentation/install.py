"""The install page: the README's own words, its foldable clients as tabs."""

from __future__ import annotations

import re
from textwrap import indent

from .sources import read, section

CLIENT = re.compile(r"<details>\n<summary><strong>(.+?)</strong></summary>\n(.*?)</details>", re.DOTALL)


def page() -> str:
    """The README's section on installing, and how to help oneself."""
    text = section(read("README.md"), "Install")
    tabs = CLIENT.sub(lambda found: f'=== "{found[1]}"\n\n{indent(found[2].strip(), "    ")}\n', text)
    return f"# Install\n\n{tabs}\n\n#{read('docs/snippets/troubleshooting.md')}"  # one level further down
