"""The part of a page that a program writes, between two marks that people leave alone."""

from __future__ import annotations


def replaced(text: str, begin: str, end: str, new: str) -> str | None:
    """The text with ``new`` between the marks, or None where they are missing."""
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n\n{new}\n\n{end}{after}" if opened and closed else None
