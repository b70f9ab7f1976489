"""Whether a call fits a task: the parameters that a task really has, and what is wrong with given arguments.

Used for dispatches, and for Beat entries' ``args`` and ``kwargs``.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import TYPE_CHECKING

from .infer import constant
from .module import Function

if TYPE_CHECKING:
    from .project import Dispatch, Project, Task

# Decorators between the task decorator and the function that leave its parameters alone.
TRANSPARENT = {
    "django.db.transaction.atomic",
    "django.db.transaction.non_atomic_requests",
    "django.utils.translation.override",
    "django.views.decorators.debug.sensitive_variables",
}


def parameters_of(task: Task, project: Project) -> ast.arguments | None:
    """What a caller has to give; None where decorators or base classes may change it, and for unbound methods."""
    function = task.function
    if function is None or not isinstance(function, Function) or _publishes_itself(task, project):
        return None
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    if task.node is function and isinstance(getattr(function, "parent", None), ast.ClassDef) and not static:
        return None
    for decorator in function.decorator_list:
        if decorator is task.decorator or (isinstance(decorator, ast.Name) and decorator.id == "staticmethod"):
            continue
        name = project.meaning(decorator.func if isinstance(decorator, ast.Call) else decorator, task.module)
        if name not in TRANSPARENT:
            return None
    return task.parameters


def _publishes_itself(task: Task, project: Project) -> bool:
    """Whether a class of the task, or of its app, has its own ``apply_async`` or ``delay``, or cannot be read."""
    classes = [node for node in (task.options.get("base"), *project.task_classes) if node is not None]
    for node in classes:
        owner = task.module if node is task.options.get("base") else project.task_classes[node]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = project.resolve(node.value.replace(":", "."))
        else:
            name = project.meaning(node, owner)
        found = project.definition(name)
        if not found or not isinstance(found[1], ast.ClassDef):
            if name is None or not name.startswith(("celery.", "celery_once.", "celery_singleton.")):
                return True
            continue
        classes_near_to_far = [found[1], *(n for _, _, n in project.bases(found[1], found[0]) if n)]
        for klass in classes_near_to_far:
            if any(isinstance(part, Function) and part.name in ("apply_async", "delay") for part in klass.body):
                return True
    if isinstance(task.node, ast.ClassDef):
        return any(isinstance(part, Function) and part.name in ("apply_async", "delay") for part in task.node.body)
    return False


def positional_names(given: ast.arguments) -> list[str]:
    """The names of parameters that take positional arguments, in order."""
    return [parameter.arg for parameter in [*given.posonlyargs, *given.args]]


def unexpected(given: ast.arguments, kwargs: Collection[str]) -> list[str]:
    """The keyword arguments that no parameter takes."""
    if given.kwarg is not None:
        return []
    names = {parameter.arg for parameter in [*given.args, *given.kwonlyargs]}
    return [name for name in kwargs if name not in names]


def mismatch(
    given: ast.arguments, count: int | None, kwargs: Collection[str] | None, complete: bool = True
) -> str | None:
    """What is wrong with so many positional and these keyword arguments; None: nothing, as far as can be told.

    ``count`` or ``kwargs`` is None when the source does not show them whole. ``complete`` is False for a signature
    that may still get arguments.
    """
    names = positional_names(given)
    if count is not None and count > len(names) and given.vararg is None:
        return f"takes {_arguments(len(names))} by position, gets {count}"
    if kwargs is not None:
        strange = unexpected(given, kwargs)
        if strange:
            return f"has no parameter {strange[0]!r}"
    if count is None or kwargs is None:
        return None
    twice = next((name for name in names[:count] if name in kwargs), None)
    if twice and twice not in {parameter.arg for parameter in given.posonlyargs}:
        return f"gets {twice!r} by position and by name"
    missing = _missing(given, names, count, kwargs) if complete else []
    return f"needs {', '.join(map(repr, missing))}" if missing else None


def _missing(given: ast.arguments, names: list[str], count: int, kwargs: Collection[str]) -> list[str]:
    required = names[: len(names) - len(given.defaults)] if given.defaults else names
    missing = [name for name in required[count:] if name not in kwargs]
    for parameter, default in zip(given.kwonlyargs, given.kw_defaults):
        if default is None and parameter.arg not in kwargs:
            missing.append(parameter.arg)
    return missing


def _arguments(number: int) -> str:
    return "no arguments" if number == 0 else f"{number} argument" + "s" * (number != 1)


def travels_as_json(dispatch: Dispatch, project: Project) -> bool:
    """Whether the arguments of a dispatch surely travel as JSON in Celery's own encoding."""
    if project.extends_json:
        return False
    task = dispatch.task
    given = dispatch.options.get("serializer")
    if given is not None:
        return constant(given, dispatch.module) == "json"
    if task is not None and "serializer" in task.options:
        return constant(task.options["serializer"], task.module) == "json"
    return all(value == "json" for value in project.setting("task_serializer", defaults=True))
