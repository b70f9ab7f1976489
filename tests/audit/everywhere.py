"""Run every example of every rule on this interpreter, without pytest: ``python3.9 tests/audit/everywhere.py``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "skills/django-celery-expert/scripts")]

from celery_audit import rules  # noqa: E402, F401  registers them
from celery_audit.registry import RULES  # noqa: E402
from trees import findings, write  # noqa: E402


def main() -> int:
    wrong, number = [], 0
    for rule in RULES.values():
        for kind in ("bad", "good"):
            for example in getattr(rule, kind):
                number += 1
                with tempfile.TemporaryDirectory() as folder:
                    write(Path(folder), example)
                    found = [finding for finding in findings(Path(folder)) if finding.rule is rule]
                if bool(found) != (kind == "bad"):
                    wrong.append(f"{rule.id}: {kind} example: {len(found)} findings")
    print("\n".join([*wrong, f"Python {sys.version.split()[0]}: {number} examples of {len(RULES)} rules"]))
    return 1 if wrong or not number else 0


if __name__ == "__main__":
    sys.exit(main())
