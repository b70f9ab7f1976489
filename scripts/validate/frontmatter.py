"""YAML read strictly: no duplicate key, no alias (so no bomb), bounded depth, positions for messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import yaml

from .document import Text

MAX_DEPTH = 20
MAX_SIZE = 65_536  # characters
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """What is wrong, and the line and column (from 1) in the YAML text."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line, self.column = line, column


@dataclass(frozen=True)
class Frontmatter:
    """The mapping on top of a document; ``lines`` gives the file's line of each top-level key."""

    data: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    error: YamlError | None = None


@cache
def read(block: Text) -> Frontmatter:
    """Read a frontmatter block; an error's line is the file's."""
    try:
        lines = scan(block.content)
        data = yaml.load(block.content, Loader=Loader)  # noqa: S506  a safe loader
        if not isinstance(data, dict):
            raise YamlError("holds no `key: value` mapping")
    except YamlError as error:
        error.line += block.line - 1
        return Frontmatter(error=error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        return Frontmatter(error=YamlError(f"is not YAML: {error.problem}", block.line + line, column + 1))
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # as `!!int ""` raises
        return Frontmatter(error=YamlError(f"is not YAML: {(str(error) or 'a bad value').splitlines()[0]}", block.line))
    return Frontmatter(data, {key: block.line + line for key, line in lines.items()})


def scan(text: str) -> dict[str, int]:
    """Walk the YAML events of a text and return the line (from 0) of each top-level key of its mapping.

    The walk is iterative, so it also protects the recursive loader. :raises YamlError: for a duplicate key, an
    alias, nesting beyond ``MAX_DEPTH``, or a text beyond ``MAX_SIZE``; :raises yaml.YAMLError: for bad syntax.
    """
    if len(text) > MAX_SIZE:
        raise YamlError(f"is longer than {MAX_SIZE:,} characters")
    keys: list[set[str] | None] = []  # per open collection: its keys, None for a sequence
    awaits_key: list[bool] = []
    top: dict[str, int] = {}
    for event in yaml.parse(text, Loader=Loader):
        line, column = event.start_mark.line, event.start_mark.column
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(f"uses the alias *{event.anchor}; write the value out", line + 1, column + 1)
        if isinstance(event, yaml.CollectionEndEvent):
            keys.pop()
            awaits_key.pop()
        if not isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            continue
        if keys and keys[-1] is not None:
            if awaits_key[-1] and isinstance(event, yaml.ScalarEvent):
                if event.value in keys[-1]:
                    raise YamlError(f"names the key {event.value!r} twice", line + 1, column + 1)
                keys[-1].add(event.value)
                if len(keys) == 1:
                    top[event.value] = line
            awaits_key[-1] = not awaits_key[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            if len(keys) >= MAX_DEPTH:
                raise YamlError(f"is nested deeper than {MAX_DEPTH} levels", line + 1, column + 1)
            keys.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            awaits_key.append(True)
    return top
