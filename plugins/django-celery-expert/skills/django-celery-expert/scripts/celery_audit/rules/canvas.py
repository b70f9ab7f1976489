"""DCE5xx: results, chains, groups and chords."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ..infer import assigned, constant, every_parameter, loop_of, own_nodes
from ..module import MAX_DEPTH, Function, Module, enclosing, has_open_keywords, keyword, parents
from ..project import CANVAS, SIGNATURES, Dispatch, Project, Task
from ..registry import Problem, rule
from ..running import code_in_tasks, task_at
from ..signatures import mismatch, unexpected
from .retries import limit, setting_nodes, worth

READS = {"get", "join", "wait", "join_native"}
LOOKS = {"state", "status", "result", "ready", "successful", "failed", "info", "traceback"}
RESULTS = {f"celery.result.{name}" for name in ("AsyncResult", "GroupResult", "ResultSet")}
PARTS_OF_CANVAS = {name: name.rpartition(".")[2] for name in CANVAS}


# What a canvas expression consists of.


@dataclass(eq=False)
class Part:
    """A signature, chain, group or chord; ``kind`` is empty for what cannot be told."""

    node: ast.AST
    kind: str = ""  # sig, chain, group, chord
    parts: list[Part] = field(default_factory=list)  # steps of a chain, members of a group, header of a chord
    body: Part | None = None  # of a chord
    sig: Dispatch | None = None
    has_own_options: bool = False  # through .set(…)
    whole: bool = True  # whether `parts` are all there are


def part_of(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> Part:
    """The canvas that an expression makes; kept on its node, so that names that double at each step end soon."""
    if node is None or depth > MAX_DEPTH:
        return Part(node or ast.Pass())
    kept = getattr(node, "part", None)
    if kept is None:
        kept = node.part = _part_of(node, module, project, depth)  # type: ignore[attr-defined]
    return kept


def _part_of(node: ast.AST, module: Module, project: Project, depth: int) -> Part:
    if isinstance(node, ast.Name):
        return part_of(assigned(node), module, project, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = (part_of(side, module, project, depth + 1) for side in (node.left, node.right))
        if not left.kind and not right.kind:
            return Part(node)
        first = left.parts if left.kind == "chain" else [left]
        return Part(node, "chain", [*first, right], whole=left.whole)
    if not isinstance(node, ast.Call):
        return Part(node)
    made = PARTS_OF_CANVAS.get(project.meaning(node.func, module) or "")
    if made in ("chain", "group"):
        parts, whole = _members(
            node.args or [w.value for w in node.keywords if w.arg == "tasks"], module, project, depth
        )
        return Part(node, made, parts, whole=whole and not has_open_keywords(node))
    if made == "chord":
        return _chord(node, node.args, module, project, depth)
    if isinstance(node.func, ast.Call) and (
        PARTS_OF_CANVAS.get(project.meaning(node.func.func, module) or "") == "chord"
    ):  # chord(header)(body)
        return _chord(node.func, [*node.func.args, *node.args], module, project, depth)
    if isinstance(node.func, ast.Attribute):
        if node.func.attr in SIGNATURES:
            task = project.task_of(node.func.value, module)
            if task is not None:
                return Part(node, "sig", sig=Dispatch(node, module, node.func.attr, task, node.func.value))
        elif node.func.attr in ("set", "on_error", "clone"):
            inner = part_of(node.func.value, module, project, depth + 1)
            return replace(inner, has_own_options=True) if node.func.attr == "set" else inner
    return Part(node)


def _chord(node: ast.Call, args: list[ast.expr], module: Module, project: Project, depth: int) -> Part:
    header = args[0] if args else keyword(node, "header")
    body = args[1] if len(args) > 1 else keyword(node, "body")
    inner = part_of(header, module, project, depth + 1)
    if inner.kind == "group":
        parts, whole = inner.parts, inner.whole
    else:
        parts, whole = _members([header] if header is not None else [], module, project, depth)
    found = Part(node, "chord", parts, whole=whole)
    if body is not None and not isinstance(body, ast.Starred):
        found.body = part_of(body, module, project, depth + 1)
    return found


def _members(args: list[ast.expr], module: Module, project: Project, depth: int) -> tuple[list[Part], bool]:
    """The members that arguments name, and whether they are all."""
    if len(args) == 1:
        only = args[0]
        if isinstance(only, ast.Starred):
            only = only.value
        if isinstance(only, ast.Name):
            only = assigned(only) or only
        if isinstance(only, (ast.List, ast.Tuple)):
            args = list(only.elts)
        elif isinstance(only, (ast.ListComp, ast.GeneratorExp)):
            return [part_of(only.elt, module, project, depth + 1)], False
    found = [Part(arg) if isinstance(arg, ast.Starred) else part_of(arg, module, project, depth + 1) for arg in args]
    return found, not any(isinstance(arg, ast.Starred) for arg in args)


@lru_cache(maxsize=1)
def canvases(project: Project) -> list[tuple[Part, Module]]:
    """The chains, groups and chords of the project, also those inside others."""
    found = []
    for module in project.modules:
        if not module.mentions(b".s(", b".si(", b".signature(", b".subtask("):
            continue
        for node in [*module.find(ast.Call), *module.find(ast.BinOp)]:
            if isinstance(node, ast.BinOp):
                if not isinstance(node.op, ast.BitOr) or isinstance(node.parent, ast.BinOp):  # type: ignore[attr-defined]
                    continue
            elif project.meaning(node.func, module) not in CANVAS:
                continue
            part = part_of(node, module, project)
            if part.kind in ("chain", "group", "chord"):
                if part.kind == "chord" and isinstance(node.parent, ast.Call) and node.parent.func is node:  # type: ignore[attr-defined]
                    part = part_of(node.parent, module, project)  # type: ignore[attr-defined]
                found.append((part, module))
    return found


def first_leaves(part: Part) -> Iterator[Part]:
    """The signatures that take what is handed to a part."""
    stack = [part]
    for _ in range(1000):
        if not stack:
            return
        part = stack.pop()
        if part.kind == "sig":
            yield part
        elif part.kind == "chain":
            stack += part.parts[:1]
        else:
            stack += part.parts


def last_leaves(part: Part) -> Iterator[Part]:
    """The signatures whose results are a part's result."""
    stack = [part]
    for _ in range(1000):
        if not stack:
            return
        part = stack.pop()
        if part.kind == "sig":
            yield part
        elif part.kind == "chain":
            stack += part.parts[-1:] if part.whole else []
        elif part.kind == "chord":
            stack += [part.body] if part.body is not None else []
        else:
            stack += part.parts


def chords(project: Project) -> Iterator[tuple[Part, list[Part], Module]]:
    """The chords, those that Celery makes of ``group | task`` too, with their header's members."""
    for part, module in canvases(project):
        if part.kind == "chord":
            yield part, part.parts, module
        elif part.kind == "chain":
            for step, following in zip(part.parts, part.parts[1:]):
                if step.kind == "group" and following.kind in ("sig", "chain"):
                    yield part, step.parts, module


# Results.


@lru_cache(maxsize=1)
def published(project: Project) -> dict[int, Dispatch]:
    """Dispatches that publish and return a result, by the ``id()`` of their call."""
    return {
        id(dispatch.call): dispatch
        for dispatches in project.dispatches.values()
        for dispatch in dispatches
        if dispatch.publishes and not dispatch.on_commit
    }


@dataclass
class Result:
    """A result that an expression holds: of which dispatch or canvas, and whether it came by ``apply()``."""

    node: ast.AST
    dispatch: Dispatch | None = None
    part: Part | None = None
    eager: bool = False
    by_id: bool = False  # AsyncResult(id)


def result_of(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> Result | None:
    """The result that an expression is worth, if it is one."""
    if node is None or depth > 10:
        return None
    if isinstance(node, ast.Name):
        value = assigned(node)
        if value is not None:
            return result_of(value, module, project, depth + 1)
        loop = loop_of(node)
        return _element(loop.iter, module, project, depth + 1) if loop is not None else None
    if not isinstance(node, ast.Call):
        return None
    if id(node) in published(project):
        dispatch = published(project)[id(node)]
        part = part_of(dispatch.target, module, project) if dispatch.canvas else None
        return Result(node, dispatch, part)
    if isinstance(node.func, ast.Attribute):
        if node.func.attr == "apply":
            part = part_of(node.func.value, module, project)
            if part.kind or project.task_of(node.func.value, module) is not None:
                return Result(node, part=part, eager=True)
        if node.func.attr in ("AsyncResult", "GroupResult") and (
            project.is_app(node.func.value, module) or project.task_of(node.func.value, module) is not None
        ):
            return Result(node, by_id=True)
    if project.meaning(node.func, module) in RESULTS:
        return Result(node, by_id=True)
    if isinstance(node.func, (ast.Call, ast.BinOp, ast.Name)):
        part = part_of(node, module, project) if isinstance(node.func, ast.Call) else Part(node)
        if part.kind == "chord" and part.node is node.func:
            return Result(node, part=part)  # chord(header)(body)
        part = part_of(node.func, module, project)
        if part.kind in ("chain", "group") or (part.kind == "chord" and part.body is not None):
            return Result(node, part=part)  # group(…)()
    return None


def _element(node: ast.AST, module: Module, project: Project, depth: int) -> Result | None:
    """The result that the elements of a list are."""
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return result_of(node.elt, module, project, depth)
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        return result_of(node.elts[0], module, project, depth)
    return None


@lru_cache(maxsize=1)
def waits(project: Project) -> list[tuple[ast.Call, Result, Module]]:
    """The calls that wait for a result: ``task.delay().get()``, ``results.join()`` …"""
    found = []
    for module in project.modules:
        if not module.mentions(b".delay(", b".apply_async(", b".apply(", b"AsyncResult", b"GroupResult", b")()"):
            continue
        for call in module.find(ast.Call):
            if isinstance(call.func, ast.Attribute) and call.func.attr in READS:
                result = result_of(call.func.value, module, project)
                if result is not None:
                    found.append((call, result, module))
    return found


def _join_allowed(call: ast.Call, module: Module) -> bool:
    """Whether the code says that waiting is meant: ``disable_sync_subtasks=False`` or ``allow_join_result()``."""
    given = keyword(call, "disable_sync_subtasks")
    if has_open_keywords(call) or (given is not None and constant(given, module) is not True):
        return True
    for parent in parents(call):
        if isinstance(parent, ast.With):
            names = [module.called(item.context_expr) or "" for item in parent.items]
            if any(name.endswith("allow_join_result") for name in names):
                return True
    return False


@rule("DCE501", "result-awaited-in-task", "error", "task-design-patterns#chains-groups-and-chords")
def result_awaited_in_task(project: Project) -> Iterator[Problem]:
    """A task waits for the result of another: `.get()`, `.join()` or `.wait()`.

    Why: Celery refuses: RuntimeError "Never call result.get() within a task!", also on the result of `apply()`. Where
    it is allowed, tasks that wait fill the slots that those they wait for need, and all stand still.
    Fix: Make a chain or chord and let the next step take the result; call the function itself (`task(pk)`) to run it
    here.
    Source: Measured (RuntimeError from `delay().get()` and from `apply().get()` in a task).

    Bad:
        === reports/tasks.py
        from celery import shared_task

        @shared_task
        def count(pk): ...

        @shared_task
        def report(pk):
            return {"rows": count.delay(pk).get()}
    Good:
        === reports/tasks.py
        from celery import chain, shared_task

        @shared_task
        def count(pk): ...

        @shared_task
        def report(rows):
            return {"rows": rows}

        def start(pk):
            chain(count.s(pk), report.s()).delay()
    """
    inside = {id(running.function): running for running in code_in_tasks(project)}
    for call, result, module in waits(project):
        running = inside.get(id(enclosing(call, *Function, ast.Lambda)))
        if running is None or _join_allowed(call, module):
            continue
        what = "apply()" if result.eager else "another task"
        yield Problem(
            f"{running.task.name} waits for {what} in {call.func.attr}(): RuntimeError",  # type: ignore[attr-defined]
            call,
            module.path,
        )


def backends(project: Project) -> list[str | None]:
    """The result backends of production, as texts; None for one that is not known; empty when none is set."""
    return project.setting_texts("result_backend")


def mentions_backend(project: Project) -> bool:
    """Whether any file may set a result backend in a way that the settings do not show."""
    words = (b"RESULT_BACKEND", b"result_backend", b"backend=", b"CELERY_CONFIG")
    return any(module.mentions(*words) for module in project.modules) or any(
        "RESULT_BACKEND" in line for text in project.text for line in text.lines
    )


def has_no_backend(project: Project) -> bool:
    """Whether the project configures a broker, and certainly no result backend."""
    return bool(project.setting_texts("broker_url")) and not backends(project) and not mentions_backend(project)


@rule("DCE502", "chord-over-ignored-results", "error", "task-design-patterns#chords-that-fail")
def chord_over_ignored_results(project: Project) -> Iterator[Problem]:
    """A chord's header runs tasks that ignore their results, on a result backend that needs them.

    Why: Redis counts finished header tasks in another way; django-db and the other backends wait for results that are
    never stored. The body never runs, and nothing is logged.
    Fix: Set `ignore_result=False` on the header's tasks (also where `task_ignore_result` is on).
    Source: Measured (on a backend other than Redis the header finished and the body was not published).

    Bad:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "django-db"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/tasks.py
        from celery import chord, shared_task

        @shared_task(ignore_result=True)
        def part(pk): ...

        @shared_task
        def total(parts): ...

        def start(pks):
            chord([part.s(pk) for pk in pks], total.s()).delay()
    Good:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "django-db"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/tasks.py
        from celery import chord, shared_task

        @shared_task(ignore_result=False)
        def part(pk): ...

        @shared_task
        def total(parts): ...

        def start(pks):
            chord([part.s(pk) for pk in pks], total.s()).delay()
    """
    found = backends(project)
    if not found or any(text is None or text.startswith(("redis", "sentinel", "{")) for text in found):
        return
    for part, header, module in chords(project):
        for leaf in [leaf for member in header for leaf in last_leaves(member)]:
            task = leaf.sig.task if leaf.sig else None
            if task is not None and limit(task, "ignore_result", project) is True and not leaf.has_own_options:
                yield Problem(
                    f"{task.name} ignores its result: on {_scheme(found[0])} this chord's body never runs",
                    part.node,
                    module.path,
                )
                break


def _scheme(text: str | None) -> str:
    return (text or "").partition("://")[0] or "this backend"


@rule("DCE503", "chord-without-backend", "error", "configuration-guide#result-backends")
def chord_without_backend(project: Project) -> Iterator[Problem]:
    """A chord is used, but no result backend is configured, or `rpc://`, which cannot do chords.

    Why: The header's results decide when the body runs. Without a backend publishing raises NotImplementedError; a
    group that is followed by a task becomes a chord too.
    Fix: Configure a result backend (`CELERY_RESULT_BACKEND`), Redis or django-db.
    Source: Measured (NotImplementedError at publish).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/tasks.py
        from celery import chord, shared_task

        @shared_task
        def part(pk): ...

        @shared_task
        def total(parts): ...

        def start(pks):
            chord([part.s(pk) for pk in pks], total.s()).delay()
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/tasks.py
        from celery import chord, shared_task

        @shared_task
        def part(pk): ...

        @shared_task
        def total(parts): ...

        def start(pks):
            chord([part.s(pk) for pk in pks], total.s()).delay()
    """
    found = backends(project)
    rpc = bool(found) and all(text is not None and text.startswith("rpc") for text in found)
    if not rpc and not has_no_backend(project):
        return
    what = "rpc:// cannot do chords" if rpc else "no result backend is configured"
    for part, _, module in chords(project):
        yield Problem(f"a chord needs a result backend, and {what}: NotImplementedError", part.node, module.path)


@rule("DCE504", "group-takes-no-link", "error", "error-handling#callbacks-and-errbacks")
def group_takes_no_link(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """`link` or `link_error` is given to a group's `apply_async`.

    Why: TypeError ("Cannot add link to group"): nothing is published.
    Fix: For errors `group(…).link_error(handler.s())` or one on each member; to continue after the group, a chord.
    Source: Measured (TypeError).

    Bad:
        === reports/tasks.py
        from celery import group, shared_task

        @shared_task
        def part(pk): ...

        @shared_task
        def failed(request, exc, traceback): ...

        def start(pks):
            group(part.s(pk) for pk in pks).apply_async(link_error=failed.s())
    Good:
        === reports/tasks.py
        from celery import group, shared_task

        @shared_task
        def part(pk): ...

        @shared_task
        def failed(request, exc, traceback): ...

        def start(pks):
            parts = group(part.s(pk) for pk in pks)
            parts.link_error(failed.s())
            parts.apply_async()
    """
    if not dispatch.canvas or dispatch.method != "apply_async":
        return
    for option in ("link", "link_error"):
        value = dispatch.options.get(option)
        if value is None or (isinstance(value, ast.Constant) and not value.value):
            continue
        if part_of(dispatch.target, dispatch.module, project).kind == "group":
            yield Problem(f"group.apply_async({option}=…): TypeError, nothing is published", value)


def misfit(parameters: ast.arguments, count: int, names: Iterable[str]) -> str | None:
    """Why a call does not fit; names that no parameter takes are DCE204's, which sees the signature itself."""
    strange = unexpected(parameters, names)
    return mismatch(parameters, count, [name for name in names if name not in strange])


def plain(task: Task | None) -> bool:
    """Whether a task's signature is its function's: known, and no other decorator in between."""
    return (
        task is not None
        and task.parameters is not None
        and task.function is not None
        and len(task.function.decorator_list) <= 1
    )


def is_immutable(sig: Dispatch) -> bool | None:
    """Whether a signature takes nothing from what runs before it; None when that is not told."""
    if sig.method == "si":
        return True
    if sig.method == "s":
        return False
    given = keyword(sig.call, "immutable")
    if given is None:
        return None if has_open_keywords(sig.call) else False
    value = constant(given, sig.module)
    return value if isinstance(value, bool) else None


@rule("DCE505", "step-arguments-do-not-fit", "error", "task-design-patterns#chains-groups-and-chords")
def step_arguments_do_not_fit(project: Project) -> Iterator[Problem]:
    """A step of a chain, or a chord's body, does not fit its arguments: the result before it comes first.

    Why: A signature made by `.s()` gets its predecessor's result (a chord's body: the list of them) as first argument.
    One argument too many or too few is a TypeError in the worker, after the steps before have run.
    Fix: Use `.si()` for a step that does not want the result, or give the task a first parameter for it.
    Source: Measured (TypeError; the step never ran).

    Bad:
        === orders/tasks.py
        from celery import chain, shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...

        def start(pk):
            chain(confirm.s(pk), mail.s(pk)).delay()
    Good:
        === orders/tasks.py
        from celery import chain, shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...

        def start(pk):
            chain(confirm.si(pk), mail.si(pk)).delay()
    """
    for part, _ in canvases(project):
        fed: list[tuple[Part, str]] = []
        if part.kind == "chain":
            for step in part.parts[1:]:
                fed += [(leaf, "the result of the step before") for leaf in first_leaves(step)]
        elif part.kind == "chord" and part.body is not None:
            fed += [(leaf, "the list of results") for leaf in first_leaves(part.body)]
        for leaf, what in fed:
            why = _does_not_fit(leaf.sig)
            if leaf.sig is not None and leaf.sig.task is not None and why:
                yield Problem(f"{leaf.sig.task.name} {why}: {what} comes first", leaf.node, leaf.sig.module.path)


def _does_not_fit(sig: Dispatch | None, extra: int = 1) -> str | None:
    if sig is None or sig.task is None or not plain(sig.task) or is_immutable(sig) is not False:
        return None
    args, kwargs = sig.arguments
    if args is None or kwargs is None:
        return None
    return misfit(sig.task.parameters, extra + len(args), kwargs)  # type: ignore[arg-type]


FIRST_STEP_ONLY = ("queue", "routing_key", "exchange", "priority", "expires")


@rule("DCE506", "options-reach-first-step-only", "warning", "task-design-patterns#call-a-task")
def options_reach_first_step_only(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """Options of a chain's `apply_async` are meant for the whole chain but reach its first step only.

    Why: `chain.apply_async(queue=…, priority=…, expires=…)` publishes the first step with them; every later step goes
    to the default queue, with the default priority, and never expires.
    Fix: Set them on each signature: `mail.si(pk).set(queue="mail")`, or on the tasks.
    Source: Measured (first message in the queue `mail`, the second step carried no options).

    Bad:
        === orders/tasks.py
        from celery import chain, shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...

        def start(pk):
            chain(confirm.si(pk), mail.si(pk)).apply_async(queue="mail")
    Good:
        === orders/tasks.py
        from celery import chain, shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...

        def start(pk):
            chain(confirm.si(pk).set(queue="mail"), mail.si(pk).set(queue="mail")).apply_async()
    """
    if not dispatch.canvas or dispatch.method != "apply_async" or project.by_key.get("task_routes"):
        return
    options = [name for name in FIRST_STEP_ONLY if name in dispatch.options]
    if not options:
        return
    part = part_of(dispatch.target, dispatch.module, project)
    if part.kind != "chain" or len(part.parts) < 2:
        return
    for option in options:
        for step in part.parts[1:]:
            task = step.sig.task if step.sig else None
            if task is None or step.has_own_options or option in task.options or task.open:
                continue
            yield Problem(
                f"{option} reaches the first step only: {task.name} runs without it", dispatch.options[option]
            )
            break


@rule("DCE507", "errback-does-not-fit", "error", "error-handling#callbacks-and-errbacks")
def errback_does_not_fit(project: Project) -> Iterator[Problem]:
    """An error callback cannot be called with what Celery gives it.

    Why: An unbound errback with more than one free argument is called as `(request, exc, traceback, *own)`; a bound
    one, or one with a single free argument, is published as a task with `(task_id, *own)`. Another signature is a
    TypeError in the worker: the failure is not handled, and on 5.5–5.6 `on_failure` and `task_failure` are skipped too.
    Fix: Write it unbound: `def failed(request, exc, traceback, order_pk)`, attached as `failed.s(order_pk)`.
    Source: Measured (TypeError in the failing worker; the errback's body never ran).

    Bad:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(bind=True)
        def failed(self, request, exc, traceback): ...

        @shared_task
        def charge(pk): ...

        def start(pk):
            charge.apply_async((pk,), link_error=failed.s())
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def failed(request, exc, traceback): ...

        @shared_task
        def charge(pk): ...

        def start(pk):
            charge.apply_async((pk,), link_error=failed.s())
    """
    for module in project.modules:
        if not module.mentions(b"link_error", b"on_error"):
            continue
        for call in module.find(ast.Call):
            given = keyword(call, "link_error")
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("on_error", "link_error") and call.args:
                given = call.args[0]
            for node in given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]:
                part = part_of(node, module, project) if node is not None else Part(call)
                why = _errback_misfit(part.sig) if part.kind == "sig" else None
                if why:
                    yield Problem(why, part.node, module.path)


def _errback_misfit(sig: Dispatch | None) -> str | None:
    if sig is None or sig.task is None or not plain(sig.task) or is_immutable(sig) is not False:
        return None
    args, kwargs = sig.arguments
    parameters = sig.task.parameters
    if args is None or kwargs is None or parameters is None:
        return None
    free = len(parameters.args) + len(parameters.posonlyargs) - len(args) - len(kwargs)
    if not sig.task.bound and (free > 1 or parameters.vararg is not None):
        why = misfit(parameters, 3 + len(args), kwargs)
        return (
            f"{sig.task.name} {why}: it is called with (request, exc, traceback{', …' * bool(args)})" if why else None
        )
    why = misfit(parameters, 1 + len(args), kwargs)
    return f"{sig.task.name} {why}: it is published with (task_id{', …' * bool(args)})" if why else None


@rule("DCE508", "result-without-backend", "error", "configuration-guide#result-backends")
def result_without_backend(project: Project) -> Iterator[Problem]:
    """A task's result or state is read, but no result backend is configured.

    Why: Without a backend nothing is stored: `.get()` raises NotImplementedError, `.state` and `.ready()`
    AttributeError ('DisabledBackend' object has no attribute …).
    Fix: Configure `CELERY_RESULT_BACKEND`, or write the outcome to a row of your own and read that.
    Source: Measured (NotImplementedError and AttributeError).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/views.py
        from celery.result import AsyncResult

        def progress(request, task_id):
            return AsyncResult(task_id).state
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://localhost:6379/0"
        CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === reports/views.py
        from celery.result import AsyncResult

        def progress(request, task_id):
            return AsyncResult(task_id).state
    """
    if not has_no_backend(project):
        return
    for call, result, module in waits(project):
        if not result.eager:
            yield Problem(
                f"{call.func.attr}() without a result backend: NotImplementedError",  # type: ignore[attr-defined]
                call,
                module.path,
            )
    for module in project.modules:
        if not module.mentions(b".delay(", b".apply_async(", b"AsyncResult", b"GroupResult"):
            continue
        for node in module.find(ast.Attribute):
            if node.attr in LOOKS and isinstance(node.ctx, ast.Load):
                result = result_of(node.value, module, project)
                if result is not None and not result.eager:
                    yield Problem(f".{node.attr} without a result backend: AttributeError", node, module.path)


@rule("DCE509", "ignored-result-read", "error", "task-design-patterns#chains-groups-and-chords")
def ignored_result_read(project: Project) -> Iterator[Problem]:
    """The result of a task that ignores its result is awaited.

    Why: Nothing is stored. `task.delay().get()` returns None at once, before the task has run; on a group, a chain or
    an `AsyncResult` made from the id it waits for ever.
    Fix: Set `ignore_result=False` on the task or in `apply_async`, or do not wait.
    Source: Measured (None without waiting; a group's `get(timeout=…)` timed out).

    Bad:
        === reports/tasks.py
        from celery import shared_task

        @shared_task(ignore_result=True)
        def count(pk):
            return pk
        === reports/views.py
        from reports.tasks import count

        def view(request, pk):
            return count.delay(pk).get(timeout=5)
    Good:
        === reports/tasks.py
        from celery import shared_task

        @shared_task
        def count(pk):
            return pk
        === reports/views.py
        from reports.tasks import count

        def view(request, pk):
            return count.delay(pk).get(timeout=5)
    """
    for call, result, module in waits(project):
        if result.eager or result.by_id:
            continue
        dispatch = result.dispatch
        if dispatch is not None and ("ignore_result" in dispatch.options or has_open_keywords(dispatch.call)):
            continue
        if dispatch is not None and dispatch.task is not None:
            task, effect = dispatch.task, "returns None at once"
        else:
            leaves = list(last_leaves(result.part)) if result.part is not None else []
            found = [leaf.sig.task for leaf in leaves if leaf.sig and leaf.sig.task and not leaf.has_own_options]
            task = next((task for task in found if limit(task, "ignore_result", project) is True), None)
            effect = "waits for ever"
        if task is not None and limit(task, "ignore_result", project) is True:
            name = call.func.attr  # type: ignore[attr-defined]
            yield Problem(f"{task.name} ignores its result: {name}() {effect}", call, module.path)


WORKER = re.compile(r"\bcelery\b.*\bworker\b")
POOL = re.compile(r"(?:^|\s)(?:-P|--pool)[\s=\"',]*(?P<pool>\w+)")


@rule("DCE510", "terminate-on-pool-that-cannot", "error", "task-design-patterns#cancel-a-task")
def terminate_on_pool_that_cannot(project: Project) -> Iterator[Problem]:
    """`revoke(terminate=True)` is sent to workers whose pool cannot stop a running task.

    Why: Threads and solo have no process to kill: the worker logs NotImplementedError (threads) or nothing, and the
    task runs on to its end.
    Fix: Run these tasks on prefork, or cancel in the database: the task checks its row between two steps.
    Source: celery/concurrency/base.py (`terminate_job` raises NotImplementedError; thread.py and solo.py have none).

    Bad:
        === reports/views.py
        from celery import current_app

        def cancel(request, task_id):
            current_app.control.revoke(task_id, terminate=True)
        === Procfile
        worker: celery -A shop worker --pool=threads
    Good:
        === reports/views.py
        from celery import current_app

        def cancel(request, task_id):
            current_app.control.revoke(task_id, terminate=True)
        === Procfile
        worker: celery -A shop worker
    """
    pools = set(_pools(project))
    if not pools or not pools <= {"threads", "solo"}:
        return
    for module in project.modules:
        if not module.mentions(b".revoke("):
            continue
        for call in module.find(ast.Call):
            given = keyword(call, "terminate")
            if isinstance(call.func, ast.Attribute) and call.func.attr == "revoke" and constant(given, module) is True:
                pool = min(pools)
                yield Problem(f"the {pool} pool cannot terminate a task: it runs on to its end", call, module.path)


def _pools(project: Project) -> Iterator[str]:
    """The pool of each worker that the project's files start; prefork when none is named."""
    for value in project.setting("worker_pool"):
        yield value if isinstance(value, str) else "unknown"
    for text in project.text:
        for line in text.lines:
            if WORKER.search(line) and not line.lstrip().startswith("#"):
                match = POOL.search(line)
                yield match["pool"] if match else "prefork"


GROWING = re.compile(
    r"^(rediss?|sentinel|django-db|db|django-cache|cache|mongodb|filesystem|file|s3|gs|elasticsearch)\b"
)


@rule("DCE511", "results-never-expire", "warning", "configuration-guide#result-backends")
def results_never_expire(project: Project) -> Iterator[Problem]:
    """`result_expires` is None or 0: results are kept for ever.

    Why: Every task that does not ignore its result leaves a key or a row. Redis fills up, and a full broker in the same
    server stops taking messages; tables grow until the cleanup itself is a problem.
    Fix: Leave the default (one day) or set the time a reader needs; `ignore_result=True` where no one reads.
    Source: Measured (with 0 and None the backend stores results without an expiry; with the default one day).

    Bad:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
        CELERY_RESULT_EXPIRES = None
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    Good:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
        CELERY_RESULT_EXPIRES = 60 * 60
        === shop/celery.py
        from celery import Celery
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    """
    if not any(text and GROWING.match(text) for text in backends(project)):
        return
    if project.setting("task_ignore_result") == [True]:
        return
    for setting in setting_nodes(project, "result_expires"):
        value = worth(setting.value, setting.module, project)
        if setting.in_force and (value is None or (value == 0 and not isinstance(value, bool))):
            yield Problem(f"{setting.written} is {value}: results are kept for ever", setting.node, setting.module.path)


@rule("DCE512", "canvas-never-sent", "error", "task-design-patterns#chains-groups-and-chords")
def canvas_never_sent(project: Project) -> Iterator[Problem]:
    """A signature, chain, group or chord is made and thrown away: no one calls it.

    Why: `task.s(pk)`, `chain(…)`, `a.s() | b.s()` only describe work. Without `.delay()`, `.apply_async()` or `()`
    nothing is published, and nothing complains.
    Fix: Add `.delay()` (or `.apply_async(…)`, or publish it on commit).
    Source: Measured (the queue stays empty).

    Bad:
        === orders/views.py
        from celery import chain
        from orders.tasks import confirm, mail

        def buy(request, pk):
            chain(confirm.si(pk), mail.si(pk))
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...
    Good:
        === orders/views.py
        from celery import chain
        from orders.tasks import confirm, mail

        def buy(request, pk):
            chain(confirm.si(pk), mail.si(pk)).delay()
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def confirm(pk): ...

        @shared_task
        def mail(pk): ...
    """
    for module in project.modules:
        if not module.mentions(b".s(", b".si(", b".signature(", b".subtask("):
            continue
        for statement in module.find(ast.Expr):
            node = statement.value
            if not isinstance(node, (ast.Call, ast.BinOp)) or _changes_a_kept_one(node):
                continue
            part = part_of(node, module, project)
            if part.kind and not (part.kind == "chord" and isinstance(node, ast.Call) and part.node is node.func):
                what = "signature" if part.kind == "sig" else part.kind
                yield Problem(f"this {what} is never sent: nothing is published", node, module.path)


def _changes_a_kept_one(node: ast.AST) -> bool:
    """Whether this is ``work.set(…)`` or ``work.on_error(…)`` on a variable."""
    for _ in range(MAX_DEPTH):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or node.func.attr in SIGNATURES:
            break
        node = node.func.value
    return isinstance(node, ast.Name)


@rule("DCE513", "wait-without-timeout", "warning", "task-design-patterns#long-tasks")
def wait_without_timeout(project: Project) -> Iterator[Problem]:
    """A view waits for a result without a timeout.

    Why: If no worker takes the message, or it is lost, or its result has expired, the state stays PENDING and the call
    never returns: a request, and with it a server thread, hangs for good.
    Fix: Return the task's id and let the client ask; where waiting is meant: `.get(timeout=…)` and handle
    `celery.exceptions.TimeoutError`.
    Source: Measured (`get()` on a result that never comes waits as long as its timeout).

    Bad:
        === reports/views.py
        from reports.tasks import count

        def view(request, pk):
            return count.delay(pk).get()
        === reports/tasks.py
        from celery import shared_task

        @shared_task
        def count(pk): ...
    Good:
        === reports/views.py
        from reports.tasks import count

        def view(request, pk):
            return count.delay(pk).id
        === reports/tasks.py
        from celery import shared_task

        @shared_task
        def count(pk): ...
    """
    inside = {id(running.function) for running in code_in_tasks(project)}
    asked: dict[int, bool] = {}
    for call, result, module in waits(project):
        if result.eager or call.args or keyword(call, "timeout") is not None or has_open_keywords(call):
            continue
        function = enclosing(call, *Function, ast.Lambda)
        if (
            not _takes_request(function)  # a command or a shell helper: a person waits, and can stop
            or id(function) in inside
            or task_at(call, project) is not None
            or _answers_at_once(call, result, asked)
        ):
            continue
        name = call.func.attr  # type: ignore[attr-defined]
        yield Problem(f"{name}() without timeout: hangs when the result does not come", call, module.path)


def _takes_request(function: ast.AST | None) -> bool:
    if not isinstance(function, Function):
        return False
    return any(parameter.arg == "request" for parameter in every_parameter(function.args)[:2])


def _answers_at_once(call: ast.Call, result: Result, asked: dict[int, bool]) -> bool:
    """Whether the code has asked ``ready()`` before: then the result is there."""
    name = call.func.value  # type: ignore[attr-defined]
    function = enclosing(call, *Function, ast.Lambda)
    if not isinstance(function, Function) or not (result.by_id or isinstance(name, ast.Name)):
        return False
    if id(function) not in asked:
        asked[id(function)] = any(
            isinstance(node, ast.Attribute) and node.attr in ("ready", "successful", "failed", "state", "status")
            for node in own_nodes(function)
        )
    return asked[id(function)]
