"""Run the references' code on every pair of Celery and Django, with every Python of the machine: ``make matrix``.

    python scripts/matrix.py [--python 3.13] [--celery 5.7] [--django 6.1] [--json FILE]

A pair is impossible where the resolver says so. A package that a pair cannot take is left out, and the blocks that need
it are counted. Exit code 1 if a claim of a page fails, 2 if nothing could be run.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
OLDEST_LOCK = ROOT / "requirements-oldest.lock"
UV = Path(sys.executable).with_name("uv")  # the one that requirements-dev.lock names
REASON = re.compile(r"Because (.*?)(?:, we can conclude| and you require)", re.DOTALL)
VERSION = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"


class Unresolvable(Exception):
    """No set of versions satisfies the requirements; says why."""


def uv(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UV, "--quiet", *arguments], input=given, capture_output=True, text=True, check=False)


def pythons() -> dict[str, Path]:
    """The Pythons that really start, by minor version: those of the search path, then pyenv's newest patches."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [found for folder in folders for found in sorted(folder.glob("python3.[0-9]*"))]
    candidates += sorted(pyenv.glob("3.*/bin/python"), key=lambda path: _numbers(path.parts[-3]), reverse=True)
    found: dict[str, Path] = {}
    for candidate in candidates:
        try:
            done = subprocess.run([candidate, "-c", VERSION], capture_output=True, text=True, check=False, timeout=30)
        except OSError:
            continue
        if done.returncode == 0:
            minor, executable = done.stdout.split(maxsplit=1)
            found.setdefault(minor, Path(executable.strip()))
    return {minor: found[minor] for minor in sorted(found, key=_numbers) if _numbers(minor) >= (3, 10)}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def resolve(python: Path, requirements: list[str], *options: str) -> str:
    """The newest versions that fit together, as pins."""
    command = ("pip", "compile", "-", "--python", python, "--no-annotate", "--no-header", *options)
    done = uv(*command, given="\n".join(requirements))
    if done.returncode:
        reason = REASON.search(done.stderr)
        text = reason[1] if reason else done.stderr
        raise Unresolvable(" ".join(text.split()))
    return done.stdout


def resolve_most(python: Path, core: list[str], others: list[str]) -> tuple[str, dict[str, str]]:
    """Pins for the core with as many of the others as it can take, and why the rest had to stay out."""
    try:
        return resolve(python, core + others), {}
    except Unresolvable:
        pins = resolve(python, core)
    taken, without = [*core], {}
    for requirement in others:
        try:
            pins = resolve(python, [*taken, requirement])
            taken.append(requirement)
        except Unresolvable as reason:
            without[re.match(r"[\w-]+", requirement)[0]] = str(reason)
    return pins, without


def install(folder: Path, python: Path | str, pins: str, *options: str) -> Path:
    """A virtual environment with the pins and nothing else, made once; its interpreter."""
    interpreter, stamp = folder / "bin" / "python", folder / "pins.txt"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:  # several test processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == pins):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
                listed.write(pins)
                listed.flush()
                for command in (
                    ("venv", "--clear", "--python", python, folder),
                    ("pip", "install", "--no-deps", "--python", interpreter, *options, "-r", listed.name),
                ):
                    done = uv(*command)
                    if done.returncode:
                        raise RuntimeError(f"uv {command[0]} failed for {folder.name}:\n{done.stderr}")
            stamp.write_text(pins)
    return interpreter


def oldest() -> Path:
    """The interpreter of the oldest supported pair, as locked, for the Python that runs this."""
    minor = ".".join(map(str, sys.version_info[:2]))
    return install(TOOLS / f"oldest-{minor}", sys.executable, OLDEST_LOCK.read_text(), "--require-hashes")


@dataclass
class Row:
    """One line of the table."""

    python: str
    celery: str
    django: str
    result: str = "impossible"
    reason: str = ""
    seconds: float = 0
    without: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"Python {self.python}, Celery {self.celery}, Django {self.django}"


def run(row: Row, python: Path, others: list[str]) -> Row:
    """Fill in the row."""
    import pages

    core = [f"celery[redis]=={row.celery}.*", f"django=={row.django}.*"]
    try:
        pins, row.without = resolve_most(python, core, others)
    except Unresolvable as reason:
        row.reason = str(reason)
        return row
    name = f"python{row.python}-celery{row.celery}-django{row.django}"
    environment = pages.Environment(name, install(TOOLS / "matrix" / name, python, pins))
    row.reason = "; ".join(f"without {package}: {why}" for package, why in row.without.items())
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        proved = pages.prove(pages.PAGES, Path(folder), environment)
    outcomes = [outcome for page in proved.values() for outcome in page.values()]
    row.seconds = round(time.monotonic() - began, 1)
    row.counts = dict(Counter(outcome.kind for outcome in outcomes))
    row.failures = [outcome.message for outcome in outcomes if outcome.kind == "failed"]
    row.result = "fail" if row.failures else "pass"
    return row


def table(rows: list[Row]) -> str:
    """The rows as text, then each failure."""
    heads = ("Python", "Celery", "Django", "result", "executed", "wrong", "below", "lacking", "notes", "s", "remark")
    cells = [heads]
    for row in rows:
        counts = [row.counts.get(kind, 0) for kind in ("executed", "wrong", "below", "lacking", "checked")]
        numbers = [*counts, row.seconds] if row.counts else [""] * 6
        cells.append((row.python, row.celery, row.django, row.result, *map(str, numbers), row.reason))
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads) - 1)]
    lines = ["  ".join([cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)]) for line in cells]
    failures = [f"\n{row}: {text}" for row in rows for text in row.failures]
    return "\n".join([*(line.rstrip() for line in lines), *failures])


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    versions = project["tool"]["matrix"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="only this minor version")
    parser.add_argument("--celery", choices=versions["celery"])
    parser.add_argument("--django", choices=versions["django"])
    parser.add_argument("--json", type=Path, default=TOOLS / "matrix.json", help="the file for the rows")
    options = parser.parse_args()
    rows = []
    for minor, python in pythons().items():
        for celery in versions["celery"]:
            for django in versions["django"]:
                wanted = (options.python or minor, options.celery or celery, options.django or django)
                if wanted == (minor, celery, django):
                    row = run(Row(minor, celery, django), python, project["dependency-groups"]["references"])
                    rows.append(row)
                    print(f"{row}: {row.result} {row.reason}", file=sys.stderr)
    print(table(rows))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    if not any(row.counts for row in rows):
        return 2
    return int(any(row.failures for row in rows))


if __name__ == "__main__":
    sys.path.insert(1, str(ROOT / "tests" / "references"))
    sys.exit(main())
