"""The proofs' results, kept for the site: ``make proofs`` calls this with the lines that its run wrote.

``docs/data/evidence.json`` holds every proof with its claim, the sections it proves and, a run each, versions, outcome,
seconds and figures. ``--check`` writes nothing: it fails where a run and the kept record differ in more than versions,
seconds and figures. Exit status: 0 in order, 1 not, 2 could not run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "data" / "evidence.json"
VARIANT = re.compile(r"\[(.*)\]$")
Record = dict[str, Any]


def record(lines: list[Record]) -> Record:
    """The kept form of a run's lines: a proof for each test function, a run for each of its parameters."""
    proofs: dict[str, Record] = {}
    for line in sorted(lines, key=lambda line: line["proof"]):
        variant = VARIANT.search(line["proof"])
        name = VARIANT.sub("", line["proof"])
        proof = proofs.setdefault(
            name, {"proof": name, "claim": line["claim"], "sections": sorted(line["sections"]), "runs": []}
        )
        proof["runs"].append(
            {"variant": variant[1] if variant else ""}
            | {key: line[key] for key in ("versions", "outcome", "seconds", "figures")}
        )
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "platform": f"{platform.system()} {platform.machine()}", "proofs": list(proofs.values())}


def lasting(proof: Record) -> Record:
    """What another run must show again."""
    runs = [{key: run[key] for key in ("variant", "outcome")} for run in proof["runs"]]
    return {**proof, "runs": runs}


def differences(kept: Record, new: Record) -> list[str]:
    """The proofs that are missing, new, or differ in claim, sections or outcome."""
    old, now = ({proof["proof"]: lasting(proof) for proof in each["proofs"]} for each in (kept, new))
    return sorted(name for name in old.keys() | now.keys() if old.get(name) != now.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Keep or check a run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("lines", type=Path, help="what a run of tests/proofs wrote, a line of JSON a proof")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the kept record is out of step")
    options = parser.parse_args(arguments)
    try:
        new = record([json.loads(line) for line in options.lines.read_text().splitlines()])
        kept = json.loads(KEPT.read_text()) if options.check else new
    except (OSError, ValueError, KeyError) as error:
        print(f"evidence: {error}; run `make proofs`", file=sys.stderr)
        return 2
    if options.check:
        differing = differences(kept, new)
        print(
            "\n".join(f"{KEPT.relative_to(ROOT)}: {name} is not as recorded; run `make proofs`" for name in differing)
        )
        return 1 if differing else 0
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")
    print(f"{KEPT.relative_to(ROOT)}: {len(new['proofs'])} proofs kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
