#!/usr/bin/env python3
"""Write the audit's table of Celery's settings from installed versions of Celery.

    python scripts/audit_data.py /venv-5.5/bin/python /venv-5.6/bin/python /venv-5.7/bin/python

Each interpreter must have one minor version of Celery. The lists that no version declares (names that are read all the
same, that extensions read, that were removed) are kept by hand in the same file and stay as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

TABLE = Path(__file__).parents[1] / "skills/django-celery-expert/scripts/celery_audit/settings.json"
DUMP = """
import json, celery
from celery.app import defaults
print(json.dumps([celery.__version__, sorted(defaults.SETTING_KEYS), defaults._TO_OLD_KEY]))
"""


def declared(pythons: list[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The keys that each minor version added, and the old name of each key where it is not the key in capitals."""
    keys: dict[str, list[str]] = {}
    renamed: dict[str, str] = {}
    seen: set[str] = set()
    for python in pythons:
        run = subprocess.run([python, "-c", DUMP], capture_output=True, text=True, check=True)
        version, names, old = json.loads(run.stdout)
        keys[".".join(version.split(".")[:2])] = sorted(set(names) - seen)
        seen |= set(names)
        renamed.update({key: name for key, name in old.items() if name != key.upper()})
    return keys, dict(sorted(renamed.items()))


def compact(data: dict[str, object]) -> str:
    """JSON that is small and still readable in a difference: lists are filled lines, dicts one line an entry."""
    parts = [f"{json.dumps(key)}: {_part(value)}" for key, value in data.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _part(value: object) -> str:
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f" {json.dumps(key)}: {_part(inner)}" for key, inner in value.items()) + "\n}"
    if isinstance(value, list):
        words = ", ".join(json.dumps(inner) for inner in value)
        lines = textwrap.wrap(words, 116, break_long_words=False, break_on_hyphens=False)
        return "[\n" + "\n".join(f"  {line}" for line in lines) + "\n ]"
    return json.dumps(value)


def main(pythons: list[str]) -> None:
    data = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    data["keys"], data["renamed"] = declared(pythons)
    TABLE.write_text(compact(data))


if __name__ == "__main__":
    main(sys.argv[1:])
