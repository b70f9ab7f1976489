"""What a task and a receiver see at run time: attributes of the request, arguments of signals."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from . import installed
from .page import Code, Mention, Page
from .rule import RIGHT, Verdict, near, rule

TASKS = ("self", "task", "current_task")


@rule("names/signal")
def signal(page: Page) -> Iterator[Verdict]:
    """A signal that does not exist, or a receiver's parameter that the signal does not send.

    The arguments are those that the signal declares, those with which Celery sends it, `sender` and `signal`.

    Why: a receiver that asks for an argument that is never sent raises at every signal, and Celery only logs it.
    Mend: Take the argument that the signal sends, and `**kwargs` for the rest.

    Bad:
        === SKILL.md +
        ```python
        from celery.signals import task_failed
        ```
    Bad:
        === SKILL.md +
        ```python
        from celery.signals import task_failure

        @task_failure.connect
        def report(sender, error, **kwargs): ...
        ```
    Bad:
        === SKILL.md +
        ```python
        from celery import signals

        @signals.task_prerun.connect(sender=f)
        def begin(task_id, request, **kwargs): ...
        ```
    Bad:
        === SKILL.md +
        ```python
        from celery.signals import worker_ready

        def ready(hostname, **kwargs): ...

        worker_ready.connect(ready)
        ```
    Good:
        === SKILL.md +
        ```python
        from celery import signals
        from celery.signals import task_failure, task_postrun

        @task_failure.connect
        def report(sender, task_id, exception, **kwargs): ...

        @task_postrun.connect(weak=False)
        def end(task, state, note=None, **kwargs): ...

        signals.worker_ready.connect(report_ready)
        ```
    """
    for code in page.blocks:
        for mention in _signals(code):
            wrong = f"celery.signals has no {mention.name}{near(mention.name, installed.signal_arguments())}"
            yield mention, RIGHT if mention.name in installed.signal_arguments() else wrong
        for name, receiver in _receivers(code):
            sent = installed.signal_arguments().get(name, frozenset())
            for argument in _required(receiver) if sent else ():
                wrong = f"{name} sends no {argument.arg}{near(argument.arg, sent)}"
                yield code.at(argument, argument.arg), RIGHT if argument.arg in sent else wrong


def _signals(code: Code) -> Iterator[Mention]:
    for node in code.every(ast.ImportFrom):
        if node.module == "celery.signals":
            yield from (code.at(alias, alias.name) for alias in node.names if alias.name != "*")
    for node in code.every(ast.Attribute):
        if code.dotted(node.value) == "celery.signals":
            yield code.at(node, node.attr)


def _receivers(code: Code) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each connected function with its signal: by decorator, called or not, and by ``signal.connect(function)``."""
    functions = {node.name: node for node in code.every(ast.FunctionDef, ast.AsyncFunctionDef)}
    for function in functions.values():
        for decorator in function.decorator_list:
            if name := _connected(code, decorator.func if isinstance(decorator, ast.Call) else decorator):
                yield name, function
    for call in code.every(ast.Call):
        receiver = functions.get(getattr(call.args[0], "id", "")) if call.args else None
        if receiver and (name := _connected(code, call.func)):
            yield name, receiver


def _connected(code: Code, node: ast.AST) -> str:
    """The signal of ``celery.signals.x.connect``."""
    module, _, rest = code.dotted(node).rpartition("celery.signals.")
    name, _, method = rest.partition(".")
    return name if not module and method == "connect" else ""


def _required(function: ast.FunctionDef) -> Iterator[ast.arg]:
    """The parameters that must be sent."""
    positional = [*function.args.posonlyargs, *function.args.args]
    yield from positional[: len(positional) - len(function.args.defaults)]
    named = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    yield from (argument for argument, default in named if default is None)


@rule("names/request-attribute")
def request_attribute(page: Page) -> Iterator[Verdict]:
    """An attribute of `self.request` that a task's request does not have.

    Passed is what the page itself sets, on the request or as a header of the message.

    Why: `AttributeError` in the worker, in a line that tests without a broker may never reach.
    Mend: Read an attribute of `celery.app.task.Context`; a header of your own by `self.request.get("x_name")`.

    Bad:
        === SKILL.md +
        # Celery
        ```python
        @app.task(bind=True)
        def f(self):
            return self.request.task_id
        ```
    Bad:
        === SKILL.md +
        # Celery
        Read `self.request.delivery_infos`.
    Bad:
        === SKILL.md +
        ```python
        from celery import current_task

        def tenant():
            request = getattr(current_task, "request", None)
            return request.tenant
        ```
    Good:
        === SKILL.md +
        # Celery
        Read `self.request.retries` and `self.request.stamps`.
        ```python
        @app.task(bind=True)
        def f(self):
            self.request.began = 1
            return self.request.id, self.request.delivery_info, self.request.began

        class Orders(View):
            def get(self):
                return self.request.user
        ```
    """
    own = _set_by_page(page)
    known = installed.request_attributes()
    for code in page.codes:
        views = _in_views(code)
        for node, name in _read(code):
            if id(node) not in views:
                wrong = f"a task's request has no {name}{near(name, known)}"
                yield code.at(node, name), RIGHT if name in known | own else wrong


def _read(code: Code) -> Iterator[tuple[ast.AST, str]]:
    """``task.request.x`` and ``getattr(task.request, "x")``, through a name too."""
    aliases = {getattr(target, "id", "") for target, value in code.assignments() if _is_request(value, set())}
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_request(node.value, aliases):
            yield node, node.attr
        elif _is_getattr(node) and _is_request(node.args[0], aliases):
            yield node, node.args[1].value


def _is_request(node: ast.AST, aliases: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "request" and isinstance(node.value, ast.Name) and node.value.id in TASKS
    if _is_getattr(node):
        return node.args[1].value == "request" and getattr(node.args[0], "id", "") in TASKS
    return isinstance(node, ast.Name) and node.id in aliases - {""}


def _is_getattr(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "getattr"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    )


def _in_views(code: Code) -> set[int]:
    """The nodes of classes that are no tasks: there ``self.request`` is a browser's."""
    classes = (node for node in code.every(ast.ClassDef))
    others = (node for node in classes if not any("Task" in ast.unparse(base) for base in node.bases))
    return {id(inner) for node in others for inner in ast.walk(node)}


def _set_by_page(page: Page) -> set[str]:
    """Attributes that the page sets on a request, and headers that it adds to a message."""
    own: set[str] = set()
    for code in page.blocks:
        for node in code.nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_request(node.value, set()):
                own.add(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                own |= _headers(code, node.value, node.slice)
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setdefault" and node.args:
                own |= _headers(code, node.func.value, node.args[0])
    return own


def _headers(code: Code, mapping: ast.AST, key: ast.AST) -> set[str]:
    name = getattr(mapping, "id", getattr(mapping, "attr", ""))
    value = code.constant(key)
    return {value.value} if name == "headers" and isinstance(value, ast.Constant) else set()
