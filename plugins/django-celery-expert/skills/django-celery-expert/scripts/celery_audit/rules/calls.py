"""DCE2xx: calls of tasks, and what they send."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from ..infer import UNKNOWN, assigned, binding_scope, constant, local_values, mapping, own_nodes, seconds
from ..kinds import Kind, kind
from ..module import Function, Module, has_open_keywords, keyword, parents, scope
from ..project import PUBLISHES, SIGNATURES, Dispatch, Project, Task, is_canvas
from ..registry import Problem, rule
from ..signatures import mismatch, parameters_of, travels_as_json, unexpected
from .common import every_dispatch, label, meant, problem, tasks_in

# What `apply_async`, `send_task`, the message protocol and `kombu.Producer.publish` take by name.
PUBLISH_OPTIONS = {
    "args", "kwargs", "task_id", "producer", "link", "link_error", "shadow", "countdown", "eta", "connection",
    "router", "result_cls", "expires", "publisher", "add_to_parent", "group_id", "group_index", "retries", "chord",
    "reply_to", "time_limit", "soft_time_limit", "root_id", "parent_id", "route_name", "chain", "task_type",
    "replaced_task_nesting", "ignore_result", "argsrepr", "kwargsrepr", "origin", "stamped_headers", "now", "timezone",
    "create_sent_event", "callbacks", "errbacks", "queue", "exchange", "exchange_type", "routing_key", "delivery_mode",
    "mandatory", "immediate", "priority", "content_type", "content_encoding", "serializer", "headers", "compression",
    "retry", "retry_policy", "declare", "expiration", "timeout", "confirm_timeout", "event_dispatcher", "message_id",
    "user_id", "app_id", "cluster_id", "type", "timestamp", "correlation_id", "options", "immutable", "name",
    "chord_size", "task_name", "MessageGroupId", "MessageDeduplicationId", "DelaySeconds", "ordering_key", "group",
}  # fmt: skip
RETRY_OPTIONS = PUBLISH_OPTIONS | {"exc", "throw", "max_retries"}
# Names that mean something elsewhere, and what to do instead.
NOT_WHEN_PUBLISHING = {
    "acks_late": "belongs in the task's decorator",
    "autoretry_for": "belongs in the task's decorator",
    "bind": "belongs in the task's decorator",
    "default_retry_delay": "belongs in the task's decorator",
    "dont_autoretry_for": "belongs in the task's decorator",
    "max_retries": "belongs in the task's decorator",
    "rate_limit": "belongs in the task's decorator",
    "reject_on_worker_lost": "belongs in the task's decorator",
    "retry_backoff": "belongs in the task's decorator",
    "retry_backoff_max": "belongs in the task's decorator",
    "retry_jitter": "belongs in the task's decorator",
    "retry_kwargs": "belongs in the task's decorator",
    "retry_on_worker_lost": "belongs in the task's decorator",
    "delay": "countdown is meant",
    "delay_seconds": "countdown is meant",
    "count_down": "countdown is meant",
    "ttl": "expires is meant",
    "kwarg": "kwargs is meant",
    "arg": "args is meant",
    "queue_name": "queue is meant",
}
NOT_WHEN_RETRYING = {
    **{name: hint for name, hint in NOT_WHEN_PUBLISHING.items() if name != "max_retries"},
    "exception": "exc is meant",
    "error": "exc is meant",
    "wait": "countdown is meant",
    "interval": "countdown is meant",
    "retry_delay": "countdown is meant",
}
DELAY_OPTIONS = {
    "countdown", "eta", "expires", "queue", "priority", "routing_key", "task_id", "link", "link_error",
    "ignore_result", "retry_policy", "time_limit", "soft_time_limit", "serializer", "compression", "shadow",
}  # fmt: skip
LOG_METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}
LOG_RECORD = {
    "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
    "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName",
    "process", "message", "asctime",
}  # fmt: skip
LOGGERS = {"logging.getLogger", "celery.utils.log.get_task_logger", "celery.utils.log.get_logger"}
# Attributes of `celery.app.task.Context` and what the message protocol puts beside them.
RESERVED_HEADERS = {
    "args", "callbacks", "called_directly", "chain", "children", "chord", "correlation_id", "delivery_info",
    "errbacks", "eta", "expires", "group", "group_index", "headers", "hostname", "id", "ignore_result", "is_eager",
    "kwargs", "logfile", "loglevel", "origin", "parent_id", "properties", "replaced_task_nesting", "reply_to",
    "retries", "root_id", "shadow", "stamped_headers", "stamps", "taskset", "time_limit", "soft_time_limit",
    "timelimit", "utc", "lang", "task", "argsrepr", "kwargsrepr", "compression", "get", "update", "clear",
}  # fmt: skip
# Those of a message itself: `celery.app.amqp`, `as_task_v2`.
MESSAGE_HEADERS = {
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps",
}  # fmt: skip
ITERABLE = {"a dict", "a set", "a generator", "a text", "bytes", "one value (str)"}  # what `_no_sequence` calls them
DAY = 86_400
UTC = ("UTC", "Etc/UTC", "GMT")
NAIVE = {
    "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.fromtimestamp", "datetime.datetime",
    "datetime.datetime.combine",
}  # fmt: skip


# What is sent.


@lru_cache(maxsize=2)
def _sent(project: Project) -> list[tuple[Dispatch, str, ast.expr, Kind]]:
    """Each argument whose kind is known: dispatch, how to name it, expression, kind."""
    sent = []
    for dispatch in every_dispatch(project):
        args, kwargs = dispatch.arguments
        if (not args and not kwargs) or not travels_as_json(dispatch, project):
            continue
        parts = [*((f"argument {n}", node) for n, node in enumerate(args or (), 1)), *(kwargs or {}).items()]
        for name, node in parts:
            found = kind(node, dispatch.module, project)
            if found is not None and not _narrowed(node):
                sent.append((dispatch, name, node, found))
    return sent


def _narrowed(node: ast.expr) -> bool:
    """Whether an ``isinstance`` test in it, or around a name, says more than an assignment or annotation does."""
    if isinstance(node, ast.IfExp):
        return _asks_class(node.test)
    if not isinstance(node, ast.Name):
        return False
    for parent in parents(node):
        if isinstance(parent, (ast.If, ast.IfExp)) and _asks_class(parent.test, node.id):
            return True
        if isinstance(parent, Function):
            return False
    return False


def _asks_class(test: ast.expr, name: str | None = None) -> bool:
    """Whether a condition asks ``isinstance`` of a name, or of any."""
    calls = [part for part in ast.walk(test) if isinstance(part, ast.Call) and part.args]
    asked = [call.args[0] for call in calls if getattr(call.func, "id", "") == "isinstance"]
    return any(name is None or getattr(part, "id", "") == name for part in asked)


def _innermost(found: Kind) -> Kind:
    while found.name in ("list", "dict") and found.part is not None:
        found = found.part
    return found


@rule("DCE201", "model-argument", "error", "task-design-patterns#arguments")
def model_argument(project: Project) -> Iterator[Problem]:
    """A model instance or a queryset is given to a task.

    Why: JSON cannot carry it: the call raises EncodeError, in the web request; with pickle the task would work on a
    copy that is old by the time it runs.
    Fix: Send `instance.pk` (or a list of pks) and load the rows in the task.
    Source: Measured (Celery 5.7: `Object of type Order is not JSON serializable`).

    Bad:
        === orders/models.py
        from django.db import models

        class Order(models.Model): ...
        === orders/views.py
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            order = Order.objects.create()
            send_receipt.delay(order)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order): ...
    Good:
        === orders/models.py
        from django.db import models

        class Order(models.Model): ...
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
    """
    for dispatch, name, node, found in _sent(project):
        if _innermost(found).name in ("model", "queryset", "manager"):
            text = f"{label(dispatch)} gets {found.text} as {name}: EncodeError, JSON cannot carry it"
            yield problem(text, node, dispatch.module)


@rule("DCE202", "unserializable-argument", "error", "task-design-patterns#arguments")
def unserializable_argument(project: Project) -> Iterator[Problem]:
    """A task gets another object that JSON cannot carry: request, form, file, set, timedelta, function, generator.

    Why: the call raises EncodeError before anything is sent. Celery's JSON carries text, numbers, lists, dicts,
    datetime, date, time, UUID, Decimal and bytes; not sets, timedeltas, paths, enums, dataclasses or iterators.
    Fix: Send plain values: `sorted(ids)` for a set, `.total_seconds()` for a timedelta, `.value` for an enum,
    `cleaned_data` for a form, a stored file's name for an upload.
    Source: Measured (Celery 5.7: `Object of type timedelta is not JSON serializable`).

    Bad:
        === orders/views.py
        from orders.tasks import import_rows

        def upload(request):
            import_rows.delay(request.FILES["rows"], {1, 2})
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def import_rows(file, kinds): ...
    Good:
        === orders/views.py
        from orders.models import Upload
        from orders.tasks import import_rows

        def upload(request):
            upload = Upload.objects.create(file=request.FILES["rows"])
            import_rows.delay(upload.pk, [1, 2])
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def import_rows(upload_pk, kinds): ...
    """
    for dispatch, name, node, found in _sent(project):
        inner = _innermost(found)
        if inner.name in ("model", "queryset", "manager", "querydict"):
            continue
        if found.name == "pydantic" and dispatch.task is not None and "pydantic" in dispatch.task.options:
            continue  # 5.7 dumps it
        text = f"{label(dispatch)} gets {found.text} as {name}: EncodeError, JSON cannot carry it"
        yield problem(text, node, dispatch.module)


@rule("DCE203", "argument-changes-in-json", "warning", "configuration-guide#serialization-and-signing")
def argument_changes(project: Project) -> Iterator[Problem]:
    """A task gets a dict with integer keys, or a QueryDict.

    Why: integer keys arrive as text, so `totals[order.pk]` raises KeyError in the worker though a direct call works;
    of a QueryDict only the last value of each key arrives.
    Fix: Send a list of pairs, or text keys; `request.POST.dict()` or `dict(request.POST.lists())` for a QueryDict.
    Source: Measured (`{1: 2}` arrives as `{"1": 2}`; `a=1&a=2` arrives as `{"a": "2"}`).

    Bad:
        === orders/views.py
        from orders.models import Order
        from orders.tasks import charge

        def pay(request):
            charge.delay({order.pk: str(order.total) for order in Order.objects.all()})
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def charge(totals): ...
    Good:
        === orders/views.py
        from orders.models import Order
        from orders.tasks import charge

        def pay(request):
            charge.delay([[order.pk, str(order.total)] for order in Order.objects.all()])
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def charge(totals): ...
    """
    for dispatch, name, node, found in _sent(project):
        if _innermost(found).name == "querydict":
            text = f"{label(dispatch)} gets a QueryDict as {name}: of several values only the last arrives"
            yield problem(text, node, dispatch.module)
    for dispatch in every_dispatch(project):
        args, kwargs = dispatch.arguments
        parts = [*((f"argument {n}", node) for n, node in enumerate(args or (), 1)), *(kwargs or {}).items()]
        for name, node in parts:
            if _has_integer_keys(node) and travels_as_json(dispatch, project):
                text = f"{label(dispatch)} gets a dict with integer keys as {name}: they arrive as text"
                yield problem(text, node, dispatch.module)


def _has_integer_keys(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if isinstance(node, ast.DictComp):
        return isinstance(node.key, ast.Attribute) and node.key.attr == "pk"
    if isinstance(node, ast.Dict) and node.keys:
        return any(
            (isinstance(key, ast.Constant) and type(key.value) is int)
            or (isinstance(key, ast.Attribute) and key.attr == "pk")
            for key in node.keys
        )
    return False


# Arguments and parameters.


@rule("DCE204", "wrong-arguments", "error", "task-design-patterns#call-a-task")
def wrong_arguments(project: Project) -> Iterator[Problem]:
    """A task is called with arguments that its function does not take, or without ones that it needs.

    Why: `delay` and `apply_async` raise TypeError; `send_task`, `typing=False` and a decorated function send it all the
    same, and the task fails in the worker.
    Fix: Call it with the parameters of its function; add new ones with a default.
    Source: Measured (`send_receipt() missing 1 required positional argument`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk, language="en"): ...

        def buy(order):
            send_receipt.delay(order.pk, lang="de")
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk, language="en"): ...

        def buy(order):
            send_receipt.delay(order.pk, language="de")
    """
    for dispatch in every_dispatch(project):
        if dispatch.task is None:
            continue
        given = parameters_of(dispatch.task, project)
        args, kwargs = dispatch.arguments
        if given is None or (args is None and kwargs is None):
            continue
        names = None if kwargs is None else list(kwargs)
        if dispatch.method.startswith("delay") and set(unexpected(given, names or ())) & DELAY_OPTIONS:
            continue  # DCE205 says it
        complete = dispatch.publishes or (dispatch.method == "si" and not _is_cloned(dispatch))
        wrong = mismatch(given, None if args is None else len(args), names, complete)
        if wrong:
            yield problem(f"{label(dispatch)} {wrong}", dispatch.call, dispatch.module)


def _is_cloned(dispatch: Dispatch) -> bool:
    """Whether a signature gets more arguments later: ``task.si().clone(args)``."""
    parent = getattr(dispatch.call, "parent", None)
    return isinstance(parent, ast.Attribute) and parent.attr in ("clone", "delay", "apply_async")


@rule("DCE205", "option-in-delay", "error", "task-design-patterns#call-a-task")
def option_in_delay(project: Project) -> Iterator[Problem]:
    """An execution option (countdown, queue, eta …) is given to `delay`, which hands everything to the task.

    Why: the task has no such parameter, so the call raises TypeError; the option has no effect in any case.
    Fix: Use `apply_async((…,), countdown=…)` or `apply_async_on_commit`.
    Source: Measured (`got an unexpected keyword argument 'countdown'`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.delay(order.pk, countdown=60)
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.apply_async((order.pk,), countdown=60)
    """
    for dispatch in every_dispatch(project):
        if dispatch.task is None or dispatch.method not in ("delay", "delay_on_commit", "s", "si"):
            continue
        given = parameters_of(dispatch.task, project)
        if given is None:
            continue
        for name in unexpected(given, [word.arg for word in dispatch.call.keywords if word.arg]):
            if name in DELAY_OPTIONS:
                text = f"{label(dispatch)} has no parameter {name!r}: `{dispatch.method}` takes no options"
                yield problem(text, dispatch.call, dispatch.module)


@rule("DCE206", "unknown-publish-option", "error", "task-design-patterns#call-a-task")
def unknown_option(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """`apply_async`, `.set()` or `self.retry()` gets an option that does not exist there.

    Why: unknown options become message properties that nobody reads: no error, no effect. `count_down=60` runs at once.
    Fix: Spell it as Celery does (`countdown`, `expires`, `queue`…); what belongs to the task goes into its decorator.
    Source: Measured (the message has a property `count_down` and no eta).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.apply_async((order.pk,), count_down=60)
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.apply_async((order.pk,), countdown=60)
    """
    method = getattr(call.func, "attr", "")
    if not call.keywords or method not in ("apply_async", "apply_async_on_commit", "set", "retry", "send_task"):
        return
    if method == "retry":
        if _retried(call, module, project) is None:
            return
        known, hints = RETRY_OPTIONS, NOT_WHEN_RETRYING
    else:
        if not _publishes(call, method, module, project):
            return
        known, hints = PUBLISH_OPTIONS, NOT_WHEN_PUBLISHING
    for word in call.keywords:
        hint = meant(word.arg, known, hints) if word.arg else None
        if hint:
            yield Problem(f"`{method}` has no option {word.arg!r}, it is ignored: {hint}", word.value)


def _publishes(call: ast.Call, method: str, module: Module, project: Project) -> bool:
    target = call.func.value  # type: ignore[attr-defined]
    if method == "send_task":
        return project.is_app(target, module)
    task = project.task_of(target, module)
    if task is not None and method != "set":
        return parameters_of(task, project) is not None or _plain_class(task)
    return is_canvas(target, project, module)


def _plain_class(task: Task) -> bool:
    """Whether the task's own class is Celery's, so that it takes Celery's options and no others."""
    return "base" not in task.options and not task.open


def _retried(call: ast.Call, module: Module, project: Project) -> Task | None:
    """The task whose body calls ``self.retry``."""
    target = call.func.value  # type: ignore[attr-defined]
    if not isinstance(target, ast.Name):
        return None
    function = binding_scope(target)
    for task in tasks_in(module, project):
        if task.function is function and task.bound and function is not None:
            first = [*function.args.posonlyargs, *function.args.args][:1]  # type: ignore[attr-defined]
            return task if first and first[0].arg == target.id else None
    return project.task_of(target, module) if function is None else None


@rule("DCE207", "args-not-a-sequence", "error", "task-design-patterns#call-a-task")
def args_not_a_sequence(project: Project) -> Iterator[Problem]:
    """`apply_async`, `send_task` or `signature` gets its `args` as something else than a list or tuple.

    Why: `args=(order.pk)` is no tuple, the comma is missing; `apply_async` takes the arguments as one sequence, not one
    by one. Either raises TypeError when it is called.
    Fix: `args=(order.pk,)`, or `args=[order.pk]`; named arguments go into `kwargs={…}`.
    Source: Measured (`argument after * must be an iterable, not int`, `task args must be a list or tuple`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.apply_async(args=(order.pk), countdown=60)
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.apply_async(args=(order.pk,), countdown=60)
    """
    for dispatch in every_dispatch(project):
        if dispatch.canvas or dispatch.method in ("delay", "delay_on_commit", "s", "si"):
            continue
        call = dispatch.call
        if any(isinstance(part, ast.Starred) for part in call.args):
            continue
        given = call.args[1 if dispatch.method == "send_task" else 0 :]
        args = given[0] if given else keyword(call, "args")
        kwargs = given[1] if len(given) > 1 else keyword(call, "kwargs")
        wrong = _no_sequence(args, dispatch.module, project)
        if wrong and dispatch.method in SIGNATURES and wrong in ITERABLE:
            continue  # a signature makes a tuple of it
        if wrong and args is not None:
            text = f"{label(dispatch)} gets {wrong} for args, which must be a list or tuple: TypeError"
            yield problem(text, args, dispatch.module)
        elif _no_mapping(kwargs, dispatch.module) and kwargs is not None:
            text = f"{label(dispatch)} gets no dict for kwargs: TypeError"
            yield problem(text, kwargs, dispatch.module)


def _no_sequence(node: ast.expr | None, module: Module, project: Project) -> str | None:
    """What stands for ``args``, when it surely is no list or tuple."""
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if node is None:
        return None
    value = constant(node, module)
    if value is not UNKNOWN:  # what is empty counts as no arguments
        is_sequence = isinstance(value, (tuple, list)) and not isinstance(node, ast.Set)
        return None if is_sequence or not value else _type_of(value, node)
    if isinstance(node, ast.Dict) and not node.keys:
        return None
    if isinstance(node, (ast.Dict, ast.DictComp)):
        return "a dict"
    if isinstance(node, (ast.Set, ast.SetComp)):
        return "a set"
    if isinstance(node, ast.JoinedStr):
        return "a text"
    if isinstance(node, ast.GeneratorExp):
        return "a generator"
    if isinstance(node, ast.Attribute) and node.attr in ("pk", "id"):
        return f"one value (.{node.attr})"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "int"):
        return f"one value ({node.func.id})"
    found = kind(node, module, project)
    return found.text if found and found.name in ("model", "request", "form") else None


def _type_of(value: object, node: ast.expr) -> str | None:
    if isinstance(node, ast.Set):
        return "a set"
    return {str: "a text", int: "a number", float: "a number", bool: "a bool", bytes: "bytes"}.get(type(value))


def _no_mapping(node: ast.expr | None, module: Module) -> bool:
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return bool(node.elts)
    value = constant(node, module)
    return isinstance(value, (str, int, float)) and bool(value)


# When it runs.


def _timed(project: Project) -> Iterator[tuple[str, dict[str, ast.expr], Module, ast.Call]]:
    """Calls with execution options: what they are called, the options, where."""
    for dispatch in every_dispatch(project):
        if dispatch.publishes and dispatch.options:
            yield label(dispatch), dispatch.options, dispatch.module, dispatch.call
    for module in project.modules:
        if not module.mentions(b".retry(", b".set("):
            continue
        for call in module.find(ast.Call):
            method = getattr(call.func, "attr", "")
            if not call.keywords or method not in ("retry", "set"):
                continue
            if method == "retry":
                task = _retried(call, module, project)
                name = f"the retry of `{task.qualified.rpartition('.')[2]}`" if task else None
            else:
                target = call.func.value  # type: ignore[attr-defined]
                name = "the signature" if is_canvas(target, project, module) else None
            if name:
                yield name, {word.arg: word.value for word in call.keywords if word.arg}, module, call


@rule("DCE208", "wrong-time-option", "error", "task-design-patterns#call-a-task")
def wrong_time_option(project: Project) -> Iterator[Problem]:
    """`countdown`, `eta` or `expires` has a value that Celery cannot use, or `eta` stands beside `countdown`.

    Why: a `timedelta` or text as countdown or expires, and a number or `timedelta` as eta, raise TypeError or
    AttributeError when the task is published; beside a countdown the eta is dropped without a word.
    Fix: `countdown` in seconds, `eta` an aware datetime, `expires` either; `countdown` or `eta`, never both.
    Source: Measured (`'<' not supported between instances of 'datetime.timedelta' and 'int'`).

    Bad:
        === orders/tasks.py
        from datetime import timedelta

        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=timedelta(minutes=10))
    Good:
        === orders/tasks.py
        from datetime import timedelta

        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=timedelta(minutes=10).total_seconds())
    """
    for name, options, module, call in _timed(project):
        for option in ("countdown", "eta", "expires"):
            wrong = _wrong_time(option, options.get(option), module)
            if wrong:
                yield problem(f"{name} gets {wrong} for {option}: the call raises", options[option], module)
        if _given(options.get("countdown"), module) and _given(options.get("eta"), module):
            yield problem(f"{name} gets countdown and eta: the eta is ignored", call, module)


def _given(node: ast.expr | None, module: Module) -> bool:
    """Whether an option surely has a value: a number but 0, or a call."""
    value = constant(node, module)
    if value is not UNKNOWN:
        return bool(value)
    return isinstance(node, (ast.Call, ast.BinOp))


def _wrong_time(option: str, node: ast.expr | None, module: Module) -> str | None:
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if node is None:
        return None
    if isinstance(node, ast.Call) and module.called(node) == "datetime.timedelta":
        return "a timedelta"
    value = constant(node, module)
    if isinstance(value, str) and option == "countdown":
        return "a text"
    if option == "eta" and isinstance(value, (int, float)) and not isinstance(value, bool) and value is not UNKNOWN:
        return "a number" if value else None
    return None


@rule("DCE209", "naive-eta", "error", "task-design-patterns#call-a-task")
def naive_eta(project: Project) -> Iterator[Problem]:
    """`eta` or `expires` is a datetime without a time zone, in local time.

    Why: a worker takes a naive datetime for UTC, whatever CELERY_TIMEZONE and TIME_ZONE say: west of Greenwich the task
    runs at once (or has expired), east of it hours late. `datetime.utcnow()` happens to be right; it is deprecated.
    Fix: Use `timezone.now() + timedelta(...)` of `django.utils`, or `timezone.make_aware(...)`.
    Source: Measured (naive 12:00 becomes 12:00+00:00 under America/New_York).

    Bad:
        === orders/tasks.py
        from datetime import datetime, timedelta

        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), eta=datetime.now() + timedelta(minutes=10))
    Good:
        === orders/tasks.py
        from datetime import timedelta

        from celery import shared_task
        from django.utils import timezone

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), eta=timezone.now() + timedelta(minutes=10))
    """
    zones = project.setting("TIME_ZONE", defaults=True)
    if zones and all(zone is UNKNOWN or zone in UTC for zone in zones):
        return  # local time is UTC, as far as can be told
    for name, options, module, _ in _timed(project):
        for option in ("eta", "expires"):
            made = _naive(options.get(option), module, project)
            if made:
                text = f"{name} gets a naive {option} ({made}): workers take it for UTC"
                yield problem(text, options[option], module)


def _naive(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> str | None:
    """How a naive local datetime is made, if an expression is one."""
    if node is None or depth > 10:
        return None
    if isinstance(node, ast.Name):
        return _naive(assigned(node), module, project, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return _naive(node.left, module, project, depth + 1)
    if not isinstance(node, ast.Call):
        return None
    name = module.called(node)
    if name in NAIVE and not has_open_keywords(node):
        return _naive_call(name, node)
    if name == "django.utils.timezone.now" and project.setting("USE_TZ") == [False]:
        return "timezone.now() under USE_TZ = False"
    keeps = getattr(node.func, "attr", "") == "replace" and keyword(node, "tzinfo") is None  # the zone stays
    if keeps and len(node.args) < 8 and not has_open_keywords(node):
        return _naive(node.func.value, module, project, depth + 1)  # type: ignore[attr-defined]
    return None


def _naive_call(name: str, node: ast.Call) -> str | None:
    if keyword(node, "tzinfo") is not None or keyword(node, "tz") is not None:
        return None
    if any(isinstance(part, ast.Starred) for part in node.args):
        return None
    allowed = {
        "datetime.datetime.now": 0,
        "datetime.datetime.today": 0,
        "datetime.datetime.fromtimestamp": 1,
        "datetime.datetime.combine": 2,
        "datetime.datetime": 7,
    }[name]
    if len(node.args) > allowed:
        return None
    if name == "datetime.datetime.combine" and not _is_zoneless_time(node):
        return None
    short = name.replace("datetime.datetime", "datetime")
    return f"{short}({'' if name.endswith(('now', 'today')) else '…'})"


def _is_zoneless_time(node: ast.Call) -> bool:
    """``combine`` takes the zone of its time: only a time that is made in place is known to have none."""
    time = node.args[1] if len(node.args) > 1 else None
    return isinstance(time, ast.Attribute) and time.attr in ("min", "max")


@rule("DCE210", "delay-beyond-visibility-timeout", "error", "configuration-guide#visibility-timeout")
def delay_beyond_visibility(project: Project) -> Iterator[Problem]:
    """On Redis or SQS a task is delayed for longer than the broker waits for an acknowledgement.

    Why: a worker holds a delayed message unacknowledged; past the visibility timeout (3,600 s on Redis unless
    `broker_transport_options` says otherwise) the broker delivers it again, and the task runs once for each delivery.
    Fix: Keep the due time in the database and let Beat find what is due, or raise `visibility_timeout` above it.
    Source: kombu/transport/redis.py (`visibility_timeout = 3600`, restored when unacknowledged for longer).

    Bad:
        === shop/settings.py
        SECRET_KEY = "x"
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=2 * 3600)
    Good:
        === shop/settings.py
        SECRET_KEY = "x"
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 6 * 3600}
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=2 * 3600)
    """
    limit = project.visibility_timeout
    if limit is None:
        return
    for name, options, module, _ in _timed(project):
        for option, wait in _waits(options, module):
            if wait > limit:
                text = f"{name} waits {_duration(wait)}, the visibility timeout is {_duration(limit)}: it runs again"
                yield problem(text, options[option], module)


@rule("DCE211", "far-delay", "info", "production-deployment#long-etas")
def far_delay(project: Project) -> Iterator[Problem]:
    """A task is delayed for more than a day by countdown or eta.

    Why: workers hold such messages in memory until they are due, and each restart or deploy hands them on; RabbitMQ
    ends a worker that keeps one past `consumer_timeout` (30 minutes; with quorum queues it delays the message itself),
    and the code may have changed by then.
    Fix: Keep the due time in the database and let a periodic task find what is due.
    Source: celery/worker/strategy.py (a message with an eta is taken at once, and `consumer.timer.call_at` holds it).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=7 * 24 * 3600)
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def remind(order_pk): ...

        def buy(order):
            remind.apply_async((order.pk,), countdown=600)
    """
    if any(module.mentions(b"quorum") for module in project.modules):
        return  # RabbitMQ itself delays what goes to quorum queues
    limit = project.visibility_timeout
    for name, options, module, _ in _timed(project):
        for option, wait in _waits(options, module):
            if wait > DAY and (limit is None or wait <= limit):
                text = f"{name} waits {_duration(wait)} in a worker's memory"
                yield problem(text, options[option], module)


def _waits(options: dict[str, ast.expr], module: Module) -> Iterator[tuple[str, float]]:
    """How long the options delay a task, in seconds, where the source says so."""
    countdown = seconds(options.get("countdown"), module)
    if countdown is not None:
        yield "countdown", countdown
    eta = options.get("eta")
    if isinstance(eta, ast.Name):
        eta = assigned(eta) or eta
    if isinstance(eta, ast.BinOp) and isinstance(eta.op, ast.Add):
        for now, wait in ((eta.left, eta.right), (eta.right, eta.left)):
            if isinstance(now, ast.Call) and (module.called(now) or "").endswith((".now", ".utcnow")):
                length = seconds(wait, module)
                if length is not None:
                    yield "eta", length


def _duration(number: float) -> str:
    for unit, size in (("days", DAY), ("hours", 3_600), ("minutes", 60)):
        if number >= 2 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g} s"


# Slips around a call.


@rule("DCE212", "delay-on-a-result", "error", "task-design-patterns#call-a-task")
def delay_on_a_result(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """A task is called like a function, and `delay` is called on what it returns.

    Why: `send_receipt(pk).delay()` runs the task here and now, then fails: its result has no `delay`.
    Fix: Give the arguments to `delay`: `send_receipt.delay(pk)`.
    Source: Measured (`'int' object has no attribute 'delay'`, after the task ran in the caller).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt(order.pk).delay()
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order):
            send_receipt.delay(order.pk)
    """
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in PUBLISHES):
        return
    inner = function.value
    if isinstance(inner, ast.Name):
        inner = assigned(inner) or inner
    if not isinstance(inner, ast.Call):
        return
    task = project.task_of(inner.func, module)
    if task is None or not isinstance(task.function, ast.FunctionDef) or isinstance(task.node, ast.ClassDef):
        return
    returned = [part.value for part in own_nodes(task.function) if isinstance(part, ast.Return)]
    if any(is_canvas(value, project, task.module) for value in returned):
        return
    name = task.qualified.rpartition(".")[2]
    yield Problem(f"`{name}` runs here, and `{function.attr}` fails on its result", call)


@rule("DCE213", "logging-extra-clash", "error", "monitoring-observability#logging")
def logging_extra_clash(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """A log call's `extra` has a key that every log record already has: args, name, module, message.

    Why: `logging` raises KeyError ("Attempt to overwrite 'args' in LogRecord"), so the task fails because it logs, and
    only where the level lets the line through.
    Fix: Give the keys names of their own: `task_args`, `task_name`.
    Source: Measured (KeyError from `Logger.makeRecord`).

    Bad:
        === orders/tasks.py
        import logging

        from celery import shared_task

        logger = logging.getLogger(__name__)

        @shared_task
        def send_receipt(order_pk):
            logger.info("sending", extra={"args": [order_pk], "name": "receipt"})
    Good:
        === orders/tasks.py
        import logging

        from celery import shared_task

        logger = logging.getLogger(__name__)

        @shared_task
        def send_receipt(order_pk):
            logger.info("sending", extra={"task_args": [order_pk], "task_name": "receipt"})
    """
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in LOG_METHODS):
        return
    extra = mapping(keyword(call, "extra"), module)
    if not extra or not _is_logger(function.value, module, project):
        return
    clash = sorted(LOG_RECORD & extra.keys())
    if clash:
        keys = ", ".join(map(repr, clash))
        yield Problem(f"extra may not have {keys}: KeyError when the line is logged", call)


def _is_logger(node: ast.expr, module: Module, project: Project) -> bool:
    if module.qualified(node) == "logging":
        return True
    if isinstance(node, ast.Call):
        return module.called(node) in LOGGERS
    if isinstance(node, ast.Name):
        function = binding_scope(node)
        if function is not None:
            values = local_values(function, node.id)
            return len(values) == 1 and isinstance(values[0], ast.Call) and module.called(values[0]) in LOGGERS
    found = project.definition(project.meaning(node, module))
    return bool(found) and isinstance(found[1], ast.Call) and found[0].called(found[1]) in LOGGERS  # type: ignore[index]


@rule("DCE214", "request-headers-may-be-none", "warning", "task-design-patterns#context-through-a-workflow")
def request_headers_none(node: ast.Attribute, module: Module, project: Project) -> Iterator[Problem]:
    """A task reads `self.request.headers` as if it always were a dict.

    Why: it is None when no header of one's own was sent: for a plain `delay`, from Beat, in eager mode and in a direct
    call. The task fails with AttributeError or TypeError there.
    Fix: Read `self.request.get("x_tenant")`, which also works without headers.
    Source: Measured (`'NoneType' object has no attribute 'get'`).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def send_receipt(self, order_pk):
            tenant = self.request.headers.get("x_tenant")
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def send_receipt(self, order_pk):
            tenant = self.request.get("x_tenant")
    """
    if node.attr != "headers" or not (isinstance(node.value, ast.Attribute) and node.value.attr == "request"):
        return
    parent = node.parent  # type: ignore[attr-defined]
    if not (isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Subscript) and parent.value is node)):
        return
    owner = node.value.value
    if not _is_bound_task(owner, module, project) or _is_guarded(node):
        return
    yield Problem("self.request.headers is None when the caller sent no header of its own", node)


def _is_bound_task(node: ast.expr, module: Module, project: Project) -> bool:
    if module.qualified(node) == "celery.current_task":
        return True
    if not isinstance(node, ast.Name):
        return False
    function = binding_scope(node)
    if function is None:
        return project.task_of(node, module) is not None
    if not isinstance(function, Function):
        return False
    first = [*function.args.posonlyargs, *function.args.args][:1]
    return (
        bool(first)
        and first[0].arg == node.id
        and any(task.function is function and task.bound for task in tasks_in(module, project))
    )


def _is_guarded(node: ast.Attribute) -> bool:
    """Whether the function looks at the headers as a whole elsewhere, or catches what would be raised."""
    for parent in parents(node):
        if isinstance(parent, ast.Try) and parent.handlers:
            return True
    function = scope(node)
    for part in own_nodes(function) if function else ():
        if isinstance(part, ast.Attribute) and part.attr == "headers" and part is not node:
            parent = part.parent  # type: ignore[attr-defined]
            if not isinstance(parent, (ast.Attribute, ast.Subscript)):
                return True
    return False


@rule("DCE215", "reserved-header", "error", "task-design-patterns#context-through-a-workflow")
def reserved_header(project: Project) -> Iterator[Problem]:
    """A header of one's own has a name that Celery's messages use themselves.

    Why: the task does not see it: names of request attributes (`correlation_id`, `hostname`…) are taken out of
    `self.request.headers`. Names of the message's own headers (`task`, `id`, `eta`, `group`…) replace those: with
    another `task` or a strange `eta` the worker discards the message.
    Fix: Prefix the name: `headers={"x_correlation_id": …}`, read by `self.request.get("x_correlation_id")`.
    Source: Measured (`self.request.headers` is None; the message of `headers={"task": …}` is NotRegistered).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order, token):
            send_receipt.apply_async((order.pk,), headers={"correlation_id": token})
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...

        def buy(order, token):
            send_receipt.apply_async((order.pk,), headers={"x_correlation_id": token})
    """
    for name, options, module, _ in _timed(project):
        headers = mapping(options.get("headers"), module)
        for key in sorted(RESERVED_HEADERS & (headers or {}).keys()):
            what = "it replaces the message's own" if key in MESSAGE_HEADERS else "the task will not see it"
            text = f"{name} gets a header {key!r}, a name Celery uses itself: {what}"
            yield problem(text, options["headers"], module)
