"""What Python blocks import, and which distributions that takes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from . import installed, modules, settings
from .page import Code, Mention, Page
from .rule import RIGHT, Verdict, near, rule

PATH = re.compile(r"[a-z_]\w*(?:\.\w+)+")


@rule("names/import")
def imported(page: Page) -> Iterator[Verdict]:
    """An import, or a dotted path, that leads to nothing in the installed packages.

    Also looked at: what a block takes from a module it imported (`signals.task_failure`), and dotted paths in code
    spans and strings. The packages that the page writes (`title="orders/tasks.py"`) or the repository holds are passed.

    Why: the copied code does not start.
    Mend: Import it from where the installed version has it.

    Bad:
        === SKILL.md +
        ```python
        from celery.task import periodic_task
        ```
    Bad:
        === SKILL.md +
        ```python
        from celery import shared_tasks
        ```
    Bad:
        === SKILL.md +
        ```python
        from celery import signals

        signals.task_failed.connect(print)
        ```
    Bad:
        === SKILL.md +
        Subclass `celery.contrib.django.task.DjangoTasks`.
    Good:
        === SKILL.md +
        ```python title="orders/tasks.py"
        from celery import shared_task, signals
        from django.db import transaction
        from orders.models import Order
        from .models import Order
        import os.path

        signals.task_failure.connect(print)
        ```
        Subclass `celery.contrib.django.task.DjangoTask`; Beat sends `celery.backend_cleanup`.
    """
    for code in page.codes:
        for mention in (*_imports(code), *_taken(code)):
            top = mention.name.partition(".")[0]
            if top not in page.own_packages and modules.installed(top):
                yield mention, _complaint(mention.name)
        for mention in _paths(code):
            top = mention.name.partition(".")[0]
            if top in installed.PACKAGES and modules.installed(top):
                yield mention, RIGHT if _named(mention.name) else _complaint(mention.name)


def _imports(code: Code) -> Iterator[Mention]:
    for node in code.nodes:
        if isinstance(node, ast.Import):
            yield from (code.at(node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield code.at(alias, f"{node.module}.{alias.name}" if alias.name != "*" else node.module or "")


def _taken(code: Code) -> Iterator[Mention]:
    """``module.name`` of an imported module."""
    for node in code.every(ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in code.imports:
            path = code.imports[node.value.id]
            if modules.spec(path) is not None and modules.installed(path):
                yield code.at(node, f"{path}.{node.attr}")


def _paths(code: Code) -> Iterator[Mention]:
    """Dotted paths in code spans and strings."""
    if code.inline:
        expressions = (node.value for node in code.tree.body if isinstance(node, ast.Expr))
        yield from (code.at(node, path) for node in expressions if "." in (path := code.dotted(node)))
    for node in code.strings():
        if PATH.fullmatch(node.value):
            yield code.at(node, node.value)


def _named(path: str) -> bool:
    """True for a module or its name, for one of Celery's own tasks, and for what the source calls so (loggers)."""
    if modules.resolves(path) or path in installed.task_names():
        return True
    text = modules.texts(path.partition(".")[0])
    return f'"{path}"' in text or f"'{path}'" in text


def _complaint(path: str) -> str:
    if modules.resolves(path):
        return RIGHT
    module, _, name = path.rpartition(".")
    if not module or modules.spec(module) is None:
        return f"there is no module {module or path}"
    return f"{module} has no {name}{near(name, modules.names(module))}"


@rule("names/not-installed", "warning")
def not_installed(page: Page) -> Iterator[Verdict]:
    """A page uses a package that is not installed here, so that its names cannot be compared.

    Why: what is not compared is not known to be right.
    Mend: Install it where `validate --installed` runs (add it to the development dependencies), or mend the name.

    Bad:
        === SKILL.md +
        ```python
        from celery_once import QueueOnce
        ```
    Good:
        === SKILL.md +
        ```python title="orders/tasks.py"
        from celery import shared_task
        from orders.models import Order
        ```
    """
    for code in page.blocks:
        for mention in _imports(code):
            top = mention.name.partition(".")[0]
            if top not in page.own_packages:
                yield Mention(top, mention.line, mention.column), _absence(top)
        for mention in _paths(code):
            top = mention.name.partition(".")[0]
            if top in installed.PACKAGES:
                yield Mention(top, mention.line, mention.column), _absence(top)
    for mention in (*settings.prefixed(page), *settings.variables(page)):
        if package := settings.package_of(mention.name):
            yield Mention(package, mention.line, mention.column), _absence(package)


def _absence(package: str) -> str:
    return RIGHT if modules.installed(package) else f"{package} is not installed: its names are not compared"
