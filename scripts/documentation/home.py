"""The facts of the catalogue, from where they are kept."""

from __future__ import annotations

import re

import yaml

from .sources import SKILL, project, read

TOKENS = re.compile(r"^\| (\S.*?) \| .+? \| [\d,]+ \| ([\d,]+) \|$", re.MULTILINE)
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", re.MULTILINE)


def facts() -> str:
    """The table of facts: for whom, where it works, licence, version, sizes."""
    about = project()
    header = yaml.safe_load(read(f"{SKILL}/SKILL.md").split("---\n")[1])
    version, date = next(found.groups() for found in RELEASE.finditer(read("CHANGELOG.md")))
    size = dict(TOKENS.findall(read("README.md")))
    references = [int(tokens.replace(",", "")) for name, tokens in size.items() if name.startswith("references/")]
    rows = {
        "Best for": "Django teams whose tasks must not be lost, doubled or late",
        "Works across": "Claude Code, Codex CLI, Gemini CLI, OpenCode and what the skills CLI writes for "
        "([round trips](round-trips.md))",
        "Made for": header["compatibility"],
        "Version": f"{version}, {date} ([changes](changelog.md))",
        "Licence": about["license"],
        "Costs": f"{size['description']} tokens always, {size['SKILL.md']} when used, and up to "
        f"{max(references):,} for each of {len(references)} references that is read whole",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| **{name}** | {value} |" for name, value in rows.items())])
