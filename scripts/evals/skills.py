"""Skills of the arms: laying one into a home, and telling whether a run has read one that it must not know."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from .cases import BadCase
from .clients import Outcome, events, words

SKILL_TOOLS = {"skill", "activate_skill"}  # in lower case: Claude Code and OpenCode, Gemini CLI
LONG = 60  # letters of a line of prose that nobody writes by chance
FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
# Of a run's folders, the files that are looked into.
LARGEST = 2_000_000
TEXTS = {"", ".md", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".py", ".log", ".html"}
LEAVE = shutil.ignore_patterns("__pycache__", ".git", "node_modules")


@dataclass(frozen=True)
class Skill:
    """A skill's folder."""

    folder: Path

    @cached_property
    def name(self) -> str:
        """The name in its frontmatter: clients know it by this, and want it as the folder's."""
        path = self.folder / "SKILL.md"
        try:
            return yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])["name"]
        except (OSError, IndexError, KeyError, TypeError, yaml.YAMLError):
            raise BadCase(f"{path}: not a skill with a name in its frontmatter; give the folder of one") from None

    @cached_property
    def prose(self) -> frozenset[str]:
        """Its long lines, outside of code: where one shows up, the skill was read."""
        lines: set[str] = set()
        for path in self.folder.rglob("*.md"):
            text = FENCED.sub("", path.read_text(encoding="utf-8", errors="replace"))
            lines |= {line.strip() for line in text.splitlines() if len(line.strip()) >= LONG}
        return frozenset(lines)

    @cached_property
    def digest(self) -> str:
        """A hash of all it holds."""
        return digest(self.folder)

    def install(self, folder: Path) -> None:
        """Lay it into a folder of skills."""
        shutil.copytree(self.folder, folder / self.name, ignore=LEAVE)

    def used(self, outcome: Outcome) -> bool:
        """Whether a tool was called with its name or its folder."""
        for tool, given in outcome.calls:
            if f"skills/{self.name}" in given or (tool.lower() in SKILL_TOOLS and self.name in given):
                return True
        return False

    def signs(self, text: str, own: Skill | None) -> Iterator[str]:
        """What of the skill a text holds and the run's ``own`` skill does not, which may be an older version."""
        named = own is None or own.name != self.name
        if named and (f"skills/{self.name}/" in text or f"\nname: {self.name}\n" in text):
            yield f"the skill {self.name} itself"
        for line in self.prose - (own.prose if own else frozenset()):
            if line in text:
                yield f"its line “{line[:50]}…”"


def digest(*given: Path | str) -> str:
    """A short hash of texts and of all files in folders: it tells whether a result is still of what there is today."""
    total = hashlib.sha256()
    for part in given:
        if isinstance(part, str):
            total.update(f"{len(part)} {part}".encode())
            continue
        for path in sorted(part.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(str(path.relative_to(part)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def leaks(
    forbidden: Iterable[Skill], own: Skill | None, transcript: str, outcome: Outcome, *folders: Path
) -> list[str]:
    """What shows that a run knew a skill of another arm: calls, text in the transcript, files in its folders."""
    found: list[str] = []
    texts = [("the transcript", "\n".join(word for event in events(transcript) for word in words(event)))]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.suffix in TEXTS and path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST:
                name = str(path.relative_to(folder.parent))
                texts.append((name, f"{name}\n{path.read_text(encoding='utf-8', errors='replace')}"))
    for skill in forbidden:
        if skill.used(outcome) and (own is None or own.name != skill.name):
            found.append(f"a tool was called for the skill {skill.name}")
        for where, text in texts:
            sign = next(skill.signs(text, own), "")
            if sign:
                found.append(f"{where} holds {sign}")
    return found
