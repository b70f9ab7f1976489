"""DCE3xx: how tasks are defined and registered."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from ..files import is_test
from ..infer import UNKNOWN, assigned, binding_scope, constant, own_nodes
from ..module import Function, Module, enclosing, parents
from ..project import PUBLISHES, SIGNATURES, Project, Task
from ..registry import Problem, rule
from .common import every_dispatch, label, meant, problem, tasks_in

# What the task decorators and `celery.app.task.Task` know.
TASK_OPTIONS = {
    "name", "base", "bind", "pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs", "shared",
    "filter", "lazy", "autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max",
    "retry_jitter", "max_retries", "default_retry_delay", "rate_limit", "ignore_result", "trail", "send_events",
    "store_errors_even_if_ignored", "store_eager_result", "serializer", "time_limit", "soft_time_limit", "backend",
    "track_started", "acks_late", "acks_on_failure_or_timeout", "acks_on_failure", "acks_on_timeout",
    "reject_on_worker_lost", "retry_on_worker_lost", "throws", "expires", "priority", "resultrepr_maxsize", "queue",
    "routing_key", "exchange", "exchange_type", "delivery_mode", "compression", "immediate", "mandatory", "typing",
    "Strategy", "Request", "AsyncResult", "MaxRetriesExceededError", "OperationalError", "on_failure", "on_success",
    "on_retry", "on_replace", "on_bound", "before_start", "after_return", "abstract", "app", "shadow_name", "run",
    "options", "from_config", "run_every", "relative", "description", "visible", "autoregister", "__doc__",
}  # fmt: skip
NOT_IN_DECORATOR = {
    "countdown": "it belongs to apply_async",
    "eta": "it belongs to apply_async",
    "task_id": "it belongs to apply_async",
    "retries": "max_retries is meant",
    "max_retry": "max_retries is meant",
    "retry_delay": "default_retry_delay is meant",
    "retry_count": "max_retries is meant",
    "autoretry": "autoretry_for is meant",
    "retry_for": "autoretry_for is meant",
    "backoff": "retry_backoff is meant",
    "task_name": "name is meant",
    "soft_limit": "soft_time_limit is meant",
    "hard_time_limit": "time_limit is meant",
    "task_time_limit": "time_limit is meant",
    "task_soft_time_limit": "soft_time_limit is meant",
    "task_acks_late": "acks_late is meant",
}
# Decorators that return a plain function, whatever they get.
PLAIN_RESULT = {
    "django.db.transaction.atomic", "functools.lru_cache",
    "functools.cache", "asgiref.sync.sync_to_async", "asgiref.sync.async_to_sync", "contextlib.contextmanager",
    "django.contrib.auth.decorators.login_required", "django.utils.translation.override", "tenacity.retry",
}  # fmt: skip
ON_COMMIT = {"delay_on_commit", "apply_async_on_commit"}
PLAIN_BASES = {"celery.Task", "celery.app.task.Task"}
ABORTABLE = "celery.contrib.abortable.AbortableTask"
SELF = {"self", "task", "cls", "this", "_self", "_", "celery_task", "task_self", "bound_task", "current_task"}
DYNAMIC_IMPORT = (b"import_module", b"__import__", b"iter_modules", b"walk_packages", b"autodiscover_modules")


def short(task: Task) -> str:
    return f"`{task.qualified.rpartition('.')[2]}`"


def _place(task: Task) -> ast.AST:
    """What to report of a task: its function, unless that stands elsewhere (``task = shared_task(imported)``)."""
    inside = task.node is task.function or isinstance(task.node, ast.ClassDef)
    return task.function if inside and task.function is not None else task.node


def _other_decorators(task: Task) -> list[ast.expr]:
    if not isinstance(task.function, Function) or task.function is not task.node:
        return []
    return [d for d in task.function.decorator_list if d is not task.decorator]


def _below(task: Task) -> list[ast.expr]:
    """The decorators between the task decorator and the function."""
    if not isinstance(task.function, Function) or task.decorator not in task.function.decorator_list:
        return []
    decorators = task.function.decorator_list
    return decorators[decorators.index(task.decorator) + 1 :]  # type: ignore[arg-type]


@rule("DCE301", "self-without-bind", "error", "task-design-patterns#define-a-task")
def self_without_bind(task: Task, project: Project) -> Iterator[Problem]:  # noqa: ARG001
    """A task's first parameter is `self`, but the task is not bound.

    Why: nothing is given for `self`: `delay(pk)` raises TypeError for the missing argument, and `self.retry` would be
    called on the first argument. The same holds for a method: the task does not know the object.
    Fix: Add `bind=True`, or drop the parameter; put a task that is a method at module level.
    Source: Measured (`send_receipt() missing 1 required positional argument: 'order_pk'`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(max_retries=3)
        def send_receipt(self, order_pk):
            raise self.retry()
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True, max_retries=3)
        def send_receipt(self, order_pk):
            raise self.retry()
    """
    function = task.function
    if task.bound is not False or not isinstance(function, Function) or task.decorator is None or _below(task):
        return
    if "filter" in task.options:  # may make a function of the method
        return
    names = [parameter.arg for parameter in [*function.args.posonlyargs, *function.args.args]]
    if names[:1] != ["self"]:
        return
    if isinstance(getattr(function, "parent", None), ast.ClassDef):
        yield Problem(f"{short(task)} is a method, nothing is given for `self` when it runs as a task", _place(task))
    else:
        yield Problem(f"{short(task)} takes `self` but is not bound, nothing is given for it", _place(task))


@rule("DCE302", "bind-without-self", "error", "task-design-patterns#define-a-task")
def bind_without_self(task: Task, project: Project) -> Iterator[Problem]:  # noqa: ARG001
    """A task is bound, but its first parameter is not for the task itself.

    Why: with `bind=True` Celery gives the task as first argument. Without a parameter for it every call raises
    TypeError; otherwise the first parameter holds the task, and the given value lands in the next one.
    Fix: Add `self` as first parameter, or drop `bind=True`.
    Source: Measured (`takes 0 positional arguments but 1 was given`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def send_receipt(order_pk): ...
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def send_receipt(self, order_pk): ...
    """
    function = task.function
    if task.bound is not True or not isinstance(function, Function) or isinstance(task.node, ast.ClassDef):
        return
    if "bind" not in task.options or _other_decorators(task):
        return
    parameters = [*function.args.posonlyargs, *function.args.args]
    if not parameters:
        if function.args.vararg is None:
            yield Problem(f"{short(task)} is bound but has no parameter for the task: every call fails", _place(task))
        return
    first = parameters[0]
    if first.arg not in SELF and _looks_like_data(first, function):
        yield Problem(f"{short(task)} is bound, so {first.arg!r} is the task itself, not an argument", _place(task))


def _looks_like_data(parameter: ast.arg, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a first parameter is named or annotated like an argument, and never used as a task."""
    annotation = parameter.annotation
    plain = isinstance(annotation, ast.Name) and annotation.id in ("int", "str", "bool", "dict", "list", "float")
    if not plain and not re.search(r"(^|_)(id|pk|ids|pks|uuid|email|url|name|path)$", parameter.arg):
        return False
    return not any(
        isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == parameter.arg
        and part.attr in ("request", "retry", "update_state", "replace", "name", "app", "max_retries")
        for part in own_nodes(function)
    )


@rule("DCE303", "decorator-above-task", "error", "task-design-patterns#define-a-task")
def decorator_above_task(task: Task, project: Project) -> Iterator[Problem]:
    """Another decorator stands above the task decorator and wraps the task instead of its function.

    Why: the name is a plain function then: `.delay` raises AttributeError, and a worker runs the function without the
    outer decorator, so `@transaction.atomic` above `@shared_task` gives no transaction there.
    Fix: Put the task decorator on top.
    Source: Measured (`'function' object has no attribute 'delay'`; run by its name, `in_atomic_block` is False).

    Bad:
        === orders/tasks.py
        from celery import shared_task
        from django.db import transaction

        @transaction.atomic
        @shared_task
        def close_month(): ...
    Good:
        === orders/tasks.py
        from celery import shared_task
        from django.db import transaction

        @shared_task
        @transaction.atomic
        def close_month(): ...
    """
    function = task.function
    if not isinstance(function, Function) or task.decorator not in function.decorator_list:
        return
    for decorator in function.decorator_list[: function.decorator_list.index(task.decorator)]:  # type: ignore[arg-type]
        name = project.meaning(decorator.func if isinstance(decorator, ast.Call) else decorator, task.module)
        if name in PLAIN_RESULT or _returns_inner(name, isinstance(decorator, ast.Call), project):
            shown = (name or "").rpartition(".")[2]
            yield Problem(f"`{shown}` wraps the task {short(task)}: no `.delay`, and workers run it without", decorator)


def _returns_inner(name: str | None, called: bool, project: Project) -> bool:
    """Whether a decorator of the project returns a function of its own that only calls what it got."""
    found = project.definition(name)
    if not found or not isinstance(found[1], ast.FunctionDef) or found[1].decorator_list:
        return False
    maker: ast.AST = found[1]
    inner = _returned_function(maker)
    if inner is not None and called:
        maker, inner = inner, _returned_function(inner)
    if inner is None or not maker.args.args:  # type: ignore[attr-defined]
        return False
    given = maker.args.args[0].arg  # type: ignore[attr-defined]
    calls_it = any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == given
        for part in ast.walk(inner)
    )
    # One that hands on the task's own attributes, or looks at them, knows what it wraps.
    knows = any(
        isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in (given, inner.name)
        and not part.attr.startswith("__")
        for part in ast.walk(maker)
    )  # fmt: skip
    return calls_it and not knows


def _returned_function(function: ast.AST) -> ast.FunctionDef | None:
    inner = {part.name: part for part in function.body if isinstance(part, ast.FunctionDef)}  # type: ignore[attr-defined]
    returns = [part for part in own_nodes(function) if isinstance(part, ast.Return)]
    if len(returns) != 1 or not isinstance(returns[0].value, ast.Name):
        return None
    return inner.get(returns[0].value.id)


@rule("DCE304", "async-task", "error", "django-integration#async-views-and-tasks")
def async_task(task: Task, project: Project) -> Iterator[Problem]:
    """A task is an `async def` function.

    Why: a worker calls it and gets a coroutine that nobody awaits: no line of it runs. The task ends as FAILURE
    (EncodeError), or as SUCCESS when results are ignored.
    Fix: Write a plain function that calls `async_to_sync(inner)(…)`.
    Source: Measured (`Object of type coroutine is not JSON serializable`; nothing ran).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        async def send_receipt(order_pk): ...
    Good:
        === orders/tasks.py
        from asgiref.sync import async_to_sync
        from celery import shared_task

        async def send(order_pk): ...

        @shared_task
        def send_receipt(order_pk):
            async_to_sync(send)(order_pk)
    """
    if not isinstance(task.function, ast.AsyncFunctionDef) or _below(task):
        return
    if "base" in task.options or project.task_classes or (task.decorator is None and task.node is task.function):
        return
    if isinstance(task.node, ast.ClassDef) and any(
        isinstance(part, Function) and part.name == "__call__" for part in task.node.body
    ):
        return
    if _is_wrapped(task, project) or any(m.mentions(b"celery_aio_pool", b"aio_celery") for m in project.modules):
        return
    yield Problem(f"{short(task)} is a coroutine function: a worker never runs its body", _place(task))


def _is_wrapped(task: Task, project: Project) -> bool:
    decorator = task.decorator
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return project.meaning(function, task.module) in project.wrappers


@rule("DCE305", "duplicate-task-name", "error", "task-design-patterns#define-a-task")
def duplicate_task_name(project: Project) -> Iterator[Problem]:
    """Two tasks have one name.

    Why: only the one that is registered first exists: calls of the other run it too, and which one is first may change
    with the order of imports. Celery 5.7 warns, older versions are silent.
    Fix: Give each task a name of its own, `<app>.<function>`.
    Source: Measured (both names call the first function; DuplicateTaskNameWarning).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(name="send_receipt")
        def send_receipt(order_pk): ...
        === payments/tasks.py
        from celery import shared_task

        @shared_task(name="send_receipt")
        def send_receipt(payment_pk): ...
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(name="orders.send_receipt")
        def send_receipt(order_pk): ...
        === payments/tasks.py
        from celery import shared_task

        @shared_task(name="payments.send_receipt")
        def send_receipt(payment_pk): ...
    """
    named: dict[str, list[Task]] = defaultdict(list)
    for task in project.each_task:
        name = task.option("name")
        if isinstance(name, str) and task.decorator is not None and "name" in _written(task):
            named[name].append(task)
    for name, tasks in named.items():
        modules = {task.module for task in tasks}
        if len(tasks) > 1 and (len(modules) == 1 or len(project.apps) <= 1):
            first, *others = sorted(tasks, key=lambda task: (task.module.path, task.node.lineno))  # type: ignore[attr-defined]
            for task in others:
                apart = _is_conditional(task.node) or _is_conditional(first.node)
                if not apart and _share_app(task.decorator, task.module, first.decorator, first.module, project):
                    where = f"{first.module.path}:{first.node.lineno}"  # type: ignore[attr-defined]
                    text = f"the task name {name!r} is also that of {where}, only one of the two is registered"
                    yield problem(text, task.node, task.module)
    for module in project.modules:
        yield from _twice_in(module, project)


def _written(task: Task) -> set[str | None]:
    return {word.arg for word in task.decorator.keywords} if isinstance(task.decorator, ast.Call) else set()


def _twice_in(module: Module, project: Project) -> Iterator[Problem]:
    """Two task functions of one name in a module, without names of their own."""
    if not module.mentions(b"task"):
        return
    seen: dict[str, tuple[ast.AST, ast.expr]] = {}
    for node in module.tree.body:
        if not isinstance(node, Function):
            continue
        made = [d for d in node.decorator_list if project.task_decorator(d, module) is not None]
        if not made or any(isinstance(d, ast.Call) and any(w.arg in ("name", None) for w in d.keywords) for d in made):
            continue
        first, decorator = seen.setdefault(node.name, (node, made[0]))
        if first is not node and _share_app(decorator, module, made[0], module, project):
            line = first.lineno  # type: ignore[attr-defined]
            yield problem(f"the task `{node.name}` is defined twice, workers run that of line {line}", node, module)


def _share_app(one: ast.expr | None, here: Module, other: ast.expr | None, there: Module, project: Project) -> bool:
    """Whether two task decorators register with one app; a shared task is registered with every app."""
    apps = {_app_of(one, here, project), _app_of(other, there, project)}
    return len(apps) == 1 or None in apps


def _app_of(decorator: ast.expr | None, module: Module, project: Project) -> str | None:
    """The app that a decorator of the form ``app.task`` names; None for other forms."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return project.meaning(function.value, module) if isinstance(function, ast.Attribute) else None


def _is_conditional(node: ast.AST) -> bool:
    return any(isinstance(parent, (ast.If, ast.Try, *Function)) for parent in parents(node))


@rule("DCE306", "nested-task", "error", "task-design-patterns#define-a-task")
def nested_task(task: Task, project: Project) -> Iterator[Problem]:
    """A task is defined inside a view, a management command, a method or another task.

    Why: it exists only in the process that ran the function around it. A worker never did: it discards the message as
    unregistered.
    Fix: Define it at the top level of `<app>/tasks.py`; give what it used from around it as arguments.
    Source: celery/worker/consumer/consumer.py (`on_unknown_task`: the message is logged and rejected).

    Bad:
        === orders/views.py
        from celery import shared_task

        def buy(request):
            @shared_task
            def send_receipt(order_pk): ...

            send_receipt.delay(1)
    Good:
        === orders/views.py
        from orders.tasks import send_receipt

        def buy(request):
            send_receipt.delay(1)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    if task.function is None or task.node is not task.function or task.decorator is None:
        return
    around = enclosing(task.function, *Function)
    if around is None or enclosing(around, *Function) is not None:
        return
    if _runs_on_request(around, task.module, project) and _is_published(task.function.name, around):
        yield Problem(f"{short(task)} is defined inside `{around.name}`, so no worker knows it", task.function)


def _is_published(name: str, function: ast.AST) -> bool:
    """Whether a function publishes a task of that local name."""
    return any(
        isinstance(part, ast.Attribute)
        and part.attr in (*PUBLISHES, *SIGNATURES)
        and isinstance(part.value, ast.Name)
        and part.value.id == name
        for part in own_nodes(function)
    )


def _runs_on_request(function: ast.AST, module: Module, project: Project) -> bool:
    """Whether a function runs on demand, in a process that is no worker: a view, a command, a task that publishes."""
    names = [parameter.arg for parameter in function.args.args]  # type: ignore[attr-defined]
    name = function.name  # type: ignore[attr-defined]
    in_class = isinstance(function.parent, ast.ClassDef)  # type: ignore[attr-defined]
    if name in ("ready", "__init__", "__call__", "setup_periodic_tasks"):
        return False
    if names[:1] == ["request"] or names[:2] == ["self", "request"]:
        return True
    if name == "handle" and in_class:
        return True
    return any(other.function is function for other in tasks_in(module, project))


@rule("DCE307", "unknown-task-option", "error", "task-design-patterns#define-a-task")
def unknown_task_option(task: Task, project: Project) -> Iterator[Problem]:
    """The task decorator gets an option that Celery does not know, close to one that it does.

    Why: any keyword becomes an attribute of the task, without complaint and without effect: with `max_retry=10` the
    task still has 3 retries.
    Fix: Spell it as Celery does.
    Source: Measured (`task.max_retries` stays 3).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True, max_retry=10, ack_late=True)
        def send_receipt(self, order_pk): ...
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True, max_retries=10, acks_late=True)
        def send_receipt(self, order_pk): ...
    """
    if not isinstance(task.decorator, ast.Call) or _is_wrapped(task, project):
        return
    for word in task.decorator.keywords:
        hint = meant(word.arg, TASK_OPTIONS, NOT_IN_DECORATOR) if word.arg else None
        if hint and not _is_read(word.arg or "", project):
            yield Problem(f"{short(task)} has an option {word.arg!r} that Celery ignores: {hint}", word.value)


def _is_read(name: str, project: Project) -> bool:
    """Whether the project itself reads an attribute of that name of a task: ``self.max_retry``, ``task.max_retry``."""
    for module in project.modules:
        if module.mentions(name.encode()):
            for node in module.find(ast.Attribute):
                if node.attr == name and isinstance(node.value, ast.Name) and node.value.id in (*SELF, "sender"):
                    return True
            for call in module.find(ast.Call):
                asks = getattr(call.func, "id", "") == "getattr" and len(call.args) > 1
                if asks and constant(call.args[1], module) == name:
                    return True
    return False


@rule("DCE308", "base-without-on-commit", "error", "task-design-patterns#base-classes-and-hooks")
def base_without_on_commit(project: Project) -> Iterator[Problem]:
    """`delay_on_commit` is called on a task whose base class derives from `celery.Task`.

    Why: the method belongs to Celery's Django task class; a base class of one's own that derives from `celery.Task`
    does not have it, so the call raises AttributeError.
    Fix: Derive the base class from `celery.contrib.django.task.DjangoTask`.
    Source: Measured (`hasattr(task, "delay_on_commit")` is False).

    Bad:
        === orders/tasks.py
        from celery import Task, shared_task

        class LoggedTask(Task): ...

        @shared_task(base=LoggedTask)
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.delay_on_commit(order.pk)
    Good:
        === orders/tasks.py
        from celery import shared_task
        from celery.contrib.django.task import DjangoTask

        class LoggedTask(DjangoTask): ...

        @shared_task(base=LoggedTask)
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.delay_on_commit(order.pk)
    """
    for dispatch in every_dispatch(project):
        if dispatch.method not in ON_COMMIT or dispatch.task is None:
            continue
        base = _class_without(dispatch.task, project)
        if base:
            text = f"{label(dispatch)} has no `{dispatch.method}`: its base {base} derives from celery.Task"
            yield problem(text, dispatch.call, dispatch.module)


def _class_without(task: Task, project: Project) -> str | None:
    """The name of a task's class when it derives from `celery.Task` and has no ``delay_on_commit``."""
    if "base" in task.options:
        maker = project.task_decorator(task.decorator, task.module) if task.decorator is not None else None
        outer = maker is not None and "base" not in _written(task)  # from the project's own decorator
        node, module = task.options["base"], maker.module if outer and maker else task.module
    elif isinstance(task.node, ast.ClassDef):
        return _plain_base(task.node, task.module, project)
    elif len(project.task_classes) == 1 and len(project.apps) == 1:
        node, module = next(iter(project.task_classes.items()))
    else:
        return None
    text = constant(node, module)
    name = project.resolve(text.replace(":", ".")) if isinstance(text, str) else project.meaning(node, module)
    if name in PLAIN_BASES:
        return "celery.Task"
    found = project.definition(name)
    return _plain_base(found[1], found[0], project) if found and isinstance(found[1], ast.ClassDef) else None


def _plain_base(node: ast.ClassDef, module: Module, project: Project) -> str | None:
    classes = [node]
    names = []
    for name, _, base in project.bases(node, module):
        names.append(name)
        if base is not None:
            classes.append(base)
    if not names or any(name not in PLAIN_BASES and project.definition(name) is None for name in names):
        return None  # from a package, which may have it
    if any(isinstance(part, Function) and part.name in ON_COMMIT for owner in classes for part in owner.body):
        return None
    return f"`{node.name}`" if set(names) & PLAIN_BASES else None


@rule("DCE309", "abort-without-base", "error", "task-design-patterns#cancel-a-task")
def abort_without_base(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """A task asks `self.is_aborted()` without the base class that has it.

    Why: only `celery.contrib.abortable.AbortableTask` has the method; elsewhere the call raises AttributeError.
    Fix: Add `base=AbortableTask`, and abort with `AbortableAsyncResult(id).abort()`; or keep a flag in the database.
    Source: Measured (`object has no attribute 'is_aborted'`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def export(self):
            if self.is_aborted():
                return
    Good:
        === orders/tasks.py
        from celery import shared_task
        from celery.contrib.abortable import AbortableTask

        @shared_task(bind=True, base=AbortableTask)
        def export(self):
            if self.is_aborted():
                return
    """
    function = call.func
    if getattr(function, "attr", "") != "is_aborted" or not isinstance(function.value, ast.Name):  # type: ignore[attr-defined]
        return
    around = binding_scope(function.value)
    for task in tasks_in(module, project):
        if task.function is not around or around is None or not task.bound:
            continue
        parameters = [*task.function.args.posonlyargs, *task.function.args.args]
        if not parameters or parameters[0].arg != function.value.id:  # type: ignore[attr-defined]
            continue
        if isinstance(task.node, ast.ClassDef):
            names = [name for name, *_ in project.bases(task.node, module)]
            if names and all(name in PLAIN_BASES for name in names) and not _defines(task.node, "is_aborted"):
                yield Problem(f"{short(task)} has no is_aborted(), only AbortableTask has", call)
        elif "base" not in task.options and not task.open and not project.task_classes:
            yield Problem(f"{short(task)} has no is_aborted(), only AbortableTask has", call)


def _defines(node: ast.ClassDef, name: str) -> bool:
    return any(isinstance(part, Function) and part.name == name for part in node.body)


@rule("DCE310", "task-module-not-imported", "error", "task-design-patterns#define-a-task")
def module_not_imported(project: Project) -> Iterator[Problem]:
    """A task that is sent by its name stands in a module that neither autodiscovery nor anything else imports.

    Why: `autodiscover_tasks()` imports `<app>.tasks` only. A worker that never imported the module discards the task's
    messages as unregistered, though Beat and `send_task` send them.
    Fix: Move it to `<app>/tasks.py`, import the module there or in the package's `__init__`, or name it in
    `CELERY_IMPORTS`.
    Source: celery/app/base.py (`autodiscover_tasks(related_name='tasks')` imports the module of that name).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.autodiscover_tasks()
        === orders/background.py
        from celery import shared_task

        @shared_task
        def send_receipts(): ...
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"receipts": {"task": "orders.background.send_receipts", "schedule": 3600}}
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.autodiscover_tasks()
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipts(): ...
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"receipts": {"task": "orders.tasks.send_receipts", "schedule": 3600}}
    """
    discovered = _discovered_names(project)
    if discovered is None:
        return
    for module in project.modules:
        tasks = [task for task in tasks_in(module, project) if task.decorator and task.node in module.tree.body]
        last = module.name.rpartition(".")[2]
        if not tasks or last in discovered or module.is_package or is_test(module.path) or "__main__" in module.name:
            continue
        if any(app.rpartition(".")[0] == module.name for app in project.apps) or module.mentions(b"__main__"):
            continue  # what `celery -A` or `python` starts
        if any(project.find_module(f"{module.name}.{name}") for name in discovered):
            continue
        if "/management/commands/" in module.path:
            if not any(dispatch.task in tasks for dispatch in project.dispatches[module]):
                continue  # `handle` may call it as a function
        elif not _is_named(module, last, tasks, project):
            continue  # nothing sends what nothing imports: dead code
        if not _is_imported(module, last, tasks, project) and not _package_imports(module, project):
            task = min(tasks, key=lambda task: task.node.lineno)  # type: ignore[attr-defined]
            text = f"nothing imports {module.path}, so workers do not know {short(task)}"
            yield problem(text, task.node, module)


def _discovered_names(project: Project) -> set[str] | None:
    """The module names that autodiscovery imports; None when there is none, or the project has a way of its own."""
    names: set[str] = set()
    found = False
    for module in project.modules:
        if module.mentions(*DYNAMIC_IMPORT):
            return None
        if not module.mentions(b"autodiscover_tasks"):
            continue
        for call in module.find(ast.Call):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "autodiscover_tasks":
                found = True
                names.add("tasks")
                given = (
                    call.args[1]
                    if len(call.args) > 1
                    else next((word.value for word in call.keywords if word.arg == "related_name"), None)
                )
                if given is not None:
                    name = constant(given, module)
                    if name is UNKNOWN:
                        return None
                    names |= {name} if isinstance(name, str) else set()
                packages = call.args[0] if call.args else None
                value = constant(packages, module)
                if isinstance(value, (list, tuple)):
                    names |= {str(part).rpartition(".")[2] for part in value}
    return names if found else None


def _is_imported(module: Module, last: str, tasks: list[Task], project: Project) -> bool:
    """Whether any other file that is no test names the module, a deployment file included.

    The name of a task, ``"orders.background.send_receipt"`` in a Beat schedule, imports nothing.
    """
    names = b"|".join(re.escape(task.qualified.rpartition(".")[2].encode()) for task in tasks)
    word = re.compile(rb"(?<!\w)" + re.escape(last.encode()) + rb"(?!\w)(?!\.(?:" + names + rb")[\"'])")
    if _elsewhere(word, module, project):
        return True
    return any(word.search(line.encode()) for file in project.text for line in file.lines)


def _is_named(module: Module, last: str, tasks: list[Task], project: Project) -> bool:
    """Whether another file that is no test has a task's name as text, as Beat's schedule and `send_task` do."""
    names = [rf"(?:[\w.]+\.)?{last}\.{task.qualified.rpartition('.')[2]}|{re.escape(task.name)}" for task in tasks]
    word = re.compile(rf"[\"'](?:{'|'.join(names)})[\"']".encode())
    return _elsewhere(word, module, project)


def _elsewhere(pattern: re.Pattern[bytes], module: Module, project: Project) -> bool:
    """Whether another Python file that is no test has what the pattern says."""
    return any(pattern.search(source) for path, source in project.files.sources.items() if path != module.path)


def _package_imports(module: Module, project: Project) -> bool:
    """Whether a package around the module imports its modules by a search of its own."""
    folder = module.path.rpartition("/")[0]
    for path in project.files.python:
        place, _, name = path.rpartition("/")
        if name in ("__init__.py", "apps.py", "urls.py") and (not place or f"{folder}/".startswith(f"{place}/")):
            source = project.files.read(path) or b""
            if any(word in source for word in (*DYNAMIC_IMPORT, b"glob")):
                return True
    return False


@rule("DCE311", "class-task-not-registered", "error", "task-design-patterns#base-classes-and-hooks")
def class_not_registered(project: Project) -> Iterator[Problem]:
    """A class of tasks is called, but no app has it registered.

    Why: since Celery 4 a class is no task until `app.register_task()`; its messages have no name (None), and workers
    discard them as unregistered.
    Fix: `send_receipt = app.register_task(SendReceipt())`, and call that; or write a function with `@shared_task`.
    Source: Measured (`Received unregistered task of type None`).

    Bad:
        === orders/tasks.py
        from celery import Task

        class SendReceipt(Task):
            def run(self, order_pk): ...

        def buy(order):
            SendReceipt().delay(order.pk)
    Good:
        === orders/tasks.py
        from celery import Task

        from shop.celery import app

        class SendReceipt(Task):
            def run(self, order_pk): ...

        send_receipt = app.register_task(SendReceipt())

        def buy(order):
            send_receipt.delay(order.pk)
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
    """
    registered = _registered_classes(project)
    if registered is None:
        return
    for module in project.modules:
        if not module.mentions(b".delay", b".apply_async"):
            continue
        for call in module.find(ast.Call):
            function = call.func
            if not (isinstance(function, ast.Attribute) and function.attr in ("delay", "apply_async", *ON_COMMIT)):
                continue
            value = assigned(function.value) if isinstance(function.value, ast.Name) else None
            value = value if isinstance(value, ast.Call) else function.value
            target = value.func if isinstance(value, ast.Call) else value
            task = project.task_of(target, module)
            if task is None or not isinstance(task.node, ast.ClassDef) or task.qualified in registered:
                continue
            if task.node.decorator_list or any(n.startswith("celery.task.") for n, *_ in _bases_of(task, project)):
                continue  # the decorator may register it, as Celery 3 did
            yield problem(f"{short(task)} is not registered with any app, workers discard its messages", call, module)


def _bases_of(task: Task, project: Project) -> Iterator[tuple[str, Module | None, ast.ClassDef | None]]:
    return project.bases(task.node, task.module) if isinstance(task.node, ast.ClassDef) else iter(())


def _registered_classes(project: Project) -> set[str] | None:
    """The classes given to ``app.register_task``; None when one is given that the source does not name."""
    found: set[str] = set()
    for module in project.modules:
        if not module.mentions(b"register"):
            continue
        for node in module.find(ast.Attribute):
            if not (node.attr == "register_task" or (node.attr == "register" and _ends_in_tasks(node.value))):
                continue
            call, where = node.parent, module  # type: ignore[attr-defined]
            if isinstance(call, ast.ClassDef):
                continue  # a decorator
            given: ast.AST | None = call.args[0] if isinstance(call, ast.Call) and call.args else None
            for _ in range(2):  # register_task(send), with send = Send()
                given = given.func if isinstance(given, ast.Call) else given
                place = project.definition(project.meaning(given, where))
                if place is None or isinstance(place[1], ast.ClassDef):
                    break
                where, given = place
            if place is None or not isinstance(place[1], ast.ClassDef):
                return None
            found.add(f"{place[0].name}.{place[1].name}")
    return found


def _ends_in_tasks(node: ast.expr) -> bool:
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) == "tasks"
