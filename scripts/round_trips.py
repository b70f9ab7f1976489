"""Which client did what with the skill, and how it went: the README's table and the site's page, from one test run.

``make clients`` runs every client and calls this with the record of the run, which is kept as
``docs/data/round-trips.json``. ``--check`` writes nothing: it fails where the texts are not what the kept record says,
or where a new record differs from it in more than its date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from marks import replaced

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path("docs", "data", "round-trips.json")
PAGE = Path("docs", "round-trips.md")
BEGIN, END = "<!-- round trips: made by `make clients` -->", "<!-- round trips end -->"
Record = dict[str, Any]

# The README's columns, by what the tests are called.
COLUMNS = {
    "install and list": "installed, listed",
    "files arrive and the audit runs": "files whole, audit runs",
    "update": "updated",
    "second install": "installed twice",
    "repair": "repaired",
    "uninstall": "removed",
}
# No test runs these. What was checked in their stead is in tests/clients/.
NOT_RUN = {
    "Cursor": "a desktop program; `plugin.json` fits its schema, and the skills CLI's copy for it is whole",
    "Antigravity": "its program is on no registry; the skills CLI's copy for it is whole",
    "SkillHub": "its command is on no registry; following the links from SKILL.md fetches every page",
}


def combined(results: list[str]) -> str:
    """One word for several results: the first that is not `passed`."""
    return next((result for result in results if result != "passed"), "passed")


def clients(record: Record) -> dict[tuple[str, str], list[Record]]:
    """The rows of the record by client and version, in its order."""
    found: dict[tuple[str, str], list[Record]] = {}
    for row in record["rows"]:
        found.setdefault((row["client"], row["version"]), []).append(row)
    return found


def summary(record: Record) -> str:
    """The README's table: a line per client, a column per thing that it did."""
    lines = [
        f"Run on {record['date']} on {record['platform']}, in fresh home directories, without an account or a model.",
        "Each command is in [docs/round-trips.md](docs/round-trips.md).",
        "",
        f"| client | version | installed from | {' | '.join(COLUMNS.values())} |",
        f"|---|---|---|{'---|' * len(COLUMNS)}",
    ]
    for (client, version), rows in clients(record).items():
        origins = ", ".join(dict.fromkeys(row["from"] for row in rows))
        cells = [combined([row["result"] for row in rows if row["what"] == what]) for what in COLUMNS]
        lines.append(f"| {client} | {version} | {origins} | {' | '.join(cells)} |")
    lines += [f"| {client} | | | {' | '.join(['not run'] * len(COLUMNS))} |" for client in NOT_RUN]
    return "\n".join(lines)


def page(record: Record) -> str:
    """The site's page: every command once, with how the tests ended that ran it."""
    lines = [
        "# Round trips",
        "",
        f"Every command that `make clients` ran on {record['date']} on {record['platform']}, in fresh homes,",
        "without an account or a model. PATH is a clone whose path has spaces and letters beyond ASCII; URL is",
        "the same repository over HTTP; OWNER/REPO is GitHub's short form, which git's `insteadOf` led to that URL.",
        "A command passed when every test passed that ran it.",
        "",
        "| client | version | command | result |",
        "|---|---|---|---|",
    ]
    for (client, version), rows in clients(record).items():
        results: dict[str, list[str]] = {}
        for row in rows:
            for command in row["commands"] or ["(none)"]:
                results.setdefault(command, []).append(row["result"])
        lines += [f"| {client} | {version} | `{name}` | {combined(found)} |" for name, found in results.items()]
    lines += [f"| {client} | | | not run: {why} |" for client, why in NOT_RUN.items()]
    return "\n".join(lines) + "\n"


def with_summary(readme: str, record: Record) -> str | None:
    """The README with the table of this record, or None where its marks are missing."""
    return replaced(readme, BEGIN, END, summary(record))


def differences(kept: Record, new: Record) -> list[str]:
    """What another run did that the kept record does not say; its date may differ."""
    old, now = ({json.dumps(row, sort_keys=True) for row in record["rows"]} for record in (kept, new))
    rows = [json.loads(row) for row in sorted(now ^ old)]
    return [f"{row['client']} {row['version']}, {row['from']}, {row['what']}: {row['result']}" for row in rows]


def main(arguments: list[str] | None = None) -> int:
    """Write or check the texts and return the exit status: 0 in order, 1 not, 2 could not run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", nargs="?", type=Path, help="what a run of tests/clients wrote")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is out of step")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="the repository")
    options = parser.parse_args(arguments)
    kept = options.root / KEPT
    try:
        new = options.record and json.loads(options.record.read_text())
        record = json.loads(kept.read_text()) if options.check or not new else new
        problems = differences(record, new) if options.check and new else []
        readme = with_summary((options.root / "README.md").read_text(), record)
    except (OSError, ValueError, KeyError) as error:
        print(f"round_trips: {error}; run `make clients`", file=sys.stderr)
        return 2
    if readme is None:
        print(f"round_trips: README.md: the marks {BEGIN} and {END} are missing; put them back", file=sys.stderr)
        return 2
    texts = {
        KEPT: json.dumps(record, indent=1, ensure_ascii=False) + "\n",
        PAGE: page(record),
        Path("README.md"): readme,
    }
    for name, text in texts.items():
        path = options.root / name
        if path.is_file() and path.read_text() == text:
            continue
        if options.check:
            problems.append(f"{name}: is not what the record says")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{name}: written")
    print("\n".join(f"{problem}; run `make clients`" for problem in problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
