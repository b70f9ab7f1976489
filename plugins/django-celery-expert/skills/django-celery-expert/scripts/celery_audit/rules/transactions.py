"""DCE1xx: publishing and the database transaction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Optional

from ..atomic import (
    UNKNOWN_ALIAS,
    Step,
    atomic_around,
    callback,
    callee,
    is_on_commit,
    method_of,
    openings,
    ways_to,
)
from ..infer import assigned, constant, every_parameter, local_values, own_nodes
from ..module import Function, Module, argument, enclosing, keyword, parents, scope
from ..project import PUBLISHES, TASK_BASES, Dispatch, Project, Setting, Task, is_on
from ..registry import Problem, rule
from ..running import module_of, statements_around

SIGNALS = "django.db.models.signals."
EARLY_SIGNALS = {"pre_save", "m2m_changed"}  # sent before the row is there, and between the writes
RECEIVER = {"django.dispatch.receiver", "django.dispatch.dispatcher.receiver"}
ADMIN_METHODS = {
    "save_model", "save_related", "save_formset", "save_form", "delete_model", "response_add", "response_change",
    "response_delete", "log_addition", "log_change", "log_deletion",
}  # fmt: skip
VIEW_CLASS = ("View", "ViewSet", "Viewset", "ModelAdmin")
VIEW_METHODS = {"form_valid", "form_invalid", "perform_create", "perform_update", "perform_destroy"}
PARTIAL = "functools.partial"
PLAIN_TASKS = TASK_BASES - {"celery.contrib.django.task.DjangoTask"} | {
    "celery_once.QueueOnce", "celery_singleton.Singleton", "celery_batches.Batches",
}  # fmt: skip


# Where a dispatch stands.


class Danger(NamedTuple):
    """Why a dispatch may be published before the commit."""

    kind: str  # one of KINDS
    step: Step  # the dispatch, or the call that leads to it
    detail: str  # the name of the function or signal


KINDS = ("atomic", "admin", "signal", "request", "save", "saved")  # sure ones first


def danger(dispatch: Dispatch, project: Project) -> Danger | None:
    """The surest reason why a dispatch is published before the commit, if any; each dispatch is looked at once."""
    known = _dangers(project)
    if dispatch not in known:
        known[dispatch] = None
        if dispatch.publishes and not dispatch.on_commit and _on_commit_of(dispatch.call, dispatch, project) is None:
            found = [_danger_at(step, dispatch, project) for step in ways_to(dispatch.call, dispatch.module, project)]
            known[dispatch] = min(
                (each for each in found if each), key=lambda each: KINDS.index(each.kind), default=None
            )
    return known[dispatch]


@lru_cache(maxsize=2)
def _dangers(project: Project) -> dict[Dispatch, Optional[Danger]]:  # noqa: ARG001, UP045  one for each project
    return {}


def _danger_at(step: Step, dispatch: Dispatch, project: Project) -> Danger | None:
    function = step.function
    around = atomic_around(step.node, step.module, project)
    if around is not None:
        if _only_reads(around):
            return None
        return Danger("atomic", step, getattr(function, "name", "") or step.module.name)
    if not isinstance(function, Function) or _waits_by_decorator(function, step.module, project):
        return None
    owner = getattr(function, "parent", None)
    if isinstance(owner, ast.ClassDef):
        if function.name in ADMIN_METHODS and _derives(owner, step.module, project, ("ModelAdmin",)):
            return Danger("admin", step, f"{owner.name}.{function.name}")
        if function.name in ("save", "delete") and project.is_model(f"{step.module.name}.{owner.name}"):
            return Danger("save", step, f"{owner.name}.{function.name}")
    received = [each for each in receivers(project).get(function, ()) if _in_transaction(each, project)]
    if received:
        signals = [each.signal for each in received]
        early = sorted(EARLY_SIGNALS.intersection(signals))
        return Danger("signal" if early else "saved", step, early[0] if early else signals[0])
    if _is_view(function, step.module, project) and project.atomic_requests and _may_write(step, dispatch, project):
        return Danger("request", step, function.name)
    return None


READS = (
    "get", "filter", "exclude", "all", "exists", "count", "first", "last", "values", "select_related", "order_by",
    "prefetch_related", "check", "raise", "has_", "is_", "can_", "len", "set", "list", "sorted", "dict", "str", "int",
    "isinstance", "validate", "debug", "info", "warning", "error", "exception", "log", "_", "delay", "apply_async",
)  # fmt: skip
WRITES = ("get_or_create", "set_", "log_")


def _only_reads(around: ast.AST) -> bool:
    """Whether a transaction does nothing but look things up, by the names of what it calls."""
    names = []
    for statement in around.body:  # type: ignore[attr-defined]
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "?")
                names.append(name)
    looked_up = [name for name in names if name.startswith(("get", "filter", "first", "all", "values"))]
    return bool(looked_up) and all(
        (name.startswith(READS) and not name.startswith(WRITES)) or name[:1].isupper() for name in names
    )


# What views call that writes no row a task would read; READS besides, where the whole first word is one.
HARMLESS = {
    "now", "success", "redirect", "reverse", "render", "append", "extend", "join", "format", "items", "keys", "load",
    "loads", "tuple", "urlencode", "distinct", "split", "strip", "lower", "upper", "super", "getattr", "hasattr",
    "setattr", "add_message", "gettext", "gettext_lazy", "gettext_noop", "bool", "s", "si", "signature", "chain",
    "group", "chord", "link", "link_error", "namedtuple",
}  # fmt: skip
MAX_HELPERS = 4  # how far down the helpers of a view are followed
WHOLE_READS = tuple(name.rstrip("_") for name in READS)


def _may_write(step: Step, dispatch: Dispatch, project: Project) -> bool:
    """Whether a view may write rows: a view that only looks up what it publishes has nothing to commit."""
    return any(
        node is not dispatch.call and not _is_harmless(node, step.function, step.module, project)
        for node in own_nodes(step.function)
        if isinstance(node, ast.Call)
    )


def _is_harmless(call: ast.Call, function: ast.AST, module: Module, project: Project, depth: int = 0) -> bool:
    """Whether a call writes nothing, or an entry of a log: by its name, or by what its function calls in turn."""
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", "?")  # type: ignore[attr-defined]
    if name[:1].isupper() or name in HARMLESS or name.endswith("_log"):
        return True
    if name == "form_valid":  # of a plain FormView, which only redirects
        bases = getattr(getattr(function, "parent", None), "bases", ())
        return any(ast.dump(base).endswith("'FormView', ctx=Load())") for base in bases)
    writes = name.startswith(WRITES) or (name == "set" and method)
    if not writes and (name in WHOLE_READS or name.startswith(tuple(f"{read}_" for read in WHOLE_READS))):
        return True
    inner = callee(call, module, project) if depth < MAX_HELPERS else None
    if inner is None:
        return False
    home = module_of(inner, module)
    return all(
        _is_harmless(node, inner, home, project, depth + 1) for node in own_nodes(inner) if isinstance(node, ast.Call)
    )


def _waits_by_decorator(function: ast.AST, module: Module, project: Project) -> bool:
    """Whether a decorator of the project runs the function on commit."""
    for decorator in function.decorator_list:  # type: ignore[attr-defined]
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = project.definition(project.meaning(target, module))
        if found is None or not isinstance(found[1], Function) or not found[0].mentions(b"on_commit"):
            continue
        if any(is_on_commit(call, found[0], project) for call in ast.walk(found[1])):
            return True
    return False


class Received(NamedTuple):
    """A model signal that a function receives."""

    signal: str
    sender: str  # the model's class name; empty where the source does not tell one


@lru_cache(maxsize=2)
def receivers(project: Project) -> dict[ast.AST, list[Received]]:
    """Functions that receive Django's model signals, with what they receive."""
    found: dict[ast.AST, list[Received]] = {}
    for module in project.modules:
        if not module.mentions(b"_save", b"_delete", b"m2m_changed"):
            continue
        if module.mentions(b"receiver"):
            for function in module.find(*Function):
                for decorator in function.decorator_list:
                    if isinstance(decorator, ast.Call) and module.called(decorator) in RECEIVER and decorator.args:
                        found.setdefault(function, []).extend(
                            _signals(decorator.args[0], keyword(decorator, "sender"), module)
                        )
        if module.mentions(b".connect("):
            for call in module.find(ast.Call):
                if isinstance(call.func, ast.Attribute) and call.func.attr == "connect":
                    handler = call.args[0] if call.args else keyword(call, "receiver")
                    node = project.definition(project.meaning(handler, module)) if handler else None
                    if node and isinstance(node[1], Function):
                        found.setdefault(node[1], []).extend(
                            _signals(call.func.value, argument(call, 1, "sender"), module)
                        )
    return {function: signals for function, signals in found.items() if signals}


def _signals(node: ast.expr, sender: ast.expr | None, module: Module) -> list[Received]:
    parts = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else [node]
    names = [module.qualified(part) or "" for part in parts]
    written = sender.value if isinstance(sender, ast.Constant) else module.qualified(sender)  # "orders.Order", or Order
    model = written.rpartition(".")[2] if isinstance(written, str) else ""
    return [
        Received(name[len(SIGNALS) :], model if model[:1].isupper() and not model.isupper() else "")
        for name in names
        if name.startswith(SIGNALS) and name.endswith(("_save", "_delete", "_changed"))
    ]


def _in_transaction(received: Received, project: Project) -> bool:
    """Whether the signal may be sent inside a transaction: `post_save` is, when the project saves the model in one."""
    if received.signal != "post_save" or project.atomic_requests:
        return True
    return received.sender in _saved_in_transactions(project)


@lru_cache(maxsize=2)
def _saved_in_transactions(project: Project) -> set[str]:
    """The senders of `post_save` that the admin, ``get_or_create()`` or code in a file with ``atomic`` makes.

    Told by names in the files' bytes: most of these files hold nothing about Celery and are not parsed.
    """
    senders = {each.sender for found in receivers(project).values() for each in found if each.sender}
    if not senders:
        return set()
    names = rb"\b(?:models\.)?(" + "|".join(sorted(senders)).encode() + rb")\b"
    registered = re.compile(rb"register\(\s*\(?" + names + rb"|\bmodel\s*=\s*" + names)
    found_or_made = re.compile(names + rb"\.objects\.(?:get_or_create|update_or_create)\b")
    made = re.compile(names + rb"(?:\.objects\.create)?\(")
    found: set[bytes] = set()
    for path, source in project.files.sources.items():
        if "/migrations/" not in path:
            found.update(found_or_made.findall(source))
            if path.rpartition("/")[2].startswith("admin"):
                found.update(name for pair in registered.findall(source) for name in pair)
            if b"atomic" in source:
                found.update(made.findall(source))
    return {name.decode() for name in found if name}


def _derives(owner: ast.ClassDef, module: Module, project: Project, ends: tuple[str, ...]) -> bool:
    """Whether a class or one of its bases has a name with one of the ends."""
    written = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in owner.bases]
    return any(name.endswith(ends) for name in written) or any(
        name.endswith(ends) for name, *_ in project.bases(owner, module)
    )


def _is_view(function: ast.FunctionDef, module: Module, project: Project) -> bool:
    """Whether a function is a synchronous view, or a method that only a view calls."""
    if isinstance(function, ast.AsyncFunctionDef) or "middleware" in module.path.lower():
        return False
    owner = getattr(function, "parent", None)
    parameters = [each.arg for each in [*function.args.posonlyargs, *function.args.args]]
    if _without_transaction(function):
        return False
    if isinstance(owner, ast.Module):
        return parameters[:1] == ["request"]
    if not isinstance(owner, ast.ClassDef) or not _derives(owner, module, project, VIEW_CLASS):
        return False
    dispatch = method_of(owner, module, "dispatch", project)
    if _without_transaction(owner) or (dispatch is not None and _without_transaction(dispatch)):
        return False
    return parameters[1:2] == ["request"] or function.name in VIEW_METHODS


def _without_transaction(node: ast.AST) -> bool:
    return any("non_atomic_requests" in ast.dump(decorator) for decorator in node.decorator_list)  # type: ignore[attr-defined]


def _name(dispatch: Dispatch) -> str:
    """What is published, in a message."""
    if dispatch.task is not None:
        return f"'{dispatch.task.name}'"
    if dispatch.canvas:
        return "a workflow"
    last = dispatch.target.attr if isinstance(dispatch.target, ast.Attribute) else getattr(dispatch.target, "id", "")
    return f"'{last}'" if last and dispatch.method != "send_task" else "a task"


def _through(found: Danger, dispatch: Dispatch) -> str:
    """Where the call stands that leads to the dispatch."""
    line = found.step.node.lineno  # type: ignore[attr-defined]
    other = found.step.module is not dispatch.module
    return f" ({found.step.module.path}:{line})" if other else f" (line {line})"


# Callbacks.


class OnCommit(NamedTuple):
    """A call of ``on_commit``."""

    call: ast.Call
    module: Module
    callback: ast.expr


@lru_cache(maxsize=2)
def on_commits(project: Project) -> list[OnCommit]:
    """The project's calls of ``on_commit`` that show their callback."""
    found = []
    for module in project.modules:
        if module.mentions(b"on_commit"):
            for call in module.find(ast.Call):
                given = callback(call)
                if given is not None and is_on_commit(call, module, project):
                    found.append(OnCommit(call, module, given))
    return found


def _on_commit_of(node: ast.AST, dispatch: Dispatch, project: Project) -> ast.Call | None:
    """The ``on_commit`` call whose callback a node is, itself and not inside a function."""
    parent = getattr(node, "parent", None)
    if isinstance(parent, ast.keyword):
        parent = parent.parent  # type: ignore[attr-defined]
    if isinstance(parent, ast.Call) and callback(parent) is node and is_on_commit(parent, dispatch.module, project):
        return parent
    return None


def _function_of(given: ast.expr) -> ast.AST | None:
    """The lambda, or the function defined beside it, that a callback is."""
    if isinstance(given, ast.Lambda):
        return given
    if isinstance(given, ast.Name):
        function = scope(given)
        if isinstance(function, Function):
            for node in own_nodes(function):
                if isinstance(node, Function) and node.name == given.id:
                    return node
    return None


def _publishes(given: ast.expr) -> bool:
    """Whether a callback publishes a task, by the names it uses."""
    node = _function_of(given) or (assigned(given) if isinstance(given, ast.Name) else given) or given
    return any(isinstance(part, ast.Attribute) and part.attr in PUBLISHES | {"send_task"} for part in ast.walk(node))


# Publishing before the commit.


@rule("DCE101", "publish-in-atomic", "error", "django-integration#publish-after-commit")
def publish_in_atomic(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A task is published while `transaction.atomic()` is open, here or in a caller, and not on commit.

    Why: a worker may take the message before the commit and find no row (DoesNotExist) or an old one; after a rollback
    the task runs all the same.
    Fix: Publish with `delay_on_commit(...)` (Celery 5.4+), or `transaction.on_commit(partial(task.delay, pk), using=…)`
    for another database or a workflow.
    Source: Measured (a message published inside the block is in the queue before the commit, and stays after a
    rollback).

    Bad:
        === orders/views.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/views.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    found = danger(dispatch, project)
    if found is None or found.kind != "atomic":
        return
    if found.step.depth == 0:
        opening = atomic_around(dispatch.call, dispatch.module, project)
        line = getattr(opening, "lineno", 0)
        message = f"{_name(dispatch)} is published before the transaction of line {line} commits"
    else:
        where = f"'{found.detail}'{_through(found, dispatch)}"
        message = f"{_name(dispatch)} is published before the transaction of its caller {where} commits"
    if "countdown" in dispatch.options:
        message += "; its countdown only makes that rarer"
    yield Problem(message, dispatch.call)


@rule("DCE102", "publish-in-save", "warning", "django-integration#publish-after-commit")
def publish_in_save(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A model's `save()` or `delete()` publishes a task, not on commit.

    Why: the caller decides about the transaction: the admin, `get_or_create()`, `update_or_create()` and every
    `atomic()` block save inside one, and then the worker may look before the row is there.
    Fix: Publish with `delay_on_commit(...)`: it waits for the commit, and outside a transaction sends at once.
    Source: Measured (`update_or_create()` calls `save()` inside a transaction).

    Bad:
        === orders/models.py
        from django.db import models
        from orders.tasks import index_order

        class Order(models.Model):
            def save(self, *args, **kwargs):
                super().save(*args, **kwargs)
                index_order.delay(self.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    Good:
        === orders/models.py
        from django.db import models
        from orders.tasks import index_order

        class Order(models.Model):
            def save(self, *args, **kwargs):
                super().save(*args, **kwargs)
                index_order.delay_on_commit(self.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    """
    found = danger(dispatch, project)
    if found and found.kind == "save":
        message = (
            f"{_name(dispatch)} is published at once in {found.detail}(), whose caller may hold a transaction open"
        )
        yield Problem(message, dispatch.call)


@rule("DCE103", "publish-in-receiver", "warning", "django-integration#publish-after-commit")
def publish_in_receiver(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A receiver of `post_save`, `pre_delete` or `post_delete` publishes a task, not on commit.

    Why: `post_save` is sent when the row is written, not when it is committed: the admin, `get_or_create()`,
    `update_or_create()` and every `atomic()` block save inside a transaction. The delete signals are always sent in
    one: an error later brings the row back, and the task has already cleaned up after it. A `post_save` of a model that
    nothing in the project saves that way is not reported.
    Fix: Publish with `delay_on_commit(...)`: it waits for the commit, and outside a transaction sends at once.
    Source: Measured (`post_save` is sent inside the transaction of `update_or_create()`, the delete signals inside one
    of Django's own).

    Bad:
        === orders/signals.py
        from django.db.models.signals import post_save
        from django.dispatch import receiver
        from orders.models import Order
        from orders.tasks import index_order

        @receiver(post_save, sender=Order)
        def order_saved(sender, instance, **kwargs):
            index_order.delay(instance.pk)
        === orders/admin.py
        from django.contrib import admin
        from orders.models import Order

        admin.site.register(Order)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    Good:
        === orders/signals.py
        from django.db.models.signals import post_save
        from django.dispatch import receiver
        from orders.models import Order
        from orders.tasks import index_order

        @receiver(post_save, sender=Order)
        def order_saved(sender, instance, **kwargs):
            index_order.delay_on_commit(instance.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    """
    found = danger(dispatch, project)
    if found and found.kind == "saved":
        if found.detail == "post_save":
            when = "at once, though whoever saves may hold a transaction open"
        else:
            when = "inside Django's own transaction"
        yield Problem(f"{_name(dispatch)} is published on {found.detail}, {when}", dispatch.call)


@rule("DCE104", "publish-in-early-receiver", "error", "django-integration#publish-after-commit")
def publish_in_early_receiver(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A receiver of `pre_save` or `m2m_changed` publishes a task, not on commit.

    Why: Django sends `pre_save` before it writes the row, and `m2m_changed` inside a transaction of its own, so the
    worker may always see the state before the change.
    Fix: Publish with `delay_on_commit(...)`, and from `post_save` instead of `pre_save`: outside a transaction it sends
    at once.
    Source: Measured (`pre_save`: no row yet; `m2m_changed`: `in_atomic_block` without any `atomic()` in the project).

    Bad:
        === orders/signals.py
        from django.db.models.signals import m2m_changed
        from django.dispatch import receiver
        from orders.models import Order
        from orders.tasks import index_order

        @receiver(m2m_changed, sender=Order.tags.through)
        def tags_changed(sender, instance, **kwargs):
            index_order.delay(instance.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    Good:
        === orders/signals.py
        from django.db.models.signals import m2m_changed
        from django.dispatch import receiver
        from orders.models import Order
        from orders.tasks import index_order

        @receiver(m2m_changed, sender=Order.tags.through)
        def tags_changed(sender, instance, **kwargs):
            index_order.delay_on_commit(instance.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    """
    found = danger(dispatch, project)
    if found and found.kind == "signal":
        when = "before the row is written" if found.detail == "pre_save" else "inside Django's own transaction"
        yield Problem(f"{_name(dispatch)} is published on {found.detail}, which is sent {when}", dispatch.call)


@rule("DCE105", "publish-in-admin", "error", "django-integration#publish-after-commit")
def publish_in_admin(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A `ModelAdmin` publishes a task while it saves or deletes, not on commit.

    Why: the admin's add, change and delete views run in `transaction.atomic()`, so the worker may find no row or an old
    one.
    Fix: Publish with `delay_on_commit(...)`.
    Source: Measured (`save_model()` runs with `in_atomic_block`, without any `atomic()` in the project).

    Bad:
        === orders/admin.py
        from django.contrib import admin
        from orders.tasks import index_order

        class OrderAdmin(admin.ModelAdmin):
            def save_model(self, request, obj, form, change):
                super().save_model(request, obj, form, change)
                index_order.delay(obj.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    Good:
        === orders/admin.py
        from django.contrib import admin
        from orders.tasks import index_order

        class OrderAdmin(admin.ModelAdmin):
            def save_model(self, request, obj, form, change):
                super().save_model(request, obj, form, change)
                index_order.delay_on_commit(obj.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def index_order(order_pk): ...
    """
    found = danger(dispatch, project)
    if found and found.kind == "admin":
        message = f"{_name(dispatch)} is published in {found.detail}(), which the admin calls inside its transaction"
        yield Problem(message, dispatch.call)


@rule("DCE106", "publish-under-atomic-requests", "error", "django-integration#publish-after-commit")
def publish_under_atomic_requests(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A view publishes a task, not on commit, in a project whose settings have `ATOMIC_REQUESTS` on.

    Why: the whole view runs in one transaction that commits after it returned, so the worker may find no row or an old
    one; a response that fails takes the rows back, not the message.
    Fix: Publish with `delay_on_commit(...)`, or decorate the view with `@transaction.non_atomic_requests`.
    Source: Measured (a view's message is in the queue before the row is committed).

    Bad:
        === shop/settings.py
        DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True}}
        === orders/views.py
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            order = Order.objects.create()
            send_receipt.delay(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === shop/settings.py
        DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True}}
        === orders/views.py
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            order = Order.objects.create()
            send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    found = danger(dispatch, project)
    if found and found.kind == "request":
        through = _through(found, dispatch) if found.step.depth else ""
        message = f"{_name(dispatch)} is published before ATOMIC_REQUESTS commits the view '{found.detail}'{through}"
        yield Problem(message, dispatch.call)


# Waiting for the commit, and getting it wrong.


@rule("DCE107", "wrong-on-commit-callback", "error", "django-integration#publish-after-commit")
def wrong_callback(project: Project) -> Iterator[Problem]:
    """What `on_commit` gets publishes at once, runs the task in this process, or never sends it.

    Why: `on_commit(task.delay(pk))` publishes now and then raises TypeError, `on_commit(task.si(pk))` and
    `on_commit(partial(task, pk))` run the task here after the commit, `on_commit(lambda: task.delay)` does nothing.
    Fix: Use `task.delay_on_commit(pk)`, or pass a callable that publishes: `on_commit(partial(task.delay, pk))`.
    Source: Measured.

    Bad:
        === orders/services.py
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            transaction.on_commit(send_receipt.delay(order.pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Bad:
        === orders/services.py
        from functools import partial
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            transaction.on_commit(partial(send_receipt, order.pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from functools import partial
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            transaction.on_commit(partial(send_receipt.delay, order.pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    calls = {dispatch.call: dispatch for dispatches in project.dispatches.values() for dispatch in dispatches}
    for each in on_commits(project):
        given = each.callback
        dispatch = calls.get(given)  # type: ignore[call-overload]
        message = None
        if dispatch is not None and dispatch.on_commit:
            message = f"'{dispatch.method}' inside on_commit hands it None: TypeError; call it alone"
        elif dispatch is not None and dispatch.publishes:
            message = f"{_name(dispatch)} is published at once, and on_commit gets its result: TypeError"
        elif dispatch is not None or project.task_of(given, each.module) is not None:
            message = "on_commit runs the task in this process: it is not published"
        elif isinstance(given, ast.Call) and each.module.qualified(given.func) == PARTIAL and given.args:
            if project.task_of(given.args[0], each.module) is not None:
                message = "on_commit runs the task in this process: partial() of the task, not of its delay"
        elif isinstance(given, ast.Lambda) and isinstance(given.body, ast.Attribute) and given.body.attr in PUBLISHES:
            message = f"the callback names '{given.body.attr}' and does not call it: nothing is published"
        if message:
            yield Problem(message, given, each.module.path)


@rule("DCE108", "late-binding-callback", "error", "django-integration#publish-after-commit")
def late_binding(project: Project) -> Iterator[Problem]:
    """An `on_commit` callback made in a loop reads a variable that has moved on when the commit comes.

    Why: a lambda or nested function reads its variables when it runs: three rounds of a loop publish the last value
    three times, and the others never.
    Fix: Bind the value now: `partial(task.delay, order.pk)`, or `task.delay_on_commit(order.pk)`.
    Source: Measured (a loop of three published `[2, 2, 2]`).

    Bad:
        === orders/services.py
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(orders):
            with transaction.atomic():
                for order in orders:
                    order.save()
                    transaction.on_commit(lambda: send_receipt.delay(order.pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from functools import partial
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(orders):
            with transaction.atomic():
                for order in orders:
                    order.save()
                    transaction.on_commit(partial(send_receipt.delay, order.pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    for each in on_commits(project):
        function = _function_of(each.callback)
        if function is None or not _publishes(each.callback):
            continue
        read = _free_names(function)
        name = next((name for name in sorted(_rebound(each, project)) if name in read), None)
        if name:
            message = f"the callback reads '{name}' after the commit, when it holds a later value"
            yield Problem(message, each.callback, each.module.path)


def _free_names(function: ast.AST) -> set[str]:
    """The names that a lambda or function reads from around it."""
    own = {arg.arg for arg in every_parameter(function.args)}  # type: ignore[attr-defined]
    body = function.body if isinstance(function.body, list) else [function.body]  # type: ignore[attr-defined]
    names = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
    own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - own


def _rebound(each: OnCommit, project: Project) -> set[str]:
    """The names that get another value between the call of ``on_commit`` and the commit."""
    function = scope(each.call)
    statement = enclosing(each.call, ast.stmt)
    names = {
        target.id
        for node in _following(statement)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    child: ast.AST = each.call
    for parent in parents(each.call):
        if parent is function:
            break
        if any(isinstance(node, (ast.Return, ast.Break, ast.Raise)) for node in _following(child)):
            break  # one round only
        if isinstance(parent, (ast.With, ast.AsyncWith)) and _is_transaction(parent, each, project):
            break  # commits before the next round
        if isinstance(parent, (ast.For, ast.AsyncFor, ast.While)) and child in parent.body:
            names |= _stored(parent, function)
        elif isinstance(parent, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            targets = [part for generator in parent.generators for part in ast.walk(generator.target)]
            names |= {part.id for part in targets if isinstance(part, ast.Name)}
        child = parent
    return names


def _stored(loop: ast.AST, function: ast.AST | None) -> set[str]:
    """The names that a loop gives a value in each round."""
    return {
        node.id
        for node in ast.walk(loop)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and scope(node) is function
    }


def _following(node: ast.AST | None) -> list[ast.stmt]:
    """The statements after one in its block; none after what is no statement."""
    suite = statements_around(node) if isinstance(node, ast.stmt) else []
    return suite[suite.index(node) + 1 :] if suite else []


def _is_transaction(block: ast.With | ast.AsyncWith, each: OnCommit, project: Project) -> bool:
    return atomic_around(block.body[0], each.module, project) is block


@rule("DCE109", "on-commit-of-another-database", "error", "django-integration#several-databases")
def other_database(project: Project) -> Iterator[Problem]:
    """A task is published on the commit of another database than the one whose transaction is open.

    Why: `delay_on_commit` and `on_commit` without `using` wait for the database `default`; inside
    `atomic(using="other")` it has no transaction, so the message is sent at once, before the commit.
    Fix: Use `transaction.on_commit(partial(task.delay, pk), using="other")`.
    Source: Measured (the message is in the queue before the block ends).

    Bad:
        === orders/services.py
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            with transaction.atomic(using="archive"):
                order.save(using="archive")
                send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from functools import partial
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            with transaction.atomic(using="archive"):
                order.save(using="archive")
                transaction.on_commit(partial(send_receipt.delay, order.pk), using="archive")
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    places: list[tuple[ast.Call, Module, object]] = [
        (dispatch.call, dispatch.module, "default")
        for dispatches in project.dispatches.values()
        for dispatch in dispatches
        if dispatch.on_commit
    ]
    for each in on_commits(project):
        if _publishes(each.callback):
            using = keyword(each.call, "using") or (each.call.args[1] if len(each.call.args) > 1 else None)
            given = "default" if using is None else constant(using, each.module)
            if each.module.qualified(each.call.func) != "django.db.transaction.on_commit" and isinstance(
                each.call.func, ast.Attribute
            ):
                target = each.call.func.value  # connection.on_commit, connections["other"].on_commit
                given = constant(target.slice, each.module) if isinstance(target, ast.Subscript) else "default"
            places.append((each.call, each.module, given))
    for call, module, waits_for in places:
        open_aliases = {opening.alias for opening in openings(call, module, project)}
        if not isinstance(waits_for, str) or not open_aliases or UNKNOWN_ALIAS in open_aliases | {waits_for}:
            continue
        if waits_for not in open_aliases and not (waits_for == "default" and project.atomic_requests):
            other = ", ".join(sorted(f"'{alias}'" for alias in open_aliases))
            message = f"waits for a commit of '{waits_for}', but the open transaction is of {other}: published at once"
            yield Problem(message, call, module.path)


@rule("DCE110", "on-commit-in-async", "error", "django-integration#async-views-and-tasks")
def on_commit_in_async(project: Project) -> Iterator[Problem]:
    """An `async def` function publishes with `delay_on_commit` or `on_commit`.

    Why: Django's database connection refuses to work inside an event loop: SynchronousOnlyOperation, nothing is
    published.
    Fix: Put transaction and publish into one synchronous function and `await sync_to_async(function)(...)`.
    Source: Measured.

    Bad:
        === orders/views.py
        from orders.tasks import send_receipt

        async def buy(request):
            send_receipt.delay_on_commit(1)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/views.py
        from asgiref.sync import sync_to_async
        from orders.tasks import send_receipt

        async def buy(request):
            await sync_to_async(send_receipt.delay_on_commit)(1)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    places = [
        (dispatch.call, dispatch.module, dispatch.method)
        for dispatches in project.dispatches.values()
        for dispatch in dispatches
        if dispatch.on_commit
    ]
    places += [(each.call, each.module, "on_commit") for each in on_commits(project) if _publishes(each.callback)]
    for call, module, method in places:
        if isinstance(scope(call), ast.AsyncFunctionDef):
            yield Problem(f"'{method}' in an async function raises SynchronousOnlyOperation", call, module.path)


@rule("DCE111", "on-commit-result", "error", "django-integration#publish-after-commit")
def on_commit_result(dispatch: Dispatch, project: Project) -> Iterator[Problem]:  # noqa: ARG001
    """What `delay_on_commit` or `apply_async_on_commit` returns is used as a result.

    Why: both return None, because nothing is published yet: `.id` raises AttributeError.
    Fix: Choose the id yourself: `task.apply_async_on_commit((pk,), task_id=str(uuid4()))`.
    Source: Measured.

    Bad:
        === orders/services.py
        from orders.tasks import send_receipt

        def buy(order):
            result = send_receipt.delay_on_commit(order.pk)
            return result.id
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from uuid import uuid4
        from orders.tasks import send_receipt

        def buy(order):
            task_id = str(uuid4())
            send_receipt.apply_async_on_commit((order.pk,), task_id=task_id)
            return task_id
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    if not dispatch.on_commit:
        return
    used = _attribute_of(dispatch.call)
    if used is not None:
        yield Problem(f"'{dispatch.method}' returns None, which has no '{used.attr}'", used)


def _attribute_of(call: ast.Call) -> ast.Attribute | None:
    """The attribute that is taken of a call's result, at once or of the one variable that holds it."""
    parent = call.parent  # type: ignore[attr-defined]
    if isinstance(parent, ast.Attribute):
        return parent
    function = scope(call)
    if not isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) or not isinstance(function, Function):
        return None
    target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
    if not isinstance(target, ast.Name) or len(local_values(function, target.id)) != 1:
        return None
    for node in own_nodes(function):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == target.id:
            return node
    return None


@rule("DCE112", "robust-partial", "warning", "django-integration#publish-after-commit")
def robust_partial(project: Project) -> Iterator[Problem]:
    """`on_commit(partial(...), robust=True)` is not robust before Django 6.1.

    Why: when the callback fails, Django logs its `__qualname__`; a partial has none, so AttributeError reaches the
    caller and the callbacks after it are skipped.
    Fix: Give a lambda or function with `robust=True`, or run Django 6.1+.
    Source: Measured on Django 5.2.

    Bad:
        === orders/services.py
        from functools import partial
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            transaction.on_commit(partial(send_receipt.delay, order.pk), robust=True)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from django.db import transaction
        from orders.tasks import send_receipt

        def buy(order):
            transaction.on_commit(lambda: send_receipt.delay(order.pk), robust=True)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    for each in on_commits(project):
        given = assigned(each.callback) if isinstance(each.callback, ast.Name) else each.callback
        if (
            constant(keyword(each.call, "robust"), each.module) is True
            and isinstance(given, ast.Call)
            and project.meaning(given.func, each.module) == PARTIAL
        ):
            message = "when this callback fails, robust=True raises AttributeError: a partial has no __qualname__"
            yield Problem(message, each.call, each.module.path)


@rule("DCE113", "no-on-commit-method", "error", "django-integration#publish-after-commit")
def no_on_commit_method(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """`delay_on_commit` is called on what has no such method: a signature, a workflow, or a task with a plain base.

    Why: only `celery.contrib.django.task.DjangoTask` has `delay_on_commit` and `apply_async_on_commit`; `celery.Task`,
    its other subclasses and signatures raise AttributeError.
    Fix: Derive the base class from `DjangoTask`; for workflows use `transaction.on_commit(chain(...).delay)`.
    Source: Measured.

    Bad:
        === orders/services.py
        from orders.tasks import send_receipt

        def buy(order):
            send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import Task, shared_task

        class Logged(Task):
            abstract = True

        @shared_task(base=Logged)
        def send_receipt(order_pk): ...
    Good:
        === orders/services.py
        from orders.tasks import send_receipt

        def buy(order):
            send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task
        from celery.contrib.django.task import DjangoTask

        class Logged(DjangoTask):
            abstract = True

        @shared_task(base=Logged)
        def send_receipt(order_pk): ...
    """
    if not dispatch.on_commit:
        return
    if dispatch.canvas:
        yield Problem(f"a signature or workflow has no '{dispatch.method}': AttributeError", dispatch.call)
    elif dispatch.task is not None:
        base = _plain_base(dispatch.task, dispatch.method, project)
        if base:
            message = f"{_name(dispatch)} has no '{dispatch.method}', its base is {base}: AttributeError"
            yield Problem(message, dispatch.call)


def _plain_base(task: Task, method: str, project: Project) -> str | None:
    """The name of the base class that keeps a task from being a DjangoTask."""
    if isinstance(task.node, ast.ClassDef):
        module, node = task.module, task.node
        name = task.qualified
    else:
        base = task.options.get("base")
        if base is None:
            return None
        name = project.meaning(base, task.module) or ""
        if name in PLAIN_TASKS:
            return f"'{name}'"
        found = project.definition(name)
        if not found or not isinstance(found[1], ast.ClassDef):
            return None
        module, node = found[0], found[1]
    if method_of(node, module, method, project) is not None:
        return None
    names = [each for each, *_ in project.bases(node, module)]
    is_plain = PLAIN_TASKS.intersection(names) and not any(each.endswith("DjangoTask") for each in names)
    return f"'{name}', a plain celery.Task" if is_plain else None


@rule("DCE114", "missing-row-ignored", "warning", "django-integration#fresh-rows")
def missing_row_ignored(task: Task, project: Project) -> Iterator[Problem]:
    """A task that gets a new row's key before the commit returns quietly when the row does not exist.

    Why: the race shows as DoesNotExist, and this handler hides it: the work is lost without a trace.
    Fix: Publish on commit; then a missing row was deleted, and logging that is enough.
    Source: Measured (a row of an open transaction is not seen by another connection).

    Bad:
        === orders/services.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy():
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay(order.pk)
        === orders/tasks.py
        from celery import shared_task
        from orders.models import Order

        @shared_task
        def send_receipt(order_pk):
            try:
                order = Order.objects.get(pk=order_pk)
            except Order.DoesNotExist:
                return
            order.mail()
    Good:
        === orders/services.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy():
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task
        from orders.models import Order

        @shared_task
        def send_receipt(order_pk):
            try:
                order = Order.objects.get(pk=order_pk)
            except Order.DoesNotExist:
                return
            order.mail()
    """
    if task.function is None or not task.module.mentions(b"DoesNotExist"):
        return
    for node in own_nodes(task.function):
        if isinstance(node, ast.ExceptHandler) and _passes_over(node):
            for dispatches in project.dispatches.values():
                for dispatch in dispatches:
                    if dispatch.task is task and danger(dispatch, project) and _sends_new_row(dispatch, project):
                        place = f"{dispatch.module.path}:{dispatch.call.lineno}"
                        yield Problem(f"hides that {place} publishes '{task.name}' before the row is committed", node)
                        return


def _sends_new_row(dispatch: Dispatch, project: Project) -> bool:
    """Whether a dispatch sends the key of a row that the same transaction makes."""
    found = danger(dispatch, project)
    positional, named = dispatch.arguments
    for value in [*(positional or ()), *(named or {}).values()]:
        if isinstance(value, ast.Call) and len(value.args) == 1:  # str(order.pk)
            value = value.args[0]
        if isinstance(value, ast.Attribute) and value.attr in ("pk", "id") and isinstance(value.value, ast.Name):
            name = value.value
            if found and name.id in ("self", "instance", "obj") and found.kind not in ("atomic", "request"):
                return "delete" not in found.detail
            made = assigned(name)
            if isinstance(made, ast.Call):
                method = made.func.attr if isinstance(made.func, ast.Attribute) else ""
                if method == "create" or project.is_model(project.meaning(made.func, dispatch.module)):
                    return True
    return False


def _passes_over(handler: ast.ExceptHandler) -> bool:
    """Whether a handler is ``except X.DoesNotExist: pass`` or a bare ``return``."""
    caught = handler.type
    first = handler.body[0]
    return (
        isinstance(caught, ast.Attribute)
        and caught.attr == "DoesNotExist"
        and len(handler.body) == 1
        and (
            isinstance(first, ast.Pass)
            or (isinstance(first, ast.Return) and (first.value is None or isinstance(first.value, ast.Constant)))
        )
    )


@rule("DCE115", "misplaced-atomic-requests", "warning", "django-integration#publish-after-commit")
def misplaced_atomic_requests(setting: Setting, project: Project) -> Iterator[Problem]:  # noqa: ARG001
    """`ATOMIC_REQUESTS` stands at the settings' top level, where Django does not read it.

    Why: it is an option of each database: views do not run in a transaction, a failing one leaves half its rows, and
    its `delay_on_commit` sends at once.
    Fix: Set `DATABASES["default"]["ATOMIC_REQUESTS"] = True`, or delete the line.
    Source: Measured.

    Bad:
        === shop/settings.py
        INSTALLED_APPS = ["orders"]
        ATOMIC_REQUESTS = True
    Good:
        === shop/settings.py
        INSTALLED_APPS = ["orders"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True}}
    """
    if setting.written != "ATOMIC_REQUESTS" or setting.style != "django":
        return
    read = any(
        node.id == "ATOMIC_REQUESTS" and isinstance(node.ctx, ast.Load) for node in setting.module.find(ast.Name)
    ) or any(node.attr == "ATOMIC_REQUESTS" for node in setting.module.find(ast.Attribute))
    if not read and is_on(setting.value, setting.module):
        yield Problem(
            "Django reads ATOMIC_REQUESTS only inside DATABASES: views do not run in a transaction", setting.node
        )
