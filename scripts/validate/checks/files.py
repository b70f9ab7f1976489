"""Files as such: readable, well named, no link that leads nowhere or away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..discover import Skill, Tree
from ..findings import Problem
from ..registry import check


@check("files/unreadable")
def unreadable(tree: Tree) -> Iterator[Problem]:
    """A file or folder could not be read, so nothing in it was checked.

    Why: a client that meets it drops it or fails.
    Mend: Save text as UTF-8 below 1 MB, flatten what is nested beyond reason, and mend permissions and names.

    Bad:
        === references/latin.md (latin-1)
        Grüße
    Good:
        === references/latin.md
        Grüße
        === SKILL.md +
        See [the page](references/latin.md).
    """
    for path, why in tree.unread.items():
        yield Problem(why, path=path)


@check("files/skill-md-spelling")
def skill_md_spelling(skill: Skill) -> Iterator[Problem]:
    """The skill's file is not spelt `SKILL.md`.

    Why: on a case-sensitive disk clients look for exactly that name.
    Mend: Rename it to SKILL.md.

    Bad:
        === lower/skill.md
        ---
        name: lower
        description: Packs boxes.
        ---
    Good:
        === lower/SKILL.md
        ---
        name: lower
        description: Packs boxes.
        ---
    """
    if (name := PurePosixPath(skill.path).name) != "SKILL.md":
        yield Problem(f"is spelt {name!r}, not 'SKILL.md'")


@check("files/metadata-json", "warning")
def metadata_json(skill: Skill) -> Iterator[Problem]:
    """The skill holds a file called metadata.json.

    Why: the skills CLI leaves a file of that name out when it installs (seen with 1.5.18 and 1.7.4).
    Mend: Give it another name.

    Bad:
        === metadata.json
        {}
    Good:
        === data.json
        {}
    """
    for file in skill.files:
        if PurePosixPath(file).name == "metadata.json":
            yield Problem("is dropped by the skills CLI on install", path=skill.at(file))


@check("files/broken-link")
def broken_link(tree: Tree) -> Iterator[Problem]:
    """A symbolic link leads nowhere, round in a circle, or out of the repository.

    Why: clients copy it as it is, drop it, or fail; what it stood for is missing after the install.
    Mend: Put a real file there.

    Bad:
        === references/gone.md -> nowhere.md
    Bad:
        === loop -> loop
    Bad:
        === away -> ../../../..
    Good:
        === alias.md -> SKILL.md
    """
    root = os.path.realpath(tree.root)
    for path, target in tree.links.items():
        full = tree.root / path
        if not os.path.exists(full):
            yield Problem(f"is a link to {target!r}, which leads nowhere", path=path)
        elif os.path.commonpath((root, os.path.realpath(full))) != root:
            yield Problem(f"is a link to {target!r}, outside of what is validated", path=path)


@check("files/linked-in-skill", "warning")
def linked_in_skill(tree: Tree) -> Iterator[Problem]:
    """A skill holds a symbolic link.

    Why: Codex and OpenCode drop links on install, Gemini keeps them dangling; only some clients copy what they lead to.
    Mend: Put a real file there, generated if it must not be kept twice.

    Bad:
        === references/alias.md -> ../SKILL.md
    Good:
        === references/real.md
        text
        === SKILL.md +
        [real](references/real.md)
    """
    for path, target in tree.links.items():
        if tree.skill_of(path) or PurePosixPath(path).name.lower() == "skill.md":
            yield Problem(f"is a link (to {target!r}); some clients drop it", path=path)
