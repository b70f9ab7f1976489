"""Which files of a project can matter: a walk of the folder, and a look at each file's bytes before it is parsed."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable

SKIPPED = {
    "node_modules", "site-packages", "dist-packages", "__pycache__", "bower_components", "venv", "env", "virtualenv",
    "build", "dist", "staticfiles", "htmlcov",
}  # fmt: skip
MAX_BYTES = 2_000_000  # of one file; no one writes more by hand
PYTHON = re.compile(
    rb"celery|CELERY|Celery|kombu|[Tt]ask|TASK|\.delay|apply_async|on_commit|crontab|BROKER|ATOMIC_REQUESTS"
    rb"|INSTALLED_APPS|atomic(?!\s*=)"  # the last: a caller that opens the transaction may know of no task
)
PYTHON_PATH = re.compile(r"settings|celery_?config", re.IGNORECASE)  # matter whatever their bytes
TEXT_NAME = re.compile(
    r"(^|[-_.])(docker-)?compose[\w.-]*\.ya?ml$|\.ya?ml$|\.service$|^Procfile|supervisor[\w.-]*\.(conf|ini)$"
    r"|(^|\.)Dockerfile|^Dockerfile|\.(sh|bash|conf|ini|tpl)$|^Makefile$|^justfile$"
    r"|\.(ya?ml|service|conf|sh)\.(j2|jinja2?|tpl|template)$"
    r"|^(start|run|entrypoint|celery|worker|beat|flower)([-_][\w-]+)?$|^[\w-]+[-_](entrypoint|worker|beat|flower)$",
    re.IGNORECASE,
)

TEST = re.compile(
    r"(^|/)(tests?|testing|conftest\.py|factories|factories\.py|test_[^/]*\.py|[^/]*_tests?\.py|tests?\.py)(/|$)",
    re.IGNORECASE,
)


def is_test(path: str) -> bool:
    """Whether a path is test code, which does on purpose what production must not."""
    return bool(TEST.search(path))


@dataclass
class Files:
    """Paths are relative to ``root``, with slashes, in order."""

    root: str
    python: list[str] = field(default_factory=list)  # every Python file
    text: list[str] = field(default_factory=list)  # deployment files, by their names
    problems: dict[str, str] = field(default_factory=dict)  # path and why it could not be read

    def read(self, path: str) -> bytes | None:
        """The file's bytes; None, and an entry in ``problems``, when it is too large or unreadable."""
        if path in self.problems:
            return None
        full = os.path.join(self.root, path)
        try:
            if not stat.S_ISREG(os.stat(full).st_mode):  # a pipe would wait for ever, a device might never end
                self.problems[path] = "no regular file, not read"
                return None
            with open(full, "rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            self.problems[path] = f"cannot be read: {error.strerror}"
            return None
        if len(source) > MAX_BYTES:
            self.problems[path] = f"larger than {MAX_BYTES:,} bytes, not read"
            return None
        return source

    @cached_property
    def sources(self) -> dict[str, bytes]:
        """Every Python file that is no test, with its bytes: for rules that ask what stands outside of the index.

        Kept, because several do; read only when one does.
        """
        found = ((path, self.read(path)) for path in self.python if not is_test(path))
        return {path: source for path, source in found if source is not None}


def discover(root: str, excluded: Callable[[str], bool]) -> Files:
    """Find the Python and deployment files under ``root``, itself a folder or one file.

    Links to folders are not followed, so a loop ends nowhere; hidden folders, virtual environments and build output are
    skipped.
    """
    if os.path.isfile(root):
        return Files(os.path.dirname(root) or ".", *_sorted_in([os.path.basename(root)]))
    files = Files(root)

    def unreadable(error: OSError) -> None:
        path = os.path.relpath(error.filename or root, root).replace(os.sep, "/")
        files.problems[path] = f"cannot be read: {error.strerror}"

    for folder, folders, names in os.walk(root, onerror=unreadable):
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED and not name.startswith(".") and not excluded(f"{prefix}{name}")
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )  # fmt: skip
        python, text = _sorted_in(name for name in names if not excluded(f"{prefix}{name}"))
        files.python += [prefix + name for name in python]
        files.text += [prefix + name for name in text]
    return files


def _sorted_in(names: object) -> tuple[list[str], list[str]]:
    python, text = [], []
    for name in sorted(names):  # type: ignore[call-overload]
        if name.endswith(".py"):
            python.append(name)
        elif TEXT_NAME.search(name):
            text.append(name)
    return python, text
