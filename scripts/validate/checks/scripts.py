"""Scripts that a skill brings: they parse, and can be started."""

from __future__ import annotations

import re
import shutil
import stat
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..discover import MAX_TEXT, Tree
from ..document import SHELL
from ..findings import Problem
from ..registry import check
from .fences import bash_error

LANGUAGES = {".py": "python", ".sh": "shell", ".bash": "shell", ".js": "javascript", ".mjs": "javascript"}


def bundled(tree: Tree, *languages: str) -> Iterator[tuple[str, bytes]]:
    """The scripts of the tree's skills in one of the languages, and their bytes. ``#!`` outranks the ending."""
    for path, status in tree.files.items():
        language = LANGUAGES.get(PurePosixPath(path).suffix)
        if language is None or status.st_size > MAX_TEXT or not tree.skill_of(path):
            continue
        try:
            code = tree.read(path)
        except OSError as error:
            tree.unread[path] = f"cannot be read: {error.strerror}"
            continue
        if code.startswith(b"#!") and b"python" in code.partition(b"\n")[0]:
            language = "python"
        if language in languages:
            yield path, code


@check("scripts/python")
def python(tree: Tree) -> Iterator[Problem]:
    """A Python script of a skill does not compile.

    Why: the assistant runs it in front of the user.
    Mend: Correct it.

    Bad:
        === scripts/a.py
        def f(:
    Good:
        === scripts/a.py
        def f(): return 1
    """
    for path, code in bundled(tree, "python"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(code, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            yield Problem(f"no Python: {error.msg}", error.lineno or 1, max(error.offset or 1, 1), path)
        except (ValueError, MemoryError, RecursionError) as error:
            yield Problem(f"no Python: {error or 'nested too deeply'}", path=path)


@check("scripts/shell")
def shell(tree: Tree) -> Iterator[Problem]:
    """A shell script of a skill does not parse (`bash -n`; nothing is run).

    Why: the assistant runs it in front of the user.
    Mend: Correct it.

    Bad:
        === scripts/a.sh
        if true; then
    Good:
        === scripts/a.sh
        if true; then echo a; fi
    """
    if not (bash := shutil.which("bash")):
        return
    for path, code in bundled(tree, "shell"):
        if error := bash_error(bash, code.decode(errors="replace")):
            yield Problem(f"no shell: {error[1]}", error[0], path=path)


@check("scripts/run-bit", "warning")
def run_bit(tree: Tree) -> Iterator[Problem]:
    """A skill starts a script by its path alone, and the script cannot be executed.

    Why: `./script` fails with "Permission denied". Clients keep the bit or not.
    Mend: Call it by its interpreter (`python scripts/a.py`), or `chmod +x` it and commit the mode.

    Bad:
        === scripts/a.sh
        #!/bin/sh
        echo a
        === SKILL.md +
        ```bash
        ./scripts/a.sh --fast
        ```
    Bad:
        === scripts/a.py
        #!/usr/bin/env python3
        print("a")
        === SKILL.md +
        Run `./scripts/a.py`.
    Good:
        === scripts/a.sh (executable)
        #!/bin/sh
        echo a
        === scripts/b.sh
        #!/bin/sh
        echo b
        === SKILL.md +
        ```bash
        ./scripts/a.sh && sh scripts/b.sh
        ```
    """
    called: dict[str, str] = {}
    for document in tree.documents.values():
        if skill := tree.skill_of(document.path):
            texts = [fence.content for fence in document.fences if fence.language in SHELL]
            called[skill.folder] = "\n".join(
                [called.get(skill.folder, ""), *texts, *(s.content for s in document.spans)]
            )
    for path, _ in bundled(tree, *LANGUAGES.values()):
        skill = tree.skill_of(path)
        if skill and not tree.files[path].st_mode & stat.S_IXUSR:
            name = re.escape(PurePosixPath(path).name)
            if re.search(rf"(?:^|[;&|(]\s*)\./(?:[\w.-]+/)*{name}\b", called.get(skill.folder, ""), re.MULTILINE):
                yield Problem("is started by its path and is not executable", path=path)
