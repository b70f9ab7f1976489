"""What must hold of a copy of the skill, wherever a client has put it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from homes import Home
from sources import Source

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
CACHES = {"__pycache__"}

# The smallest project in which the audit has something to say: a setting's name is misspelt.
PROJECT = {
    "manage.py": "import django\n",
    "shop/__init__.py": "",
    "shop/settings.py": "INSTALLED_APPS = ['orders']\nCELERY_TASK_ACK_LATE = True\n",
    "shop/celery.py": "from celery import Celery\n\n"
    "app = Celery('shop')\napp.config_from_object('django.conf:settings', namespace='CELERY')\n",
    "orders/__init__.py": "",
    "orders/tasks.py": "from celery import shared_task\n\n\n@shared_task\ndef send(order):\n    order.save()\n",
}


def files_of(skill: Path) -> dict[str, bytes]:
    """The files of a copy; a link counts as what it points at."""
    return {
        path.relative_to(skill).as_posix(): path.read_bytes()
        for path in sorted(skill.rglob("*"))
        if path.is_file() and not CACHES.intersection(path.parts)
    }


def broken_links(skill: Path) -> list[str]:
    """The relative links of the copy's pages that lead nowhere, or out of the copy."""
    broken = []
    for page in skill.rglob("*.md"):
        for target in LINK.findall(page.read_text()):
            path = (page.parent / target).resolve()
            if not path.exists() or not path.is_relative_to(skill.resolve()):
                broken.append(f"{page.relative_to(skill)}: {target}")
    return broken


def audit(skill: Path, folder: Path) -> tuple[int, str]:
    """Exit status and output of the copy's audit on a small project: with a bare Python, away from the repository."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-I", "-B", "-S", skill / "scripts" / "celery_audit", folder]
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"
    return done.returncode, done.stdout


def left_behind(home: Home, source: Source) -> set[str]:
    """Files of the home that hold a file of the skill, or name the plugin in a client's settings."""
    contents = set(source.files().values()) - {b""}
    name = source.clone.name.encode()
    left = set()
    for path in home.path.rglob("*"):
        if path.is_file() and path.suffix in {".md", ".py"}:
            found = path.read_bytes() in contents
        else:
            settings = path.is_file() and path.suffix in {".json", ".jsonc", ".toml"}
            found = name in path.read_bytes() if settings else path.is_symlink() and path.name == source.clone.name
        if found:
            left.add(path.relative_to(home.path).as_posix())
    return left


def damage(skill: Path) -> None:
    """As a copy is that was cut off: the first page short, another missing."""
    page = skill / "SKILL.md"
    page.write_bytes(page.read_bytes()[:500])
    next((skill / "references").glob("*.md")).unlink()
