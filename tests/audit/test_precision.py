"""Precision on public projects: what readers said of each finding, and the floors a rule must keep.

``precision.tsv`` has a row a finding that was read: project, commit, rule, place, ``true`` or ``false``, and why. All
findings of a rule were read, or thirty of them at random where there were more, by readers who had not written the
rule. True means that what the message says is so, and that a maintainer would agree that it is worth mending. What they
found false was mended where it could be, so the table is of rules that were tuned on these projects.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest
from celery_audit import rules  # noqa: F401  registers them
from celery_audit.registry import RULES

FLOOR, FLOOR_OF_A_RULE = 0.95, 0.80
FEW = 3  # fewer findings tell nothing of a rule
FIELDS = ("project", "commit", "rule", "place", "verdict", "why")
with (Path(__file__).parent / "precision.tsv").open(newline="") as file:
    ROWS = [dict(zip(FIELDS, row, strict=True)) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
BY_RULE: dict[str, list[bool]] = defaultdict(list)
for row in ROWS:
    BY_RULE[row["rule"]].append(row["verdict"] == "true")


def test_rows_are_whole() -> None:
    for row in ROWS:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row["project"]), row
        assert re.fullmatch(r"[0-9a-f]{40}", row["commit"]), row
        assert row["rule"] in RULES, row
        assert re.fullmatch(r".+:\d+", row["place"]), row
        assert row["verdict"] in ("true", "false"), row
        assert row["why"], row
    assert len({(row["project"], row["rule"], row["place"]) for row in ROWS}) == len(ROWS)


def test_at_least_eight_projects() -> None:
    assert len({row["project"] for row in ROWS}) >= 8


def test_over_all() -> None:
    verdicts = [verdict for found in BY_RULE.values() for verdict in found]
    assert sum(verdicts) / len(verdicts) >= FLOOR


@pytest.mark.parametrize("rule", sorted(rule for rule, verdicts in BY_RULE.items() if len(verdicts) >= FEW))
def test_no_rule_below_its_floor(rule: str) -> None:
    assert sum(BY_RULE[rule]) / len(BY_RULE[rule]) >= FLOOR_OF_A_RULE


def test_readme_tells_the_figures() -> None:
    true = sum(row["verdict"] == "true" for row in ROWS)
    projects = len({row["project"] for row in ROWS})
    readme = " ".join((Path(__file__).parents[2] / "README.md").read_text().split())
    assert f"{true} of {len(ROWS)} findings in {projects} public projects" in readme
