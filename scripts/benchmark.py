"""Time ``scripts/validate`` on this repository and on a large tree, in one run.

``python scripts/benchmark.py [TREE]``: TREE is any repository with skills; without one, a tree of 400 skills is made
from this repository's own pages, each with a line that makes it differ from its copies. Machines are shared and noisy:
the best of several runs is reported, beside an empty Python process for scale.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "skills" / "django-celery-expert"
SKILLS = 400  # in the tree that is made


def best(command: list[str], rounds: int) -> float:
    """Seconds of the fastest of some runs of a whole process."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        times.append(time.perf_counter() - start)
    return min(times)


def make_tree(folder: Path) -> None:
    """Write skills of one page and one reference each, no two alike."""
    pages = sorted((SKILL / "references").glob("*.md"))
    for number in range(SKILLS):
        home = folder / "skills" / f"skill-{number}"
        (home / "references").mkdir(parents=True)
        (home / "SKILL.md").write_text(
            f"---\nname: skill-{number}\ndescription: Packs box {number}.\n---\n\nSee [page](references/page.md).\n"
        )
        page = pages[number % len(pages)]
        (home / "references" / "page.md").write_text(f"{page.read_text()}\nCopy {number}.\n")


def documents(tree: Path) -> tuple[int, int]:
    """How many Markdown files there are, and their bytes."""
    files = [path for path in tree.rglob("*.md") if path.is_file() and ".git" not in path.parts]
    return len(files), sum(path.stat().st_size for path in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tree", nargs="?", type=Path, help="a large repository with skills")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    made = None
    if options.tree is None:
        made = Path(tempfile.mkdtemp(prefix="skills-"))
        make_tree(made)
    tree = options.tree or made
    validate = [sys.executable, str(ROOT / "scripts" / "validate")]
    number, size = documents(tree)
    empty = best([sys.executable, "-c", ""], options.rounds)
    here = best([*validate, str(ROOT)], options.rounds)
    large = best([*validate, str(tree)], options.rounds)
    print(f"empty Python process     {empty:6.3f} s")
    print(f"validate this repository {here:6.3f} s")
    print(
        f"validate the large tree  {large:6.3f} s  "
        f"{number:,} files, {number / large:,.0f} files/s, {size / large / 1e6:.1f} MB/s"
    )
    if made:
        shutil.rmtree(made)


if __name__ == "__main__":
    main()
