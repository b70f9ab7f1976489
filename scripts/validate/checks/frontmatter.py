"""The block of YAML on top of SKILL.md, which is all that a client reads before it loads the skill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from ..discover import Skill
from ..document import Document
from ..findings import Problem
from ..frontmatter import Frontmatter, read
from ..registry import check

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"


@cache
def schema(name: str) -> Draft202012Validator:
    """The validator for one of the schemas beside the checks."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))


def explain(error: ValidationError) -> str:
    """One line for a schema error: what is wrong, and what the schema says of the place."""
    where = ".".join(str(step) for step in error.absolute_path)
    rule = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    message = error.message
    if error.validator == "maxLength":
        message = f"has {len(error.instance):,} characters, at most {error.validator_value:,} are allowed"
    elif len(message) > 160:
        message = f"breaks {error.validator}: {str(error.validator_value)[:100]}"
    return f"{where + ': ' if where else ''}{message}{f' ({rule})' if rule else ''}"


def of(skill: Skill) -> Frontmatter | None:
    """The skill's frontmatter, if it has a readable one."""
    if skill.document is None or skill.document.frontmatter is None:
        return None
    return read(skill.document.frontmatter)


@check("frontmatter/missing")
def missing(skill: Skill) -> Iterator[Problem]:
    """SKILL.md does not begin with a frontmatter block.

    Why: without `---` on the very first line no client finds a name or description, and the skill stays invisible.
    Mend: Begin the file with `---`, `name:`, `description:`, `---`.

    Bad:
        === SKILL.md
        # Demo
    Bad:
        === SKILL.md

        ---
        name: demo
        description: Packs boxes. Use when a box must be packed.
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes. Use when a box must be packed.
        ---
    """
    if skill.document and skill.document.frontmatter is None:
        yield Problem("has no frontmatter on line 1")


@check("frontmatter/byte-order-mark")
def byte_order_mark(document: Document) -> Iterator[Problem]:
    """The file begins with a byte-order mark.

    Why: clients compare the first bytes with `---`; the mark makes them miss the frontmatter.
    Mend: Save the file as UTF-8 without a byte-order mark.

    Bad:
        === SKILL.md
        \ufeff---
        name: demo
        description: Packs boxes.
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes.
        ---
    """
    if document.text.startswith("\ufeff"):
        yield Problem("begins with a byte-order mark")


@check("frontmatter/yaml")
def yaml_error(skill: Skill) -> Iterator[Problem]:
    """The frontmatter cannot be read as a YAML mapping.

    Why: a client that cannot parse it drops the skill without a word. A key given twice, an alias, or a plain text
    with `: ` in it are the usual reasons.
    Mend: Quote the value, or fold it with `>-`; name each key once.

    Bad:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes: small ones
        ---
    Bad:
        === SKILL.md
        ---
        name: demo
        name: demo
        description: Packs boxes.
        ---
    Bad:
        === SKILL.md
        ---
        - demo
        ---
    Bad:
        === SKILL.md
        ---
        name: &n demo
        description: *n
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: "Packs boxes: small ones"
        ---
    """
    front = of(skill)
    if front and front.error:
        yield Problem(f"frontmatter {front.error}", front.error.line, front.error.column)


@check("frontmatter/schema")
def frontmatter_schema(skill: Skill) -> Iterator[Problem]:
    """The frontmatter breaks the Agent Skills specification.

    Why: strict clients refuse an unknown key, a missing one, a wrong type or a text that is too long; others cut it.
    Mend: Keep name, description, license, compatibility, metadata (strings only) and allowed-tools.

    Bad:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes.
        version: 1.0.0
        ---
    Bad:
        === SKILL.md
        ---
        name: Demo_Skill
        description: Packs boxes.
        ---
    Bad:
        === SKILL.md
        ---
        name: demo
        ---
    Bad:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes.
        metadata:
          version: 1.0
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes.
        license: MIT
        metadata:
          version: "1.0"
        ---
    """
    front = of(skill)
    if front is None or front.error:
        return
    for error in sorted(schema("skill-frontmatter").iter_errors(front.data), key=lambda error: str(error.path)):
        key = str(error.absolute_path[0]) if error.absolute_path else _named_key(error, front)
        yield Problem(f"frontmatter {explain(error)}", front.lines.get(key, 1))


def _named_key(error: ValidationError, front: Frontmatter) -> str:
    return next((key for key in front.lines if f"'{key}'" in error.message), "")


@check("frontmatter/name-matches-folder")
def name_matches_folder(skill: Skill) -> Iterator[Problem]:
    """The skill's name differs from its folder's.

    Why: the specification wants them equal; a client that goes by the folder lists another skill than one that goes by
    the name.
    Mend: Rename the folder or the skill.

    Bad:
        === SKILL.md
        ---
        name: other
        description: Packs boxes.
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: Packs boxes.
        ---
    """
    front = of(skill)
    if front and isinstance(name := front.data.get("name"), str) and name != skill.name:
        yield Problem(f"name {name!r} is not the folder's name {skill.name!r}", front.lines.get("name", 1))


@check("frontmatter/angle-brackets")
def angle_brackets(skill: Skill) -> Iterator[Problem]:
    """The description holds `<` or `>`.

    Why: the description is pasted into the system prompt between XML tags; uploads to claude.ai refuse it.
    Mend: Say it in words.

    Bad:
        === SKILL.md
        ---
        name: demo
        description: Packs <big> boxes.
        ---
    Good:
        === SKILL.md
        ---
        name: demo
        description: Packs big boxes.
        ---
    """
    front = of(skill)
    if front and isinstance(text := front.data.get("description"), str) and ("<" in text or ">" in text):
        yield Problem("description holds < or >", front.lines.get("description", 1))
