"""The evidence page: each section of the references with its proofs; and the badges in the text."""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from typing import Any, NamedTuple

from validate.document import site_slug

from .load import section as load_section
from .sources import HEADING, REFERENCES, ROOT, SKILL, lines_of, read

Proof = dict[str, Any]
# Sections that recommend nothing of their own.
ABOUT = {"contents", "mistakes-to-look-for", "strategy-by-situation"}

INTRODUCTION = """# Evidence

Each recommendation of the guide was run on real servers, beside the way that it warns of: workers are killed, brokers
stopped and frozen, messages delivered twice. **{held} of {runs} runs of {proofs} proofs held** on {date}, {platform}.
{proven} of {sections} sections have proofs, {documented} rest on documentation. Run them yourself: `make proofs`."""


class Section(NamedTuple):
    """A second-level section of a reference; ``name`` is ``page#slug``."""

    name: str
    title: str

    @property
    def page(self) -> str:
        return self.name.partition("#")[0]

    @property
    def anchor(self) -> str:
        """Its anchor on the evidence page."""
        return self.name.replace("#", "--")


def sections() -> list[Section]:
    """Every section that recommends something."""
    found = []
    for page in REFERENCES:
        for line, fenced in lines_of(read(f"{SKILL}/references/{page}.md")):
            heading = None if fenced else HEADING.match(line)
            if heading and heading[1] == "##" and site_slug(heading[2]) not in ABOUT:
                found.append(Section(f"{page}#{site_slug(heading[2])}", heading[2]))
    return found


def documented() -> dict[str, dict[str, str]]:
    """The sections without a proof: ``source``, a link, and ``why`` no program shows it here."""
    return tomllib.loads(read("tests/proofs/by_documentation.toml"))


class Evidence:
    """What is known of each section."""

    def __init__(self) -> None:
        kept = ROOT / "docs" / "data" / "evidence.json"
        self.record: dict[str, Any] = json.loads(kept.read_text())
        self.documented = documented()
        self.proofs: dict[str, list[Proof]] = defaultdict(list)
        for proof in self.record["proofs"]:
            for section in proof["sections"]:
                self.proofs[section].append(proof)

    def badge(self, section: str) -> str:
        """What stands under a section's heading; empty for a section that recommends nothing."""
        anchor = section.replace("#", "--")
        if self.proofs[section]:
            count = len(self.proofs[section])
            label = f"{count} proof{'s' * (count != 1)}"
            return f"[{label}](../evidence.md#{anchor}){{ .badge .proven }}"
        if section in self.documented:
            return f"[by documentation](../evidence.md#{anchor}){{ .badge .documented }}"
        return ""

    def page(self) -> str:
        """The whole page."""
        known = sections()
        proven = sum(bool(self.proofs[section.name]) for section in known)
        outcomes = [run["outcome"] for proof in self.record["proofs"] for run in proof["runs"]]
        summary = INTRODUCTION.format(
            held=outcomes.count("held"),
            runs=len(outcomes),
            proofs=len(self.record["proofs"]),
            date=self.record["date"],
            platform=self.record["platform"],
            proven=proven,
            sections=len(known),
            documented=len(self.documented),
        )
        kept = ROOT / "docs" / "data" / "load.json"
        parts = [summary, load_section(json.loads(kept.read_text()))]
        for page in REFERENCES:
            parts.append(f"## {page} {{ #{page} }}")
            parts += [self._section(section) for section in known if section.page == page]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _section(self, section: Section) -> str:
        heading = f"### [{section.title}](references/{section.name.replace('#', '.md#')}) {{ #{section.anchor} }}"
        documented = self.documented.get(section.name)
        if documented:
            return f"{heading}\n\nBy documentation: <{documented['source']}>. {documented['why']}"
        rows = ["| held | what was shown | on | s |", "|---|---|---|---:|"]
        for proof in self.proofs[section.name]:
            rows += [_row(proof, run) for run in proof["runs"]]
        return f"{heading}\n\n" + ("\n".join(rows) if len(rows) > 2 else "No proof yet.")


def _row(proof: Proof, run: dict[str, Any]) -> str:
    held = "✓" if run["outcome"] == "held" else "✕ failed"
    figures = "; ".join(f"{name}: {_figure(value)}" for name, value in run["figures"].items())
    claim = proof["claim"] + (f" *{figures}*" if figures else "")
    place = proof["proof"].removeprefix("tests/proofs/")
    versions = ", ".join(run["versions"])
    return (
        f"| {held} | {claim.replace('|', chr(92) + '|')}<br><small>`{place}`</small> | {versions} | {run['seconds']} |"
    )


def _figure(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figure(inner)}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
