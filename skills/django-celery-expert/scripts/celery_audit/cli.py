"""The command line. Exit status 0: clean, 1: findings, 2: could not run."""

from __future__ import annotations

import argparse
import sys

from .audit import audit, chosen


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="celery_audit")
    parser.add_argument("path")
    parser.add_argument("--select", action="append", default=[])
    options = parser.parse_args(argv)
    result = audit(options.path, chosen(options.select))
    for f in result.findings:
        print(f"{f.path}:{f.line}:{f.column}: {f.rule.id} {f.message}")
        print(f"    {f.code}")
    for path, line, why in result.skipped:
        print(f"{path}:{line}: {why}", file=sys.stderr)
    return 1 if result.findings else 0
