"""Sizes at which a client cuts, drops or refuses what it is given."""

from __future__ import annotations

from collections.abc import Iterator

from ..discover import Skill, Tree
from ..findings import Problem
from ..registry import check

CODEX_SKILL_MD = 8_000  # bytes of SKILL.md that Codex CLI 0.169 takes
CATALOGUE_FILE = 100_000  # bytes of a file that SkillHub publishes


@check("budgets/skill-md", "warning")
def skill_md(skill: Skill, tree: Tree) -> Iterator[Problem]:
    """SKILL.md is larger than 8,000 bytes.

    Why: Codex CLI cuts it there, in the middle of whatever stands at that place; every client pays for it on each use.
    Mend: Move detail to references/ and link to its sections.

    Bad:
        === SKILL.md + * 900
        ten bytes
    Good:
        === SKILL.md + * 700
        ten bytes
    """
    if (size := tree.files[skill.path].st_size) > CODEX_SKILL_MD:
        yield Problem(f"has {size:,} bytes; Codex reads the first {CODEX_SKILL_MD:,}")


@check("budgets/file-size", "warning")
def file_size(tree: Tree) -> Iterator[Problem]:
    """A file of a skill is larger than 100 KB.

    Why: SkillHub does not publish it, and no assistant should read it whole.
    Mend: Split it, or leave it out of the skill.

    Bad:
        === references/big.md * 11000
        ten bytes
    Good:
        === references/big.md * 9000
        ten bytes
        === SKILL.md +
        See [big](references/big.md).
    """
    for path, status in tree.files.items():
        if status.st_size > CATALOGUE_FILE and tree.skill_of(path):
            yield Problem(f"has {status.st_size:,} bytes, more than {CATALOGUE_FILE:,}", path=path)


@check("budgets/empty-file", "warning")
def empty_file(tree: Tree) -> Iterator[Problem]:
    """A Markdown file of a skill is empty.

    Why: an assistant is sent there and finds nothing.
    Mend: Write it, or remove it with the links to it.

    Bad:
        === references/empty.md
    Good:
        === references/full.md
        text
        === SKILL.md +
        See [full](references/full.md).
    """
    for path, document in tree.documents.items():
        if tree.files[path].st_size <= 1 and not document.headings and tree.skill_of(path):
            yield Problem("is empty", path=path)
