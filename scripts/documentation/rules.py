"""The audit's rules, a page a group, from the rules' own documentation."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from .sources import ROOT, SKILL, reference

sys.path.append(str(ROOT / SKILL / "scripts"))

from celery_audit import rules as groups
from celery_audit.registry import RULES, Rule

PRECISION = ROOT / "tests" / "audit" / "precision.tsv"
INTRODUCTION = """# Audit rules

`python scripts/celery_audit PROJECT`, run in the skill's folder, reads a Django project without importing or running it
and reports what these {count} rules find. Each rule has a proof on the installed Celery and Django or names its source,
examples that are run as tests, and at least five ways to write the mistake beside its right twin.

**In public projects**: of {read} findings that readers judged, {true} were true; the column says how many of each rule.
A rule without a number found nothing there. [Every finding with its reason](../../tests/audit/precision.tsv).

| rule | what it finds | severity | true of read |
|---|---|---|---:|
"""


def pages() -> Iterator[tuple[str, str]]:
    """The place of each page on the site, and its Markdown."""
    judged = _judged()
    read, true = (sum(found[key] for found in judged.values()) for key in ("read", "true"))
    index = [INTRODUCTION.format(count=len(RULES), read=read, true=true).rstrip()]
    for group, rules in by_group().items():
        for rule in rules:
            found = judged[rule.id]
            precision = f"{found['true']} of {found['read']}" if found["read"] else ""
            what = _cell(rule.what)
            index.append(f"| [{rule.id}]({group}.md#{anchor(rule)}) | {what} | {rule.severity} | {precision} |")
        yield f"audit/{group}.md", _group(group, rules)
    yield "audit/index.md", "\n".join(index) + "\n"


def by_group() -> dict[str, list[Rule]]:
    """Rules by the module they stand in, in the order of their ids."""
    found: dict[str, list[Rule]] = defaultdict(list)
    for _, rule in sorted(RULES.items()):
        found[rule.function.__module__.rpartition(".")[2]].append(rule)
    return found


def anchor(rule: Rule) -> str:
    return rule.id.lower()


def _judged() -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    with PRECISION.open(newline="", encoding="utf-8") as file:
        for _, _, rule, _, verdict, _ in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            found[rule] += Counter({"read": 1, "true": verdict == "true"})
    return found


def _group(name: str, rules: list[Rule]) -> str:
    """The page of one group; its title is the module's first line: "DCE1xx: publishing and …"."""
    ids, _, title = (getattr(groups, name).__doc__ or "").split("\n")[0].rstrip(".").partition(": ")
    parts = [f"# {title[:1].upper()}{title[1:]}", f"Rules {ids}. All rules: [audit rules](index.md)."]
    for rule in rules:
        parts.append(f"## {rule.id} {rule.name} {{ #{anchor(rule)} }}")
        facts = f"{rule.severity} · since {rule.since} · {reference(rule.reference, '../')}"
        parts.append(f"{facts}\n{{ .facts .{rule.severity} }}")
        parts.append(_prose(rule.what))
        parts.append(f"**Why.** {_prose(_sentence(rule.why))}")
        for verdict, examples in (("wrong", rule.bad), ("right", rule.good)):
            parts += [f'<div class="{verdict}" markdown>\n{_example(example)}\n</div>' for example in examples]
        parts.append(f"**Fix.** {_prose(_sentence(rule.fix))}")
        parts.append(f"**Evidence.** {_prose(rule.source)}")
    return "\n\n".join(parts) + "\n"


def _example(example: str) -> str:
    """An example's files as fenced blocks, each with its title."""
    files = [part.strip("\n").partition("\n") for part in f"\n{example}".split("\n=== ") if part.strip("\n")]
    return "\n".join(f'\n```{_language(path)} title="{path}"\n{code.strip(chr(10))}\n```' for path, _, code in files)


def _language(path: str) -> str:
    name = Path(path).name
    by_suffix = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash"}
    by_suffix |= {".ini": "ini", ".conf": "ini", ".cfg": "ini", ".service": "ini"}
    return by_suffix.get(Path(path).suffix, "docker" if name.startswith("Dockerfile") else "text")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _prose(text: str) -> str:
    """Text of a docstring, whose < and * are meant, as Markdown."""
    return "".join(
        part if at % 2 else re.sub(r"([<*_])", r"\\\1", part) for at, part in enumerate(re.split(r"(`[^`]*`)", text))
    )


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")
