"""Small trees of files written from the notation of the checks' examples.

``=== path`` begins a file; the lines up to the next one are its content. After the path may stand ``+`` (append to the
clean skill's file), ``-`` (remove that file), ``* N`` (repeat the content), ``-> target`` (a symbolic link),
``(latin-1)`` or another encoding, ``(executable)``. The files are laid over a clean skill called ``demo``.
"""

from __future__ import annotations

import re
from pathlib import Path

CLEAN = {"SKILL.md": "---\nname: demo\ndescription: Packs boxes. Use when a box must be packed.\n---\n\n"}
HEAD = re.compile(
    r"^=== (?P<path>.+?)(?P<more> [+-])?(?: \* (?P<times>\d+))?(?: -> (?P<to>\S+))?(?: \((?P<how>[\w-]+)\))?$"
)


def write(folder: Path, example: str, clean: bool = True) -> Path:
    """Write the tree of an example into ``folder``/demo and return that path."""
    root = folder / "demo"
    root.mkdir()
    for path, content in CLEAN.items() if clean else ():
        (root / path).write_text(content)
    for block in re.split(r"(?m)^(?==== )", example):
        if not block.strip():
            continue
        first, _, content = block.partition("\n")
        head = HEAD.match(first)
        assert head, f"cannot read {first!r}"
        _write(root / head["path"], content, head)
    return root


def _write(path: Path, content: str, head: re.Match[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if head["to"]:
        path.symlink_to(head["to"])
        return
    content *= int(head["times"] or 1)
    if content and not content.endswith("\n"):
        content += "\n"
    if head["more"] == " -":
        path.unlink()
        return
    if head["more"]:
        content = path.read_text() + content
    encoding = head["how"] if head["how"] and head["how"] != "executable" else "utf-8"
    path.write_bytes(content.encode(encoding))
    if head["how"] == "executable":
        path.chmod(0o755)
