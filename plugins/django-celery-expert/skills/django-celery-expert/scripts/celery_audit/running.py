"""What runs inside a task: its own function, and the project's functions that it calls by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .infer import every_parameter, own_nodes
from .module import Module, scope
from .project import Project, Task

MAX_CALLS_DEEP = 2  # from the task's function: its helpers, and theirs
MAX_FUNCTIONS = 40  # of one task


class Running(NamedTuple):
    """A function that runs in a worker because a task is it or calls it."""

    function: ast.FunctionDef | ast.AsyncFunctionDef
    module: Module
    task: Task
    depth: int  # 0: the task's own


@lru_cache(maxsize=1)
def tasks_by_function(project: Project) -> dict[int, Task]:
    """The task whose body a function is, by the function node's ``id()``."""
    return {id(task.function): task for task in project.tasks.values() if task.function is not None}


@lru_cache(maxsize=1)
def code_in_tasks(project: Project) -> list[Running]:
    """Every function that some task runs, once, with the first and nearest task that does."""
    found: dict[int, Running] = {}
    level: list[Running] = []
    for task in project.each_task:
        if task.function is not None and id(task.function) not in found:
            module = module_of(task.function, task.module)
            found[id(task.function)] = Running(task.function, module, task, 0)
            level.append(found[id(task.function)])
    for depth in range(1, MAX_CALLS_DEEP + 1):
        following = []
        for running in level:
            for function, module in _called(running, project):
                if id(function) not in found:
                    found[id(function)] = Running(function, module, running.task, depth)
                    following.append(found[id(function)])
        level = following
    return list(found.values())


def module_of(node: ast.AST, otherwise: Module) -> Module:
    """The file that a node stands in; a task's function may be in another one than its decorator."""
    while (parent := getattr(node, "parent", None)) is not None:
        node = parent
    return getattr(node, "owner", otherwise)


def _called(running: Running, project: Project) -> Iterator[tuple[ast.FunctionDef, Module]]:
    """The project's functions that a function calls by name, and the methods of its class that it calls on self."""
    klass = getattr(running.function, "parent", None)
    seen = 0
    for node in own_nodes(running.function):
        if not isinstance(node, ast.Call) or seen >= MAX_FUNCTIONS:
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self":
            for part in klass.body if isinstance(klass, ast.ClassDef) else ():
                if isinstance(part, ast.FunctionDef) and part.name == function.attr:
                    seen += 1
                    yield part, running.module
            continue
        found = project.definition(project.meaning(function, running.module))
        if found and isinstance(found[1], ast.FunctionDef):
            seen += 1
            yield found[1], found[0]


def is_self(node: ast.AST | None, task: Task) -> bool:
    """Whether a name in a task's function is the task itself: the first parameter of a bound one."""
    if not isinstance(node, ast.Name) or task.function is None:
        return False
    parameters = every_parameter(task.function.args)
    if not parameters or parameters[0].arg != node.id:
        return False
    return bool(task.bound) or (task.bound is None and node.id in ("self", "task"))


def task_at(node: ast.AST, project: Project) -> Task | None:
    """The task in whose function, or a function inside it, a node stands."""
    tasks = tasks_by_function(project)
    function = scope(node)
    while function is not None:
        if id(function) in tasks:
            return tasks[id(function)]
        function = scope(function)
    return None


def statements_around(node: ast.AST) -> list[ast.stmt]:
    """The suite that holds a node's statement, or an empty list."""
    while not isinstance(node, ast.stmt):
        node = getattr(node, "parent", None)  # type: ignore[assignment]
        if node is None:
            return []
    parent = getattr(node, "parent", None)
    for name in ("body", "orelse", "finalbody"):
        suite = getattr(parent, name, None)
        if isinstance(suite, list) and node in suite:
            return suite
    return []
