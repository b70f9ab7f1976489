"""DCE4xx: retries and time limits."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ..atomic import opens
from ..configuration import Setting, value_of
from ..infer import UNKNOWN, assigned, constant, mapping, own_nodes
from ..module import Function, Module, argument, enclosing, has_open_keywords, keyword, parents
from ..project import Dispatch, Project, Task, TextFile
from ..registry import Problem, rule
from ..running import Running, code_in_tasks, is_self, module_of, statements_around, task_at

REJECT = "celery.exceptions.Reject"
BROAD = {"Exception", "BaseException"}
EXHAUSTED = "MaxRetriesExceededError"
# What self.retry() and self.replace() raise, and what is above it.
RAISED = {
    "retry": {"celery.exceptions.Retry", "celery.exceptions.TaskPredicate", "celery.exceptions.CeleryError"},
    "replace": {"celery.exceptions.Ignore", "celery.exceptions.TaskPredicate", "celery.exceptions.CeleryError"},
}


class Again(NamedTuple):
    """A call of ``self.retry(…)`` or ``self.replace(…)`` in the code of a task."""

    call: ast.Call
    method: str
    module: Module
    task: Task | None

    @property
    def raises(self) -> bool:
        """Whether it raises, as it does unless ``throw=False`` says otherwise."""
        throw = argument(self.call, 3, "throw") if self.method == "retry" else None
        return throw is None or bool(constant(throw, self.module))


@lru_cache(maxsize=1)
def retries(project: Project) -> list[Again]:
    """All such calls of the project, whether on ``self``, on the task's name or on ``current_task``."""
    found = []
    for module in project.modules:
        if not module.mentions(b".retry(", b".replace("):
            continue
        for call in module.find(ast.Call):
            function = call.func
            if not isinstance(function, ast.Attribute) or function.attr not in RAISED:
                continue
            receiver = function.value
            if not isinstance(receiver, (ast.Name, ast.Attribute)):
                continue
            task = task_at(call, project)
            if (
                (task is not None and is_self(receiver, task))
                or project.task_of(receiver, module) is not None
                or module.qualified(receiver) in ("celery.current_task", "celery._state.current_task")
            ):
                found.append(Again(call, function.attr, module, task))
    return found


@lru_cache(maxsize=1)
def retrying(project: Project) -> dict[int, list[Again]]:
    """The ``retry`` calls by the ``id()`` of the task they stand in."""
    found: dict[int, list[Again]] = {}
    for again in retries(project):
        if again.method == "retry" and again.task is not None:
            found.setdefault(id(again.task), []).append(again)
    return found


def caught(handler: ast.ExceptHandler) -> list[ast.expr] | None:
    """The exceptions that a handler names; None for a bare ``except``."""
    if handler.type is None:
        return None
    return list(handler.type.elts) if isinstance(handler.type, ast.Tuple) else [handler.type]


def is_broad(handler: ast.ExceptHandler, module: Module) -> bool:
    """Whether a handler catches every ``Exception``."""
    names = caught(handler)
    return names is None or any(
        isinstance(name, ast.Name) and name.id in BROAD and module.qualified(name) is None for name in names
    )


def catches(handler: ast.ExceptHandler, module: Module, names: set[str]) -> bool:
    """Whether a handler names one of these classes, which are given by their dotted names."""
    return any(module.qualified(name) in names for name in caught(handler) or ())


def tries_around(node: ast.AST) -> Iterator[ast.Try]:
    """The ``try`` statements whose body, and no other part, holds a node, inside its function; innermost first."""
    child = node
    for parent in parents(node):
        if isinstance(parent, (*Function, ast.Lambda, ast.ClassDef)):
            return
        if isinstance(parent, ast.Try) and child in parent.body:
            yield parent
        child = parent


def nodes_of(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of some statements, without those of functions and classes defined there."""
    yield from own_nodes(ast.Module(body=statements, type_ignores=[]))


def reraises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises what it caught, on any of its ways."""
    return any(
        isinstance(node, ast.Raise)
        and (node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id == handler.name))
        for node in nodes_of(handler.body)
    )


def mentions(nodes: Iterator[ast.AST], words: set[str]) -> bool:
    """Whether one of these names is read among the nodes."""
    return any(
        (isinstance(node, ast.Name) and node.id in words) or (isinstance(node, ast.Attribute) and node.attr in words)
        for node in nodes
    )


@rule("DCE401", "retry-swallowed", "error", "error-handling#retry")
def retry_swallowed(project: Project) -> Iterator[Problem]:
    """`self.retry()` (or `self.replace()`) is called inside a `try` whose broad `except` catches what it raises.

    Why: `retry()` publishes the next run, then raises `Retry`, an `Exception`. Where it is caught, this run goes on as
    if nothing happened and ends as SUCCESS or FAILURE while the next one is on its way; a second `retry()` in the
    handler publishes a second message.
    Fix: Call `self.retry()` outside the `try`, name the exceptions that the handler is for, or put `except Retry:
    raise` (for `replace`: `except Ignore: raise`) above it.
    Source: Measured (with one message published the task ended as SUCCESS; with `retry` in the handler two messages).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import fetch, log

        @shared_task(bind=True)
        def pull(self, pk):
            try:
                answer = fetch(pk)
                if answer.status_code == 429:
                    raise self.retry(countdown=60)
            except Exception:
                log("failed")
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, fetch, log

        @shared_task(bind=True)
        def pull(self, pk):
            try:
                answer = fetch(pk)
            except Unavailable:
                log("failed")
                return None
            if answer.status_code == 429:
                raise self.retry(countdown=60)
    """
    calls = {id(again.call) for again in retries(project) if again.method == "retry"}
    bodies: dict[int, list[ast.AST]] = {}  # of handlers, each read once
    for again in retries(project):
        handler = _catcher(again) if again.raises else None
        if handler is None:
            continue
        if id(handler) not in bodies:
            body = [] if _lets_go_on(handler) else nodes_of(handler.body)
            bodies[id(handler)] = [node for node in body if isinstance(node, (ast.Call, ast.stmt))][:MAX_READ]
        inside = bodies[id(handler)]
        if not inside:
            continue
        what = "Retry" if again.method == "retry" else "Ignore"
        line = handler.lineno
        if again.method == "retry" and any(id(node) in calls for node in inside):
            then = "which retries again: two messages"
        elif any(isinstance(node, ast.Raise) for node in inside):
            then = "which raises another: the task fails while its retry is on its way"
        else:
            then = "so this run ends as if nothing happened while the next is on its way"
        yield Problem(
            f"the {what} that {again.method}() raises is caught in line {line}, {then}", again.call, again.module.path
        )


MAX_READ = 500  # nodes of one handler


def _catcher(again: Again) -> ast.ExceptHandler | None:
    """The handler that catches what the call raises."""
    for block in tries_around(again.call):
        for handler in block.handlers:
            if is_broad(handler, again.module) or catches(handler, again.module, RAISED[again.method]):
                return handler
    return None


def _lets_go_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises what it caught, or tells Celery's exceptions from others."""
    last = {name.rpartition(".")[2] for names in RAISED.values() for name in names}
    return reraises(handler) or mentions(nodes_of(handler.body), last)


@rule("DCE402", "exhausted-never-caught", "error", "error-handling#exhausted-retries")
def exhausted_never_caught(project: Project) -> Iterator[Problem]:
    """A handler waits for `MaxRetriesExceededError`, which cannot come: `retry(exc=…)` ends by raising `exc` itself.

    Why: Only `retry()` without `exc` ends with `MaxRetriesExceededError`; with `exc`, and in autoretry, the original
    exception is raised. So what the handler does for the final failure never happens.
    Fix: Check `self.request.retries >= self.max_retries` before the retry, or handle the end in a `task_failure`
    receiver or `on_failure`; or leave `exc` out.
    Source: Measured (`retry(exc=exc)` and autoretry end with the original exception).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from celery.exceptions import MaxRetriesExceededError
        from crm.client import Unavailable, push, give_up

        @shared_task(bind=True, max_retries=3)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                try:
                    self.retry(exc=exc)
                except MaxRetriesExceededError:
                    give_up(pk)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push, give_up

        @shared_task(bind=True, max_retries=3)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                if self.request.retries >= self.max_retries:
                    give_up(pk)
                    return None
                raise self.retry(exc=exc)
    """
    calls = {id(again.call): again for again in retries(project) if again.method == "retry"}
    for running in code_in_tasks(project):
        if not running.module.mentions(EXHAUSTED.encode()):
            continue
        for block in own_nodes(running.function):
            if not isinstance(block, ast.Try):
                continue
            for handler in block.handlers:
                names = caught(handler)
                if not names or not all(_is_exhausted(name, running.module) for name in names):
                    continue
                body = list(nodes_of(block.body))
                inside = [calls[id(node)] for node in body if id(node) in calls]
                if inside and not _handed_on(body, inside) and all(_ends_with_exc(again) for again in inside):
                    yield Problem(
                        "retry(exc=…) never raises MaxRetriesExceededError but exc itself: this handler does not run",
                        handler,
                        running.module.path,
                    )
                elif not inside and running.depth == 0 and _autoretries(running.task) and not _handed_on(body, []):
                    yield Problem(
                        "autoretry raises the original exception, outside of this function: this handler does not run",
                        handler,
                        running.module.path,
                    )


def _is_exhausted(node: ast.expr, module: Module) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name == EXHAUSTED or module.qualified(node) == f"celery.exceptions.{EXHAUSTED}"


def _handed_on(body: list[ast.AST], but: list[Again]) -> bool:
    """Whether the task itself goes to another function there, which may retry in its own way."""
    for node in body:
        if isinstance(node, ast.Call) and not any(again.call is node for again in but):
            values = [*node.args, *(word.value for word in node.keywords)]
            if any(isinstance(value, ast.Name) and value.id in ("self", "task", "cls") for value in values):
                return True
            if (
                isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("self", "task")
                and node.func.attr != "update_state"
            ):
                return True
    return False


def _ends_with_exc(again: Again) -> bool:
    exc = argument(again.call, 2, "exc")
    if exc is None or has_open_keywords(again.call):
        return False
    if isinstance(exc, ast.Constant) and exc.value is None:
        return False
    if isinstance(exc, ast.Name) and exc.id != getattr(enclosing(again.call, ast.ExceptHandler), "name", None):
        exc = assigned(exc) or exc
        handler = next((h for h in parents(again.call) if isinstance(h, ast.ExceptHandler) and h.name == getattr(
            exc, "id", None)), None)  # fmt: skip
        if isinstance(exc, ast.Name) and handler is None:
            return False  # may be None, or the very error
    return not any(_is_exhausted(node, again.module) for node in ast.walk(exc) if isinstance(node, ast.expr))


def _autoretries(task: Task) -> bool:
    value = task.options.get("autoretry_for")
    return value is not None and constant(value, task.module) not in ((), [], None)


def worth(node: ast.AST | None, module: Module, project: Project) -> object:
    """The value of an option, followed to other modules and to Django's settings; environment defaults count."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("int", "float")
        and node.args
    ):
        node = node.args[0]
    name = module.qualified(node) or ""
    if name.startswith("django.conf.settings."):
        values = project.setting(name.rpartition(".")[2], defaults=True)
        return values[0] if len(values) == 1 else UNKNOWN
    return value_of(node, module, project, defaults=True)


def limit(task: Task, option: str, project: Project) -> object:
    """What holds for a task: its own option, else the setting of the same name; None: neither; UNKNOWN: not told."""
    if option in task.options:
        return worth(task.options[option], task.module, project)
    if task.open:
        return UNKNOWN
    values = project.setting(f"task_{option}", defaults=True)
    return values[0] if len(values) == 1 else UNKNOWN if values else None


def is_number(value: object) -> bool:
    """Whether a value is a positive number, as a limit that holds is."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def setting_nodes(project: Project, key: str) -> Iterator[Setting]:
    """The production settings that set a key."""
    for setting in project.by_key.get(key, ()):
        if setting.production:
            yield setting


def place(task: Task, option: str) -> ast.AST:
    """Where to report an option: at its value when the task's own decorator or class holds it, else at the task."""
    value = task.options.get(option)
    if value is not None:
        owner = task.decorator if task.decorator is not None else task.node
        if value is owner or any(parent is owner for parent in parents(value)):
            return value
    return task.decorator or task.node


@rule("DCE403", "retries-without-end", "warning", "error-handling#retry")
def retries_without_end(task: Task, project: Project) -> Iterator[Problem]:
    """A task retries with `max_retries=None` and nothing else ends it.

    Why: A failure that does not go away keeps its message for ever: it comes back after every delay, and each new one
    adds to the load until the worker does little else.
    Fix: Set `max_retries` to a number, or publish with `expires=`, or give up in the task by its age or by
    `self.request.retries`.
    Source: Measured (`max_retries=None`: retry 1,000 is published like the first).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(autoretry_for=(Unavailable,), retry_backoff=True, max_retries=None)
        def sync(pk):
            push(pk)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(autoretry_for=(Unavailable,), retry_backoff=True, max_retries=12)
        def sync(pk):
            push(pk)
    """
    value = task.options.get("max_retries")
    calls = retrying(project).get(id(task), [])
    if isinstance(value, ast.IfExp):  # 1 if settings.DEBUG else None
        value = value.orelse if "DEBUG" in ast.dump(value.test) else None
    if not isinstance(value, ast.Constant) or value.value is not None or not (_autoretries(task) or calls):
        return
    if "expires" in task.options or _bounded(task, calls, project) or _only_publishes(task):
        return
    yield Problem(
        f"{task.name} retries for ever: max_retries=None, no expires and no check", place(task, "max_retries")
    )


def _bounded(task: Task, calls: list[Again], project: Project) -> bool:
    """Whether something besides ``max_retries`` ends the retries."""
    if calls and not _autoretries(task) and all(keyword(again.call, "max_retries") is not None for again in calls):
        return True
    limits = mapping(task.options.get("retry_kwargs"), task.module)
    if "retry_kwargs" in task.options and (limits is None or "max_retries" in limits):
        return True
    words = {"retries", "expires", "now", "time", "monotonic", "time_since", "deadline", "utcnow"}
    words |= {"attempt", "attempts", "attempts_left"}
    if task.function is not None:
        nodes = list(own_nodes(task.function))
        if mentions(iter(nodes), words) or any(isinstance(node, ast.Compare) and _asks_for_id(node) for node in nodes):
            return True
    return id(task) in expiring(project)


def _asks_for_id(compare: ast.Compare) -> bool:
    """Whether a run compares its own id (``self.request.id``) with one that is kept: another run replaces it."""
    return any(
        isinstance(side, ast.Attribute)
        and side.attr == "id"
        and isinstance(side.value, ast.Attribute)
        and side.value.attr == "request"
        for side in (compare.left, *compare.comparators)
    )


def _only_publishes(task: Task) -> bool:
    """Whether the body does nothing but publish other tasks, so that no failure of its own can stay."""
    if not isinstance(task.function, Function):
        return False
    for statement in task.function.body:
        value = statement.value if isinstance(statement, (ast.Expr, ast.Return)) else None
        if isinstance(value, ast.Call):
            if not (isinstance(value.func, ast.Attribute) and value.func.attr in ("delay", "apply_async")):
                return False
        elif not isinstance(statement, (ast.Pass, ast.Import, ast.ImportFrom)) and not isinstance(value, ast.Constant):
            return False
    return True


@lru_cache(maxsize=1)
def expiring(project: Project) -> set[int]:
    """The tasks, by ``id()``, that some dispatch or Beat entry publishes with an expiry."""
    found = {
        id(dispatch.task)
        for dispatches in project.dispatches.values()
        for dispatch in dispatches
        if dispatch.task is not None and "expires" in dispatch.options
    }
    for entry in project.beat:
        name = constant(entry.parts.get("task"), entry.module)
        options = mapping(entry.parts.get("options"), entry.module)
        if isinstance(name, str) and "options" in entry.parts and (options is None or "expires" in options):
            found.add(id(project.named(name)))
    return found


@rule("DCE404", "autoretry-options-unused", "error", "error-handling#retry")
def autoretry_options_unused(task: Task, project: Project) -> Iterator[Problem]:
    """A task has autoretry's options but no `autoretry_for`.

    Why: `retry_backoff`, `retry_backoff_max`, `retry_jitter`, `retry_kwargs` and `dont_autoretry_for` are read by
    autoretry alone. Without `autoretry_for` no failure is retried; a `self.retry()` in the task waits
    `default_retry_delay` (180 s) each time and knows nothing of `retry_kwargs`.
    Fix: Name the temporary exceptions in `autoretry_for=(…,)`, or pass `countdown=` and `max_retries=` to `self.retry`.
    Source: Measured (with `retry_backoff` and `retry_kwargs` alone the task ran once; `self.retry()` waited 180 s).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import push

        @shared_task(retry_backoff=30, retry_kwargs={"max_retries": 5})
        def sync(pk):
            push(pk)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(autoretry_for=(Unavailable,), retry_backoff=30, retry_kwargs={"max_retries": 5})
        def sync(pk):
            push(pk)
    """
    if task.open or "autoretry_for" in task.options:
        return
    given = [name for name in AUTORETRY_OPTIONS if task.option(name) not in (None, False, 0, ())]
    given = [name for name in given if name not in _read_by_code(project)]
    calls = retrying(project).get(id(task), [])
    if calls and all(keyword(again.call, "countdown") or keyword(again.call, "eta") for again in calls):
        # Each retry says itself when it comes: what would set the delay is superfluous, and no harm.
        given = [name for name in given if name not in DELAY_OPTIONS]
    if given:
        effect = "self.retry() does not read it" if calls else "no failure is retried"
        yield Problem(f"{', '.join(given)} without autoretry_for: {effect}", place(task, given[0]))


AUTORETRY_OPTIONS = ("retry_backoff", "retry_backoff_max", "retry_jitter", "retry_kwargs", "dont_autoretry_for")
DELAY_OPTIONS = ("retry_backoff", "retry_backoff_max", "retry_jitter")


@lru_cache(maxsize=1)
def _read_by_code(project: Project) -> set[str]:
    """Those of autoretry's options that the project's own code reads, as ``self.retry_backoff``."""
    found = set()
    for module in project.modules:
        names = [name for name in AUTORETRY_OPTIONS if module.mentions(name.encode())]
        if names:
            for node in module.find(ast.Attribute):
                if node.attr in names and isinstance(node.ctx, ast.Load):
                    found.add(node.attr)
            for call in module.find(ast.Call):
                if isinstance(call.func, ast.Name) and call.func.id == "getattr" and len(call.args) > 1:
                    name = constant(call.args[1], module)
                    if name in names:
                        found.add(name)
    return found


@rule("DCE405", "autoretry-for-everything", "warning", "error-handling#which-exceptions-to-retry")
def autoretry_for_everything(task: Task, project: Project) -> Iterator[Problem]:
    """A task retries every exception, and so also one that it is sure to meet and that no retry mends.

    Why: With `autoretry_for=(Exception,)` a soft time limit, `Reject` and a missing row are retried like a network
    error: the slow task is started again and again, the row stays missing, and the failure shows when the retries are
    used up.
    Fix: Name the temporary exceptions; if it must stay, add `dont_autoretry_for=(SoftTimeLimitExceeded, Reject,
    ObjectDoesNotExist)`.
    Source: Measured (`SoftTimeLimitExceeded`, `Reject` and `DoesNotExist` are all retried).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import push

        @shared_task(autoretry_for=(Exception,), max_retries=5, soft_time_limit=60)
        def sync(pk):
            push(pk)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(autoretry_for=(Unavailable,), max_retries=5, soft_time_limit=60)
        def sync(pk):
            push(pk)
    """
    value = task.options.get("autoretry_for")
    if "dont_autoretry_for" in task.options or not isinstance(value, (ast.Tuple, ast.List)):
        return
    if task.option("max_retries") == 0:
        return
    everything = [part.id for part in value.elts if isinstance(part, ast.Name) and part.id in BROAD]
    met = list(_never_mended(task, project)) if everything else []
    if met:
        yield Problem(
            f"{task.name} retries on every {everything[0]}: also on {' and '.join(met)}", place(task, "autoretry_for")
        )


def _never_mended(task: Task, project: Project) -> Iterator[str]:
    """The exceptions that a task can raise as its code stands, and that a retry does not mend."""
    soft = limit(task, "soft_time_limit", project)
    if isinstance(soft, (int, float)) and soft > 0:
        yield "the soft time limit"
    if task.function is None:
        return
    module = module_of(task.function, task.module)
    for node in own_nodes(task.function):
        if isinstance(node, ast.Raise) and node.exc is not None and module.called(node.exc) == REJECT:
            yield "Reject"
            return
    for node in own_nodes(task.function):
        if _gets_row(node) and not any(block.handlers for block in tries_around(node)):
            yield "a missing row"
            return


def _gets_row(node: ast.AST) -> bool:
    """Whether a node is ``Model.objects.get(…)``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr in ("objects", "_default_manager")
    )


@rule("DCE406", "autoretry-not-a-tuple", "error", "error-handling#which-exceptions-to-retry")
def autoretry_not_a_tuple(task: Task, project: Project) -> Iterator[Problem]:
    """`autoretry_for` or `dont_autoretry_for` is one exception class, not a tuple.

    Why: Celery calls `tuple()` on it: TypeError ('type' object is not iterable) when the task is registered, so neither
    worker nor web process starts.
    Fix: Write a tuple with its comma: `autoretry_for=(Unavailable,)`.
    Source: Measured (TypeError at registration).

    Bad:
        === crm/tasks.py
        from celery import shared_task

        @shared_task(autoretry_for=ConnectionError)
        def sync(pk): ...
    Good:
        === crm/tasks.py
        from celery import shared_task

        @shared_task(autoretry_for=(ConnectionError,))
        def sync(pk): ...
    """
    for option in ("autoretry_for", "dont_autoretry_for"):
        value = task.options.get(option)
        if option == "dont_autoretry_for" and "autoretry_for" not in task.options:
            continue
        if value is not None and _is_exception_class(value, task.module, project):
            yield Problem(f"{option} is a class, not a tuple: TypeError at import", place(task, option))


def _is_exception_class(node: ast.expr, module: Module, project: Project) -> bool:
    if isinstance(node, ast.Name) and module.qualified(node) is None and assigned(node) is None:
        kind = getattr(builtins, node.id, None)
        return isinstance(kind, type) and issubclass(kind, BaseException)
    name = project.meaning(node, module)
    found = project.definition(name)
    if found is not None:
        return isinstance(found[1], ast.ClassDef)
    last = (name or "").rpartition(".")[2]
    return last.endswith(("Error", "Exception", "Timeout")) and not last.isupper()


@rule("DCE407", "retry-undoes-writes", "error", "error-handling#retry-and-transactions")
def retry_undoes_writes(project: Project) -> Iterator[Problem]:
    """A write that leads up to `self.retry()` stands with it inside `atomic`, so the retry undoes it.

    Why: `retry()` leaves the block by an exception: the transaction is rolled back, an attempt counter, a status or an
    error text written just before is gone, and `on_commit` callbacks never run.
    Fix: Leave the atomic block before `raise self.retry(…)`: write in a block of its own, retry after it.
    Source: Measured (after `retry` inside `atomic` the counter was 0, after it outside 1).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from django.db import transaction
        from crm.models import Push
        from crm.client import Unavailable, send

        @shared_task(bind=True)
        def push(self, pk):
            with transaction.atomic():
                row = Push.objects.select_for_update().get(pk=pk)
                try:
                    send(row)
                except Unavailable as exc:
                    row.attempts += 1
                    row.save(update_fields=["attempts"])
                    raise self.retry(exc=exc)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from django.db.models import F
        from crm.models import Push
        from crm.client import Unavailable, send

        @shared_task(bind=True)
        def push(self, pk):
            try:
                send(Push.objects.get(pk=pk))
            except Unavailable as exc:
                Push.objects.filter(pk=pk).update(attempts=F("attempts") + 1)
                raise self.retry(exc=exc)
    """
    for again in retries(project):
        if again.method != "retry" or not again.raises or not _in_atomic(again, project):
            continue
        for statement in statements_around(again.call):
            if statement is again.call or any(parent is statement for parent in parents(again.call)):
                break
            written = next((node for node in nodes_of([statement]) if _writes(node)), None)
            if written is not None:
                yield Problem(
                    f"retry() rolls back what line {written.lineno} writes: both are inside atomic()",
                    again.call,
                    again.module.path,
                )
                break


def _in_atomic(again: Again, project: Project) -> bool:
    """Whether a transaction of the call's function is open there; a handler inside the block is inside it too."""
    child: ast.AST = again.call
    for parent in parents(again.call):
        expressions: list[ast.expr] = []
        if isinstance(parent, (ast.With, ast.AsyncWith)) and child in parent.body:
            expressions = [item.context_expr for item in parent.items]
        elif isinstance(parent, Function) and child in parent.body:
            expressions = parent.decorator_list
        if any(opens(expression, again.module, project) is not None for expression in expressions):
            return True
        if isinstance(parent, (*Function, ast.Lambda)):
            return False
        child = parent
    return False


WRITES = {
    "save", "asave", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "delay_on_commit",
    "apply_async_on_commit", "on_commit",
}  # fmt: skip


def _writes(node: ast.AST) -> bool:
    """Whether a node is a call that writes to the database, or leaves something for the commit."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr in WRITES:
        return True
    if node.func.attr in ("create", "update", "delete", "add"):
        return any(isinstance(part, ast.Attribute) and part.attr == "objects" for part in ast.walk(node.func.value))
    return False


@rule("DCE408", "retry-exception-by-position", "error", "error-handling#retry")
def retry_exception_by_position(project: Project) -> Iterator[Problem]:
    """The exception is given to `self.retry()` by position, where the task's new arguments are expected.

    Why: The first parameter of `retry` is `args`. The retry is not published: TypeError, the object is not iterable, so
    the task fails at its first attempt and the original exception is hidden.
    Fix: Name it: `raise self.retry(exc=exc)`.
    Source: Measured (TypeError, one run).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(bind=True)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                raise self.retry(exc, countdown=60)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(bind=True)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                raise self.retry(exc=exc, countdown=60)
    """
    for again in retries(project):
        first = again.call.args[0] if again.method == "retry" and again.call.args else None
        if isinstance(first, ast.Call):
            is_exception = _is_exception_class(first.func, again.module, project)
        else:
            names = {parent.name for parent in parents(again.call) if isinstance(parent, ast.ExceptHandler)}
            is_exception = isinstance(first, ast.Name) and first.id in names
        if first is not None and is_exception:
            yield Problem(
                f"retry({ast.unparse(first)}) takes the exception for the task's args: TypeError, no retry",
                again.call,
                again.module.path,
            )


@rule("DCE409", "retry-limit-sticks", "warning", "error-handling#retry")
def retry_limit_sticks(project: Project) -> Iterator[Problem]:
    """`self.retry(max_retries=…)` is called in a task that also has `autoretry_for`.

    Why: The number is kept on the task object, which all messages of the process share: the autoretry of later messages
    uses it instead of the task's own `max_retries`.
    Fix: Set `max_retries` on the decorator and leave it out of the call.
    Source: Measured (a later message ran six times instead of two).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Busy, Unavailable, push

        @shared_task(bind=True, autoretry_for=(Unavailable,), max_retries=1)
        def sync(self, pk):
            try:
                push(pk)
            except Busy as exc:
                raise self.retry(exc=exc, max_retries=5)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Busy, Unavailable, push

        @shared_task(bind=True, autoretry_for=(Unavailable,), max_retries=5)
        def sync(self, pk):
            try:
                push(pk)
            except Busy as exc:
                raise self.retry(exc=exc)
    """
    for again in retries(project):
        given = argument(again.call, 6, "max_retries") if again.method == "retry" else None
        if given is None or again.task is None or not _autoretries(again.task):
            continue
        if isinstance(given, ast.Constant) and given.value is None:
            continue
        value, own = worth(given, again.module, project), again.task.option("max_retries")
        if value is not UNKNOWN and value == own:
            continue
        yield Problem(
            "max_retries in retry() stays on the task object: autoretry of later messages uses it too",
            given,
            again.module.path,
        )


@rule("DCE410", "retry-beyond-visibility", "error", "configuration-guide#visibility-timeout")
def retry_beyond_visibility(project: Project) -> Iterator[Problem]:
    """A retry waits longer than the visibility timeout of the Redis (or SQS) broker.

    Why: The worker holds the message unacknowledged until its time comes. After the visibility timeout (Redis: 3,600 s
    unless set) the broker hands it to another worker as well, again and again: the task runs several times.
    Fix: Keep retry delays far below the visibility timeout; schedule long waits in the database or with Beat.
    Source: kombu/transport/redis.py (restores unacknowledged messages older than `visibility_timeout`, 3,600 s).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(bind=True)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                raise self.retry(exc=exc, countdown=6 * 60 * 60)
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Unavailable, push

        @shared_task(bind=True)
        def sync(self, pk):
            try:
                push(pk)
            except Unavailable as exc:
                raise self.retry(exc=exc, countdown=10 * 60)
    """
    timeout = project.visibility_timeout
    if timeout is None:
        return
    for again in retries(project):
        if again.method == "retry":
            given = argument(again.call, 5, "countdown")
            wait = worth(given, again.module, project)
            if is_number(wait) and wait >= timeout:  # type: ignore[operator]
                yield Problem(
                    f"the retry waits {wait:,.0f} s, the broker redelivers after {timeout:,.0f} s: the task runs twice",
                    given,  # type: ignore[arg-type]
                    again.module.path,
                )
    for task in project.each_task:
        for option in ("default_retry_delay", "retry_backoff_max"):
            used = _autoretries(task) or (option == "default_retry_delay" and retrying(project).get(id(task)))
            wait = worth(task.options.get(option), task.module, project) if option in task.options and used else None
            if is_number(wait) and wait >= timeout:  # type: ignore[operator]
                yield Problem(
                    f"{option} is {wait:,.0f} s, the broker redelivers after {timeout:,.0f} s: the task runs twice",
                    place(task, option),
                    task.module.path,
                )


@rule("DCE411", "soft-limit-not-below-hard", "error", "error-handling#time-limits")
def soft_limit_not_below_hard(project: Project) -> Iterator[Problem]:
    """A soft time limit is not below the hard one that holds for the same task.

    Why: When a task's soft limit, or the setting's, is above its hard one, each `delay()` raises ValueError (from 5.5
    on). Before 5.5, or when they are equal, or when a call gives the larger soft one, the child is killed only as the
    soft limit strikes: the handler of `SoftTimeLimitExceeded` has no time to run.
    Fix: Keep the soft limit some seconds below the hard one; a task with a longer soft limit than `task_time_limit`
    needs its own `time_limit`.
    Source: Measured (ValueError from `delay()`; celery/concurrency/asynpool.py counts the hard limit from the soft
    one).

    Bad:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(soft_time_limit=300, time_limit=240)
        def load(pk): ...
    Bad:
        === shop/settings.py
        CELERY_TASK_TIME_LIMIT = 300
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === imports/tasks.py
        from celery import shared_task

        @shared_task(soft_time_limit=3600)
        def load(pk): ...
    Good:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(soft_time_limit=240, time_limit=300)
        def load(pk): ...
    """
    for task in project.each_task:
        own = [name for name in ("soft_time_limit", "time_limit") if name in task.options]
        soft, hard = limit(task, "soft_time_limit", project), limit(task, "time_limit", project)
        if own and is_number(soft) and is_number(hard) and soft >= hard:  # type: ignore[operator]
            source = "time_limit" if "time_limit" in own else "the setting task_time_limit"
            if "soft_time_limit" not in own:
                source = "time_limit; the soft one is the setting's"
            effect = ABOVE if soft > hard else "both strike at once"  # type: ignore[operator]
            yield Problem(
                f"soft limit {soft:g} s, hard limit {hard:g} s ({source}): {effect}", place(task, own[0]),
                task.module.path,
            )  # fmt: skip
    for module, dispatches in project.dispatches.items():
        for dispatch in dispatches:
            problem = _limits_of_call(dispatch, module, project)
            if problem:
                yield problem
    softs, hards = (project.setting(f"task_{name}", defaults=True) for name in ("soft_time_limit", "time_limit"))
    if len(softs) == len(hards) == 1 and is_number(softs[0]) and is_number(hards[0]) and softs[0] >= hards[0]:
        for setting in setting_nodes(project, "task_soft_time_limit"):
            effect = ABOVE if softs[0] > hards[0] else "both strike at once"
            yield Problem(
                f"soft limit {softs[0]:g} s, hard limit {hards[0]:g} s (task_time_limit): {effect}",
                setting.node,
                setting.module.path,
            )


ABOVE = "delay() raises ValueError (before 5.5: killed as the soft one strikes)"


def _limits_of_call(dispatch: Dispatch, module: Module, project: Project) -> Problem | None:
    own = [name for name in ("soft_time_limit", "time_limit") if name in dispatch.options]
    if not own:
        return None
    limits = []
    for name in ("soft_time_limit", "time_limit"):
        if name in own:
            limits.append(worth(dispatch.options[name], module, project))
        else:
            limits.append(limit(dispatch.task, name, project) if dispatch.task else UNKNOWN)
    soft, hard = limits
    if is_number(soft) and is_number(hard) and soft >= hard:
        return Problem(
            f"soft limit {soft:g} s, hard limit {hard:g} s for this call: killed as the soft one strikes",
            dispatch.options[own[0]],
            module.path,
        )
    return None


@rule("DCE412", "soft-limit-swallowed", "warning", "error-handling#time-limits")
def soft_limit_swallowed(task: Task, project: Project) -> Iterator[Problem]:
    """A loop's `except Exception` swallows the soft time limit and the loop goes on.

    Why: `SoftTimeLimitExceeded` is an `Exception` and comes once. A handler that logs and continues takes it for the
    failure of one item; the task runs on until the hard limit kills it without cleanup, or for ever.
    Fix: Put `except SoftTimeLimitExceeded: raise` before the broad handler, or name the exceptions of one item.
    Source: Measured (the task went through its whole list and ended as SUCCESS).

    Bad:
        === imports/tasks.py
        import logging
        from celery import shared_task
        from imports.logic import rows, store

        @shared_task(soft_time_limit=60)
        def load(pk):
            for row in rows(pk):
                try:
                    store(row)
                except Exception:
                    logging.exception("row skipped")
    Good:
        === imports/tasks.py
        import logging
        from celery import shared_task
        from celery.exceptions import SoftTimeLimitExceeded
        from imports.logic import rows, store

        @shared_task(soft_time_limit=60)
        def load(pk):
            for row in rows(pk):
                try:
                    store(row)
                except SoftTimeLimitExceeded:
                    raise
                except Exception:
                    logging.exception("row skipped")
    """
    if task.function is None or not is_number(limit(task, "soft_time_limit", project)):
        return
    module = module_of(task.function, task.module)
    for block in own_nodes(task.function):
        if not isinstance(block, ast.Try) or not _in_loop(block):
            continue
        for handler in block.handlers:
            if any("TimeLimit" in (module.qualified(name) or "") for name in caught(handler) or ()):
                break
            if is_broad(handler, module):
                inside = list(nodes_of(handler.body))
                if not any(isinstance(node, (ast.Raise, ast.Return, ast.Break)) for node in inside) and not mentions(
                    iter(inside), {"SoftTimeLimitExceeded", "TimeLimitExceeded", "retry"}
                ):
                    yield Problem(
                        f"swallows the soft time limit of {task.name} and goes on with the loop", handler, module.path
                    )
                break


def _in_loop(node: ast.AST) -> bool:
    for parent in parents(node):
        if isinstance(parent, (*Function, ast.Lambda)):
            return False
        if isinstance(parent, (ast.For, ast.AsyncFor, ast.While)):
            return True
    return False


POOL_OPTION = re.compile(r"""(?:\s|^|["'])(?:-P|--pool)(?:[\s=,"'\[\]]|- )*(?P<pool>threads|solo|gevent|eventlet)\b""")
POOLS_WITHOUT_LIMITS = {
    "threads": "time limits",
    "solo": "time limits",
    "eventlet": "time limits",
    "gevent": "soft time limits",
}


@rule("DCE413", "limits-ignored-by-pool", "warning", "configuration-guide#pools-and-concurrency")
def limits_ignored_by_pool(text: TextFile, project: Project) -> Iterator[Problem]:
    """A worker runs on a pool that ignores the time limits that the project sets.

    Why: The threads, solo and eventlet pools have no time limits at all and gevent has only the hard one. A task that
    hangs occupies its slot for ever although a limit is written next to it.
    Fix: Run tasks with limits on prefork; elsewhere put timeouts into the task (network, database, lock).
    Source: celery/concurrency/thread.py (and solo.py, eventlet.py: `on_apply` drops both limits; gevent.py: the soft
    one).

    Bad:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(soft_time_limit=240, time_limit=300)
        def load(pk): ...
        === Procfile
        worker: celery -A shop worker --pool=threads --concurrency=8
    Good:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(soft_time_limit=240, time_limit=300)
        def load(pk): ...
        === Procfile
        worker: celery -A shop worker --concurrency=8
    """
    for number, line in enumerate(text.lines, 1):
        match = POOL_OPTION.search(line)
        if match is None or line.lstrip().startswith(("#", "//", ";")):
            continue
        around = "\n".join(text.lines[max(0, number - 8) : number + 3])
        if "celery" not in around or "worker" not in around:
            continue
        who = _limited(
            project, ("soft_time_limit",) if match["pool"] == "gevent" else ("time_limit", "soft_time_limit")
        )
        if who:
            yield Problem(
                f"the {match['pool']} pool ignores {POOLS_WITHOUT_LIMITS[match['pool']]}, as set by {who}", number
            )


def _limited(project: Project, names: tuple[str, ...]) -> str | None:
    """What sets one of these limits: a task or a setting."""
    for name in names:
        if any(is_number(value) for value in project.setting(f"task_{name}", defaults=True)):
            return f"the setting task_{name}"
    for task in project.each_task:
        for name in names:
            if name in task.options and is_number(worth(task.options[name], task.module, project)):
                return task.name
    return None


@rule("DCE414", "limit-beyond-visibility", "error", "configuration-guide#visibility-timeout")
def limit_beyond_visibility(project: Project) -> Iterator[Problem]:
    """A task that acknowledges late may run longer than the visibility timeout of its Redis (or SQS) broker.

    Why: With `acks_late` the message stays unacknowledged while the task runs. After the visibility timeout (Redis:
    3,600 s unless set) it goes to another worker as well, and both run the same task at once.
    Fix: Keep the hard time limit below the visibility timeout: cut the work into slices, or raise
    `broker_transport_options["visibility_timeout"]` above the longest limit.
    Source: kombu/transport/redis.py (restores unacknowledged messages older than `visibility_timeout`, 3,600 s).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, time_limit=4 * 60 * 60)
        def load(pk): ...
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 5 * 60 * 60}
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, time_limit=4 * 60 * 60)
        def load(pk): ...
    """
    timeout = project.visibility_timeout
    if timeout is None:
        return
    by_setting = None
    for task in project.each_task:
        if limit(task, "acks_late", project) is not True:
            continue
        hard = limit(task, "time_limit", project)
        if not is_number(hard) or hard < timeout:  # type: ignore[operator]
            continue
        soft = limit(task, "soft_time_limit", project)
        if hard == timeout and is_number(soft) and soft < timeout:  # type: ignore[operator]
            continue  # the soft limit ends the task in time, unless it is swallowed
        if "time_limit" not in task.options:
            by_setting = by_setting or task
            continue
        yield Problem(
            f"{task.name} acks late and may run {hard:,.0f} s; the broker redelivers after {timeout:,.0f} s",
            place(task, "time_limit"),
            task.module.path,
        )
    if by_setting is not None:
        for setting in setting_nodes(project, "task_time_limit"):
            hard = worth(setting.value, setting.module, project)
            if is_number(hard) and hard >= timeout:  # type: ignore[operator]
                yield Problem(
                    f"tasks that ack late ({by_setting.name}) may run {hard:,.0f} s;"
                    f" the broker redelivers after {timeout:,.0f} s",
                    setting.node,
                    setting.module.path,
                )


@rule("DCE415", "worker-lost-loop", "warning", "error-handling#lost-workers")
def worker_lost_loop(project: Project) -> Iterator[Problem]:
    """`reject_on_worker_lost` with `acks_late` requeues a task that kills its child, without an end.

    Why: A task that runs out of memory or crashes the interpreter comes back at once and kills the next child: 121 runs
    in 15 seconds, while the queue behind it waits. Neither Redis nor a classic RabbitMQ queue counts redeliveries.
    Fix: Use `retry_on_worker_lost=True` with `max_retries` (5.7+), or count redeliveries in `before_start` and fail.
    Source: celery/worker/request.py (`on_failure` rejects with requeue when `reject_on_worker_lost` is set; no
    counter).

    Bad:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, reject_on_worker_lost=True)
        def load(pk): ...
    Good:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, retry_on_worker_lost=True, max_retries=2, default_retry_delay=60)
        def load(pk): ...
    """
    if any(module.mentions(b"redelivered", b"quorum", b"x-delivery-limit", b"x-delivery-count")
           for module in project.modules):  # fmt: skip
        return
    message = "a task that kills its child is requeued without end: acks_late and reject_on_worker_lost, no bound"
    for task in project.each_task:
        if "reject_on_worker_lost" not in task.options or task.option("retry_on_worker_lost"):
            continue
        if worth(task.options["reject_on_worker_lost"], task.module, project) is True and (
            limit(task, "acks_late", project) is True
        ):
            yield Problem(message, place(task, "reject_on_worker_lost"), task.module.path)
    if project.setting("task_reject_on_worker_lost") == [True] and (
        project.setting("task_acks_late") == [True]
        or any(limit(task, "acks_late", project) is True for task in project.each_task)
    ):
        for setting in setting_nodes(project, "task_reject_on_worker_lost"):
            yield Problem(message, setting.node, setting.module.path)


@rule("DCE416", "no-dead-letters-on-redis", "warning", "error-handling#dead-letters-in-rabbitmq")
def no_dead_letters_on_redis(project: Project) -> Iterator[Problem]:
    """Failed messages are rejected (`acks_on_failure=False`), but the broker is Redis.

    Why: RabbitMQ moves a rejected message to its dead letter exchange; Redis deletes it. Nothing is kept and nothing
    runs again.
    Fix: Leave the option out; on Redis keep final failures in a table (a `task_failure` receiver).
    Source: kombu/transport/virtual/base.py (`reject` without requeue only removes the message).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_TASK_ACKS_LATE = True
        CELERY_TASK_ACKS_ON_FAILURE = False
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "amqp://localhost//"
        CELERY_TASK_ACKS_LATE = True
        CELERY_TASK_ACKS_ON_FAILURE = False
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    """
    if project.brokers != {"redis"}:
        return
    for option in ("acks_on_failure", "acks_on_failure_or_timeout"):
        for node, path in _set_to_false(option, project):
            yield Problem(f"{option}=False on Redis: a failed message is deleted, no dead letter", node, path)


def _set_to_false(option: str, project: Project) -> Iterator[tuple[ast.AST, str]]:
    """Tasks and settings that set an option to False."""
    for task in project.each_task:
        if option in task.options and worth(task.options[option], task.module, project) is False:
            yield place(task, option), task.module.path
    for setting in setting_nodes(project, f"task_{option}"):
        if worth(setting.value, setting.module, project) is False:
            yield setting.node, setting.module.path


@rule("DCE417", "timeout-loop", "error", "error-handling#dead-letters-in-rabbitmq")
def timeout_loop(project: Project) -> Iterator[Problem]:
    """A task that exceeds its hard time limit is requeued, and so exceeds it again.

    Why: `acks_on_timeout=False` (and the older `acks_on_failure_or_timeout=False`) rejects *with requeue* on a hard
    time limit: the slow task starts again at once, 6 runs in 14 seconds, for ever.
    Fix: Leave `acks_on_timeout` alone. For dead letters set `acks_on_failure=False` (5.7+), or raise `Reject(exc,
    requeue=False)`.
    Source: celery/worker/request.py (`on_timeout`: `self.reject(requeue=True)` unless `acks_on_timeout`).

    Bad:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=300)
        def load(pk): ...
    Good:
        === imports/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True, acks_on_failure=False, time_limit=300)
        def load(pk): ...
    """
    seen = set()
    for task in project.each_task:
        if limit(task, "acks_late", project) is not True or not is_number(limit(task, "time_limit", project)):
            continue
        for option in ("acks_on_timeout", "acks_on_failure_or_timeout"):
            if limit(task, option, project) is not False:
                continue
            if option == "acks_on_failure_or_timeout" and limit(task, "acks_on_timeout", project) is not None:
                continue
            message = f"{option}=False requeues a task at its hard time limit: it runs again, without end"
            if option in task.options:
                yield Problem(message, place(task, option), task.module.path)
                continue
            for setting in setting_nodes(project, f"task_{option}"):
                if id(setting.node) not in seen:
                    seen.add(id(setting.node))
                    yield Problem(message, setting.node, setting.module.path)


@lru_cache(maxsize=1)
def rejects(project: Project) -> list[tuple[ast.Call, Running]]:
    """The ``Reject(…)`` that code in tasks makes."""
    return [
        (node, running)
        for running in code_in_tasks(project)
        if running.module.mentions(b"Reject")
        for node in own_nodes(running.function)
        if isinstance(node, ast.Call) and running.module.qualified(node.func) == REJECT
    ]


@rule("DCE418", "reject-after-early-ack", "error", "error-handling#dead-letters-in-rabbitmq")
def reject_after_early_ack(project: Project) -> Iterator[Problem]:
    """A task raises `Reject` but acknowledges early, so there is nothing left to reject.

    Why: Without `acks_late` the message is acknowledged before the task starts. `Reject` then neither requeues it nor
    moves it to a dead letter queue: it is gone.
    Fix: Add `acks_late=True` to the task, or use `self.retry()`.
    Source: Measured (`reject` on an acknowledged request calls nothing).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from celery.exceptions import Reject
        from crm.client import Busy, push

        @shared_task
        def sync(pk):
            try:
                push(pk)
            except Busy as exc:
                raise Reject(exc, requeue=True)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Busy, push

        @shared_task(bind=True, max_retries=5)
        def sync(self, pk):
            try:
                push(pk)
            except Busy as exc:
                raise self.retry(exc=exc, countdown=30)
    """
    for call, running in rejects(project):
        if limit(running.task, "acks_late", project) in (None, False):
            yield Problem(
                f"{running.task.name} acknowledges before it starts: Reject has nothing to requeue or dead-letter",
                call,
                running.module.path,
            )


@rule("DCE419", "reject-requeue-loop", "warning", "error-handling#poison-messages")
def reject_requeue_loop(project: Project) -> Iterator[Problem]:
    """`Reject(…, requeue=True)` puts the message back at once, as often as the task raises it.

    Why: There is no delay and no counter: while the cause lasts, the message circles as fast as the workers can take it
    and keeps them from other work.
    Fix: Use `self.retry(countdown=…)` with `max_retries`, or count redeliveries and end with `requeue=False`.
    Source: Measured (ten times in a row the message was given back with requeue, without a delay).

    Bad:
        === crm/tasks.py
        from celery import shared_task
        from celery.exceptions import Reject
        from crm.client import Busy, push

        @shared_task(acks_late=True)
        def sync(pk):
            try:
                push(pk)
            except Busy as exc:
                raise Reject(exc, requeue=True)
    Good:
        === crm/tasks.py
        from celery import shared_task
        from crm.client import Busy, push

        @shared_task(bind=True, acks_late=True, max_retries=5)
        def sync(self, pk):
            try:
                push(pk)
            except Busy as exc:
                raise self.retry(exc=exc, countdown=30)
    """
    for call, running in rejects(project):
        requeue = constant(argument(call, 1, "requeue"), running.module)
        if requeue is not True or limit(running.task, "acks_late", project) is not True:
            continue
        if mentions(iter(own_nodes(running.function)), {"delivery_info", "retries"}):
            continue
        yield Problem(
            "requeued at once and without a count: the message circles while the cause lasts", call, running.module.path
        )


REQUESTS = {f"requests.{name}" for name in ("get", "post", "put", "patch", "delete", "head", "options", "request")}
SESSIONS = {"requests.Session", "requests.session", "requests.sessions.Session"}
METHODS = {name.rpartition(".")[2] for name in REQUESTS}
URLOPEN = "urllib.request.urlopen"


@rule("DCE420", "request-without-timeout", "warning", "error-handling#time-limits")
def request_without_timeout(project: Project) -> Iterator[Problem]:
    """Code that runs in a task makes a `requests` or `urlopen` call without `timeout`.

    Why: Both wait for ever by default. A server that accepts and does not answer holds a worker slot until a time limit
    kills the task, or for good if there is none; a few of them stop the queue.
    Fix: Give every call a timeout, connect and read: `requests.get(url, timeout=(3, 20))`.
    Source: Measured (`requests` and `urlopen` open their socket without a timeout unless one is given).

    Bad:
        === crm/tasks.py
        import requests
        from celery import shared_task

        @shared_task
        def fetch(pk):
            return requests.get(f"https://crm.example/{pk}").json()
    Good:
        === crm/tasks.py
        import requests
        from celery import shared_task

        @shared_task
        def fetch(pk):
            return requests.get(f"https://crm.example/{pk}", timeout=(3, 20)).json()
    """
    for running in code_in_tasks(project):
        if not running.module.mentions(b"requests", b"urlopen"):
            continue
        for node in own_nodes(running.function):
            if not isinstance(node, ast.Call) or has_open_keywords(node):
                continue
            what = _waits_for_ever(node, running.module)
            if what is not None:
                hard = limit(running.task, "time_limit", project)
                until = f"until its {hard:g} s limit" if is_number(hard) else "for ever"
                yield Problem(
                    f"{what} without timeout: a silent server holds {running.task.name} {until}",
                    node,
                    running.module.path,
                )


def _waits_for_ever(call: ast.Call, module: Module) -> str | None:
    """The name of the request that a call makes without a timeout, if it does."""
    name = module.qualified(call.func)
    if name in REQUESTS:
        return None if keyword(call, "timeout") is not None else name
    if name == URLOPEN:
        return None if argument(call, 2, "timeout") is not None else "urlopen"
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in METHODS and keyword(call, "timeout") is None:
        receiver = function.value
        if isinstance(receiver, ast.Name):
            receiver = assigned(receiver) or _opened(receiver) or receiver
        if isinstance(receiver, ast.Call) and module.qualified(receiver.func) in SESSIONS:
            return f"Session.{function.attr}"
    return None


def _opened(name: ast.Name) -> ast.expr | None:
    """What ``with … as name`` around a use opens."""
    for parent in parents(name):
        if isinstance(parent, (ast.With, ast.AsyncWith)):
            for item in parent.items:
                if isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name.id:
                    return item.context_expr
        elif isinstance(parent, Function):
            return None
    return None
