"""What several groups of rules ask: every call that publishes, a module's tasks, what a misspelt name means."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

from ..module import Module
from ..project import PUBLISHES, Dispatch, Project, Task
from ..registry import Problem


@lru_cache(maxsize=2)
def every_dispatch(project: Project) -> list[Dispatch]:
    """The index's dispatches, and those that another function makes: ``partial(task.delay, pk)``."""
    found = [dispatch for module in project.modules for dispatch in project.dispatches[module]]
    for module in project.modules:
        if module.mentions(b".delay", b".apply_async"):
            found += [dispatch for call in module.find(ast.Call) for dispatch in _handed_on(call, module, project)]
    return found


def _handed_on(call: ast.Call, module: Module, project: Project) -> Iterator[Dispatch]:
    """``partial(task.delay, pk)``, ``sync_to_async(task.delay)(pk)``, ``run_later(task.delay, pk)``."""
    inner = call.func
    if isinstance(inner, ast.Call) and len(inner.args) == 1 and not inner.keywords:
        made = module.qualified(inner.func) or ""
        method, rest, passes = inner.args[0], call.args, made == "asgiref.sync.sync_to_async"
    elif call.args:
        method, rest = call.args[0], call.args[1:]
        passes = isinstance(method, ast.Attribute) and method.attr in PUBLISHES and _passes_on(call, module, project)
    else:
        return
    if not passes or not isinstance(method, ast.Attribute) or method.attr not in PUBLISHES:
        return
    task = project.task_of(method.value, module)
    if task is None:
        return
    written = ast.copy_location(ast.Call(func=method, args=rest, keywords=call.keywords), call)
    written.parent = call.parent  # type: ignore[attr-defined]
    yield Dispatch(written, module, method.attr, task, method.value)


def _passes_on(call: ast.Call, module: Module, project: Project) -> bool:
    """Whether what is called gives its further arguments to its first one."""
    name = project.meaning(call.func, module)
    if name == "functools.partial":
        return True
    found = project.definition(name)
    if not found or not isinstance(found[1], ast.FunctionDef) or found[1].decorator_list:
        return False
    given = found[1].args
    return len(given.args) == 1 and bool(given.vararg and given.kwarg) and not given.kwonlyargs


def label(dispatch: Dispatch) -> str:
    """The task's name in messages about a call."""
    if dispatch.task is not None:
        return f"`{dispatch.task.qualified.rpartition('.')[2]}`"
    target = dispatch.target
    return f"`{target.attr if isinstance(target, ast.Attribute) else getattr(target, 'id', 'the task')}`"


def problem(message: str, node: ast.AST, module: Module) -> Problem:
    return Problem(message, node, module.path)


def meant(name: str, known: set[str], hints: dict[str, str]) -> str | None:
    """What an unknown name was probably meant to be; None when it is known, or like nothing."""
    if name in known:
        return None
    if name in hints:
        return hints[name]
    flat = {known_name.replace("_", ""): known_name for known_name in sorted(known)}
    same = flat.get(name.replace("_", "").lower())
    close = [same] if same else get_close_matches(name, sorted(known), 1, 0.84) if len(name) > 3 else []
    return f"{close[0]} is meant" if close else None


def tasks_in(module: Module, project: Project) -> list[Task]:
    """The tasks that a module defines."""
    return _by_module(project).get(module, [])


@lru_cache(maxsize=2)
def _by_module(project: Project) -> dict[Module, list[Task]]:
    index: dict[Module, list[Task]] = {}
    for task in project.each_task:
        index.setdefault(task.module, []).append(task)
    return index
