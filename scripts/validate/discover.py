"""Find what there is to validate below a folder: marketplaces, plugins, skills and their files.

Nothing is followed out of the folder and no link is descended into, so loops and foreign trees cannot trap a run.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from .document import Document
from .findings import CannotRun

T = TypeVar("T")
MAX_TEXT = 1_000_000  # bytes; a larger text file is reported and not read
SKIPPED = {
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "__pycache__",
    ".venv",
    ".tox",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
}
MANIFESTS = {
    ".claude-plugin/marketplace.json": "claude-marketplace",
    ".agents/plugins/marketplace.json": "codex-marketplace",
    ".claude-plugin/plugin.json": "claude-plugin",
    ".codex-plugin/plugin.json": "codex-plugin",
    "gemini-extension.json": "gemini-extension",
}


class DuplicateKey(ValueError):
    """A JSON object names a key twice: readers differ in which one they take."""


@dataclass(slots=True)
class Manifest:
    """A client's manifest. ``data`` is ``None`` where ``error`` says why it could not be read."""

    path: str
    kind: str
    data: object = None
    error: tuple[str, int, int] | None = None  # message, line, column
    text: str = ""

    @property
    def home(self) -> str:
        """The folder the manifest speaks for, relative to the validated one ('.' for itself)."""
        suffix = next((name for name in MANIFESTS if self.path.endswith(name)), "")
        return self.path[: -len(suffix)].rstrip("/") or "."

    def line_of(self, text: str) -> int:
        """The line of the first mention of a quoted text, 1 where there is none."""
        at = max(self.text.find(json.dumps(text)), self.text.find(json.dumps(text, ensure_ascii=False)))
        return self.text.count("\n", 0, at) + 1 if at >= 0 else 1


@dataclass(slots=True)
class Skill:
    """A folder with a SKILL.md. ``files`` are relative to the folder."""

    folder: str
    name: str  # of the folder
    path: str  # of SKILL.md, as it is spelt
    files: list[str] = field(default_factory=list)
    document: Document | None = None

    def at(self, file: str) -> str:
        """The path in the tree of one of the skill's files."""
        return file if self.folder == "." else f"{self.folder}/{file}"


@dataclass(slots=True)
class Plugin:
    folder: str
    manifests: list[Manifest] = field(default_factory=list)


@dataclass
class Tree:
    root: Path
    files: dict[str, os.stat_result]
    links: dict[str, str]  # symbolic link → its target as written
    unread: dict[str, str]  # path → why it was not read
    documents: dict[str, Document] = field(default_factory=dict)
    skills: dict[str, Skill] = field(default_factory=dict)  # by folder
    plugins: dict[str, Plugin] = field(default_factory=dict)  # by folder
    manifests: list[Manifest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._slugs: dict[tuple[str, str], set[str]] = {}
        self.folders = {str(parent) for path in self.files for parent in PurePosixPath(path).parents}
        self.folders |= {"."}
        self._spellings = {path.lower(): path for path in (*self.files, *self.folders, *self.links)}

    def exists(self, path: str) -> bool:
        """True for a file or folder of the tree, and for what a link inside it leads to."""
        return (
            path in self.files
            or path in self.folders
            or path in self.links
            or os.path.exists(os.path.join(self.root, path))
        )

    def spelling(self, path: str) -> str | None:
        """The path as it is spelt on disk when only letter case differs."""
        return self._spellings.get(path.lower())

    def slugs(self, path: str, rule: str) -> set[str]:
        """The anchors of a document under a slug rule, made once however many pages link to it."""
        key = path, rule
        if key not in self._slugs:
            self._slugs[key] = self.documents[path].slugs(rule)
        return self._slugs[key]

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def skill_of(self, path: str) -> Skill | None:
        """The innermost skill whose folder holds the path."""
        return _innermost(self.skills, path)

    def plugin_of(self, path: str) -> Plugin | None:
        """The innermost plugin whose folder holds the path."""
        return _innermost(self.plugins, path)


def _innermost(homes: dict[str, T], path: str) -> T | None:
    while path := path.rpartition("/")[0]:
        if path in homes:
            return homes[path]
    return homes.get(".")


def discover(root: Path, exclude: tuple[str, ...] = ()) -> Tree:
    """Walk the folder. :raises CannotRun: for a path that is missing or no folder, or holds no skill and no plugin."""
    if not os.path.exists(root):
        raise CannotRun(f"{str(root)[:200]}: there is no such folder; give a repository, a plugin or a skill folder")
    if not root.is_dir():
        raise CannotRun(f"{root}: is a file; give the folder of the skill, plugin or repository")
    tree = _walk(root, exclude)
    for path in tree.files:
        folder, _, name = path.rpartition("/")
        if name.lower() == "skill.md" and (folder or ".") not in tree.skills:
            folder = folder or "."
            tree.skills[folder] = Skill(folder, PurePosixPath(folder).name or root.resolve().name, path)
        kind = next((kind for end, kind in MANIFESTS.items() if path == end or path.endswith(f"/{end}")), None)
        if kind:
            manifest = _manifest(tree, path, kind)
            tree.manifests.append(manifest)
            if kind.endswith("-plugin"):
                tree.plugins.setdefault(manifest.home, Plugin(manifest.home)).manifests.append(manifest)
    for path in tree.files:
        if skill := tree.skill_of(path):
            skill.files.append(path if skill.folder == "." else path[len(skill.folder) + 1 :])
    if not tree.skills and not tree.manifests:
        raise CannotRun(f"{root}: no SKILL.md and no plugin or marketplace manifest found here; nothing to validate")
    return tree


def _walk(root: Path, exclude: tuple[str, ...]) -> Tree:
    files: dict[str, os.stat_result] = {}
    links: dict[str, str] = {}
    unread: dict[str, str] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            unread[folder or "."] = f"cannot be read: {error.strerror}"
            continue
        if folder and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in SKIPPED or path.startswith(exclude):
                continue
            if not _printable(path):
                unread[ascii(path)] = "has a name that is not UTF-8, or holds a line break or another control character"
                continue
            try:
                if entry.is_symlink():
                    links[path] = os.readlink(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                    if entry.name.lower() == "skill.md":
                        unread[path] = "is a folder, where clients look for a file"
                elif stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
                    files[path] = status
                else:
                    unread[path] = "is neither a file nor a folder"
            except OSError as error:
                unread[path] = f"cannot be read: {error.strerror}"
    return Tree(root, files, links, unread)


def _printable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.isprintable() or all(unicodedata.category(c) != "Cc" for c in path)


def _manifest(tree: Tree, path: str, kind: str) -> Manifest:
    manifest = Manifest(path, kind)
    if tree.files[path].st_size > MAX_TEXT:
        manifest.error = (f"is larger than {MAX_TEXT:,} bytes", 1, 1)
        return manifest
    try:
        manifest.text = tree.read(path).decode()
        manifest.data = strict_json(manifest.text)
    except OSError as error:
        manifest.error = (f"cannot be read: {error.strerror}", 1, 1)
    except UnicodeDecodeError as error:
        manifest.error = (f"is not UTF-8 (byte {error.start})", 1, 1)
    except json.JSONDecodeError as error:
        manifest.error = (f"is not JSON: {error.msg}", error.lineno, error.colno)
    except DuplicateKey as error:
        manifest.error = (str(error), manifest.line_of(error.args[1]), 1)
    except (ValueError, RecursionError) as error:
        manifest.error = (f"is not JSON: {error}", 1, 1)
    return manifest


def strict_json(text: str) -> object:
    """Parse JSON as the standard has it: no NaN, no key twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for key, value in pairs:
            if key in seen:
                raise DuplicateKey(f"names the key {key!r} twice", key)
            seen[key] = value
        return seen

    def constant(name: str) -> object:
        raise ValueError(f"{name} is not a JSON value")

    return json.loads(text, object_pairs_hook=once, parse_constant=constant)


def markdown_files(tree: Tree) -> Iterator[str]:
    return (path for path in tree.files if path.lower().endswith((".md", ".mdx", ".markdown")))
