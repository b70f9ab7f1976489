"""Tell whether the references were verified on the newest releases, and what those releases change: ``make freshness``.

    python scripts/freshness.py [OLD NEW]

What they were verified on are the versions of requirements-dev.lock, and the minor versions of the matrix. Newer ones
are asked of the package index; both Celery releases are then installed aside and compared by what scripts/facts.py
finds in them. Given OLD and NEW, two releases of Celery, it only compares these. Prints Markdown; exit code 0 for
fresh, 1 for drift, 2 if it could not tell.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from matrix import ROOT, Unresolvable, install, resolve

LOCK = ROOT / "requirements-dev.lock"
PIN = re.compile(r"^([\w-]+)(?:\[[\w,]+\])?==(\S+)", re.MULTILINE)
NAME = re.compile(r"[\w-]+")
PYTHON = "3.14"  # the newest that the references support: an older one would hide releases
FOLLOWED = ("kombu", "billiard", "redis", "amqp")  # not required by name, yet the pages speak of what they do


def pins(lock: str) -> dict[str, str]:
    """The newest version that a lock has of each package."""
    found: dict[str, str] = {}
    for name, version in PIN.findall(lock):
        found[name] = max(found.get(name, version), version, key=_numbers)
    return found


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def verified() -> dict[str, str]:
    """The locked versions of what the references import and speak of."""
    references = project()["dependency-groups"]["references"]
    locked = pins(LOCK.read_text())
    names = ("celery", "django", *(NAME.match(line)[0] for line in references), *FOLLOWED)
    return {name: locked[name] for name in names}


def newest(names: Iterable[str]) -> dict[str, str]:
    """The newest release of each package, each by itself: one that pins another must not hide it."""
    options = ("--no-deps", "--python-version", PYTHON)
    return {name: pins(resolve(Path(sys.executable), [name], *options))[name] for name in names}


def drift(have: Mapping[str, str], released: Mapping[str, str], matrix: Mapping[str, list[str]]) -> list[str]:
    """The packages with a release that nothing was verified on: neither the lock's version nor a pair of the matrix."""
    drifted = []
    for name, version in have.items():
        minor = ".".join(released[name].split(".")[:2])
        in_matrix = minor in matrix.get(name, ()) and not version.startswith(f"{minor}.")
        if _numbers(version) < _numbers(released[name]) and not in_matrix:
            drifted.append(name)
    return drifted


def facts(*requirements: str) -> dict:
    """What a release of Celery offers."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = resolve(Path(sys.executable), [*requirements, "django"])
        python = install(Path(folder, "celery"), sys.executable, pinned)
        command = [python, ROOT / "scripts" / "facts.py", "--deprecations"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def facts_of(versions: Mapping[str, str]) -> dict:
    return facts(f"celery[redis]=={versions['celery']}", f"kombu=={versions['kombu']}")


def flat(found: Mapping[str, object]) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Section, name and properties of everything that can come, go or change."""
    for section, content in found.items():
        if section == "distributions":
            continue
        for name in content:
            if section == "command-line options":
                for option in content[name]:
                    yield section, f"{name} {option}", {}
            else:
                yield section, name, content[name] if isinstance(content, Mapping) else {}


def changes(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, list[str]]:
    """What was added, removed and changed, as lines of Markdown by section."""
    before = {(section, name): properties for section, name, properties in flat(old)}
    after = {(section, name): properties for section, name, properties in flat(new)}
    told: dict[str, list[str]] = {}
    for section, name in [*after, *(key for key in before if key not in after)]:
        was, now = before.get((section, name)), after.get((section, name))
        if was is None:
            told.setdefault(section, []).append(f"`{name}` added")
        elif now is None:
            told.setdefault(section, []).append(f"`{name}` removed")
        elif differences := [f"{key} {was[key]} → {now[key]}" for key in now if was[key] != now[key]]:
            told.setdefault(section, []).append(f"`{name}` changed: {', '.join(differences)}")
    return told


def report(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """The changes between two releases as Markdown."""
    lines = [f"## Celery {old['distributions']['celery']} → {new['distributions']['celery']}", ""]
    for section, told in changes(old, new).items():
        lines += [f"### {section[0].upper()}{section[1:]}", "", *(f"- {line}" for line in told), ""]
    return "\n".join(lines if len(lines) > 2 else [*lines, "No setting, option or deprecation changed.", ""])


def main(arguments: list[str]) -> int:
    if arguments:
        old, new = (facts(f"celery[redis]=={version}") for version in arguments)
        print(report(old, new))
        return int(bool(changes(old, new)))
    have = verified()
    released = newest(have)
    drifted = drift(have, released, project()["tool"]["matrix"])
    if not drifted:
        print(f"Fresh: the references were verified on the newest releases of {', '.join(have)}.")
        return 0
    print("# The references were verified on older releases\n\n| package | verified on | newest |\n|---|---|---|")
    for name in drifted:
        print(f"| {name} | {have[name]} | {released[name]} |")
    print("\nNext: `make lock`, `make test`, `make matrix`; then mend what the changes make untrue.\n")
    if {"celery", "kombu"} & set(drifted):
        print(report(facts_of(have), facts_of(released)))
    return 1


def run(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except (Unresolvable, RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        print(f"freshness: could not tell: {error!r}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
