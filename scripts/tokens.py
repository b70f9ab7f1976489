"""What the skill costs: tokens (o200k) of the description, SKILL.md and each reference, in the README's table.

``python scripts/tokens.py`` rewrites the table, ``--check`` fails where it is out of date or a text is over its budget.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import bpe_openai
import yaml
from marks import replaced

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "skills" / "django-celery-expert"
BEGIN, END = "<!-- tokens: made by `make sync` -->", "<!-- tokens end -->"
# The most that a text may cost, in tokens. The reader pays for it on every use.
BUDGETS = {"description": 250, "SKILL.md": 1_800, "reference": 4_000}


def measure() -> list[tuple[str, int, int, int]]:
    """Name, bytes, tokens and budget of every text that a client loads."""
    encoding = bpe_openai.get_encoding("o200k_base")
    main = (SKILL / "SKILL.md").read_text()
    description = yaml.safe_load(main.split("---\n")[1])["description"]
    texts = {"description": (description, BUDGETS["description"]), "SKILL.md": (main, BUDGETS["SKILL.md"])}
    for page in sorted((SKILL / "references").glob("*.md")):
        texts[f"references/{page.name}"] = (page.read_text(), BUDGETS["reference"])
    return [(name, len(text.encode()), len(encoding.encode(text)), budget) for name, (text, budget) in texts.items()]


def table(rows: list[tuple[str, int, int, int]]) -> str:
    """The table as Markdown, with when each text is loaded."""
    when = {"description": "always", "SKILL.md": "when the skill is used"}
    lines = ["| text | loaded | bytes | tokens |", "|---|---|---:|---:|"]
    for name, size, tokens, _ in rows:
        lines.append(f"| {name} | {when.get(name, 'when its topic comes up')} | {size:,} | {tokens:,} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the table and return the exit status: 0 in order, 1 not, 2 could not run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the table is out of date")
    options = parser.parse_args(arguments)
    readme = ROOT / "README.md"
    rows = measure()
    old = readme.read_text()
    new = replaced(old, BEGIN, END, table(rows))
    if new is None:
        print(f"tokens: {readme}: the marks {BEGIN} and {END} are missing; put them back", file=sys.stderr)
        return 2
    problems = [f"{name}: {tokens:,} tokens, budget {budget:,}" for name, _, tokens, budget in rows if tokens > budget]
    if new != old and options.check:
        problems.append("README.md: the table of tokens is out of date; run `make sync`")
    elif new != old:
        readme.write_text(new)
        print("README.md: table of tokens mended")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
