"""A page's project: the shop skeleton with the page's titled Python blocks written into it, in order.

A block for a file that exists already is appended to it. A block that begins with ``# Wrong:`` shows what not to do and
stays out; one that begins with ``# Celery 5.7+`` or ``# Django 6.0+`` stays out of projects below that version.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from validate.document import Fence, parse

ROOT = Path(__file__).resolve().parents[2]
SKILL = ROOT / "skills" / "django-celery-expert"
SKELETON = Path(__file__).parent / "project"
PAGES = [SKILL / "SKILL.md", *sorted((SKILL / "references").glob("*.md"))]
FLOOR = re.compile(r"# (Celery|Django) (\d+)\.(\d+)\+")

# What runs inside a page's project: import every module the page wrote, then let Django look at the whole.
PROBE = """
import importlib, sys
import django
from django.core.management import call_command

django.setup()
for name in sys.argv[1:]:
    importlib.import_module(name)
call_command("makemigrations", "--check", "--dry-run", verbosity=0)
call_command("check", fail_level="WARNING")
from shop.celery import app

app.loader.import_default_modules()
app.finalize()
"""


@dataclass(frozen=True)
class Block:
    """A Python block of a page."""

    page: Path
    fence: Fence

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.fence.line}"

    @property
    def wrong(self) -> bool:
        return self.fence.content.startswith("# Wrong:")

    @property
    def runs_here(self) -> bool:
        """False below the version that the block's first line names."""
        floor = FLOOR.match(self.fence.content)
        if not floor:
            return True
        installed = tuple(int(part) for part in version(floor[1]).split(".")[:2])
        return installed >= (int(floor[2]), int(floor[3]))


def blocks(page: Path) -> list[Block]:
    """The page's Python blocks, in order."""
    document = parse(page.name, page.read_text())
    return [Block(page, fence) for fence in document.fences if fence.language == "python"]


def build(page: Path, folder: Path) -> list[str]:
    """Write the page's project into ``folder`` and return the names of the modules that the page wrote."""
    shutil.copytree(SKELETON, folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"), dirs_exist_ok=True)
    written: dict[str, None] = {}
    for block in blocks(page):
        if block.wrong or not block.runs_here or block.fence.title is None:
            continue
        path = folder / block.fence.title
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent != folder:
            (path.parent / "__init__.py").touch()
        with path.open("a") as file:
            file.write(f"\n\n{block.fence.content}")
        written[block.fence.title.removesuffix(".py").replace("/", ".")] = None
    _make_migrations(folder)
    return list(written)


def run(folder: Path, *command: str, settings: str = "shop.settings") -> subprocess.CompletedProcess[str]:
    """Run Python in a page's project with one of its settings modules."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"DJANGO_SETTINGS_MODULE": settings, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _make_migrations(folder: Path) -> None:
    """Give the models that the page adds their migrations, as its reader would."""
    done = run(folder, "manage.py", "makemigrations", "-v0")
    if done.returncode:
        raise AssertionError(f"{folder.name}: makemigrations failed\n{done.stderr}")
