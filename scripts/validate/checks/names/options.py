"""Options of tasks, of what sends them, of queues, schedules and locks, and of brokers' transports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from . import installed, modules
from .page import Code, Mention, Page
from .rule import RIGHT, Verdict, near, rule

METHODS = ("apply_async", "apply_async_on_commit", "retry", "send_task", "signature", "task")
NAMED = {
    "celery.shared_task": "shared_task",
    "celery.signature": "signature",
    "celery.canvas.signature": "signature",
    "celery.schedules.crontab": "crontab",
    "kombu.Queue": "Queue",
    "kombu.Exchange": "Exchange",
}
BARE = {path.rpartition(".")[2]: kind for path, kind in NAMED.items()}  # as code spans name them
KINDS = ("shared_task", "apply_async", "retry", "set", "signature", "Queue", "Exchange", "crontab", "lock")
SCHEME = re.compile(r"^([A-Za-z]\w*)(?:\+\w+)?://")
OPTIONS = {
    "broker_transport_options": "broker",
    "result_backend_transport_options": "result",
    "transport_options": "broker",
}


@rule("names/task-option")
def task_option(page: Page) -> Iterator[Verdict]:
    """An option that the task, the call, the queue, the schedule or the lock does not take.

    Looked at are the keywords of `@shared_task`, `@app.task`, `apply_async`, `apply_async_on_commit`, `.set`,
    `.retry`, `signature`, `send_task`, `Queue`, `Exchange`, `crontab` and a Redis `.lock`, the options of schedule
    entries, and options in code spans (`retry_backoff=30`).

    Why: `@shared_task` makes an attribute of any name and `apply_async` sends any property, both silently: a retry
    limit that is misspelt limits nothing.
    Mend: Spell it as the signature of the installed version does.

    Bad:
        === SKILL.md +
        ```python
        from celery import shared_task

        @shared_task(retry_back_off=True)
        def f(): ...
        ```
    Bad:
        === SKILL.md +
        # Celery
        Give it `max_retry=3`.
    Bad:
        === SKILL.md +
        # Celery
        ```python
        f.apply_async((1,), count_down=10)
        f.si(1).set(queues="mail")
        raise self.retry(exception=error)
        ```
    Bad:
        === SKILL.md +
        # Celery
        Call `apply_async_on_commit((pk,), delay=…)`, or write `crontab(day_of_weeks=1)`.
    Bad:
        === SKILL.md +
        # Celery
        ```python
        from kombu import Exchange, Queue

        Queue("a", Exchange("b", kind="topic"), queue_args={})
        ```
    Bad:
        === SKILL.md +
        # Celery
        | option | use |
        |---|---|
        | `acks_lates` | idempotent tasks |
    Good:
        === SKILL.md +
        `retry_backoff=30`, `acks_late`, `apply_async((1,), countdown=…)`, `crontab(hour=3)`, `save(update_fields=[…])`.
        ```python
        from celery import shared_task
        from kombu import Exchange, Queue

        @shared_task(bind=True, acks_late=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
        def f(self, pk):
            raise self.retry(exc=error, countdown=10)

        f.apply_async((1,), countdown=10, queue="mail", priority=3, headers={})
        f.si(1).set(expires=600)
        Queue("a", Exchange("b", type="topic"), routing_key="a", queue_arguments={})
        current.set("value", token=1)
        ```
    """
    for code in page.codes:
        for call in code.every(ast.Call):
            for keyword in call.keywords if (kind := _kind(code, call)) else ():
                if keyword.arg and not (code.inline and code.bare_call(keyword)):
                    yield code.at(keyword, keyword.arg), _complaint(keyword.arg, kind)
        for mention in _entry_options(code):
            yield mention, _complaint(mention.name, "apply_async")
        for mention in _alone(code):
            if mention.name in _all_options():
                yield mention, RIGHT
            elif not _otherwise_known(mention.name, page):
                hint = near(mention.name, _all_options())
                yield mention, f"{mention.name} is no option of a task, a call or a queue{hint}"


def _complaint(name: str, kind: str) -> str:
    taken = installed.taken_by(kind)
    return RIGHT if name in taken else f"{kind} takes no {name}{near(name, taken)}"


def _kind(code: Code, call: ast.Call) -> str:
    """Which signature the call has, if it is one of those that are looked at."""
    function = call.func
    if isinstance(function, ast.Name):
        return (BARE | {name: name for name in METHODS[:4]} if code.inline else NAMED).get(code.dotted(function), "")
    if not isinstance(function, ast.Attribute):
        return ""
    if function.attr in METHODS or (function.attr == "lock" and "redis" in code.imports.values()):
        return function.attr
    if function.attr == "set" and isinstance(function.value, ast.Call):
        made = getattr(function.value.func, "attr", getattr(function.value.func, "id", ""))
        return "set" if made in ("s", "si", "signature", "subtask", "chain", "group", "chord") else ""
    return NAMED.get(code.dotted(function), "")


def _entry_options(code: Code) -> Iterator[Mention]:
    """The ``options`` of a schedule entry."""
    for entry in code.every(ast.Dict):
        items = {getattr(key, "value", None): value for key, value in zip(entry.keys, entry.values, strict=True)}
        if {"task", "schedule"} <= items.keys() and isinstance(items.get("options"), ast.Dict):
            yield from (code.at(key, key.value) for key in items["options"].keys if isinstance(key, ast.Constant))


def _alone(code: Code) -> Iterator[Mention]:
    """Options in code spans: `retry_backoff=30`, `a=1, b=2`, and the bare name that is one, or nearly."""
    for node, name in code.bare_names():
        if name in _all_options() or _meant(name):
            yield code.at(node, name)
    for keyword in code.every(ast.keyword):
        if keyword.arg and keyword.arg.islower() and code.inline and code.bare_call(keyword):
            yield code.at(keyword, keyword.arg)


@cache
def _all_options() -> frozenset[str]:
    return frozenset(name for kind in KINDS for name in installed.taken_by(kind))


@cache
def _meant(name: str) -> bool:
    return bool(get_close_matches(name, _all_options(), 1, 0.8))


def _otherwise_known(name: str, page: Page) -> bool:
    """True for a name of something else: a setting, a keyword of another library, a name of the page's own."""
    if name in page.words or name in installed.settings():
        return True
    return any(modules.says(package, name) for package in installed.PACKAGES)


@rule("names/transport-option")
def transport_option(page: Page) -> Iterator[Verdict]:
    """A key of `broker_transport_options` or `result_backend_transport_options` that is read nowhere.

    The broker's URL in the same block says which transport is asked; without one, a key that any of them reads is
    taken. A code span that is nearly such a key is looked at, too.

    Why: a transport ignores the keys it does not know: a misspelt `visibility_timeout` leaves the default of an hour.
    Mend: Spell it as the transport in `kombu.transport` does; a result backend reads few of them.

    Bad:
        === SKILL.md +
        ```python
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visiblity_timeout": 3600}
        ```
    Bad:
        === SKILL.md +
        ```python
        CELERY_BROKER_URL = "redis://broker:6379/0"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
        ```
    Bad:
        === SKILL.md +
        ```python
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
        ```
    Bad:
        === SKILL.md +
        # Celery
        Keep delays below the `visiblity_timeout`.
    Good:
        === SKILL.md +
        Sentinels need `"master_name": "shop"`; delays stay below the `visibility_timeout`.
        ```python
        CELERY_BROKER_URL = "amqp://broker/"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True, "max_retries": 3}
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"retry_policy": {"max_retries": 3}}
        ```
        ```python
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
        ```
    """
    for code in page.codes:
        for name, value in _option_literals(code):
            kind = OPTIONS[name]
            schemes = _schemes(code, "broker_url" if kind == "broker" else "result_backend")
            for key in value.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    right = _is_read(key.value, kind, schemes)
                    yield code.at(key, key.value), RIGHT if right else _unread(key.value, kind, schemes)
        for node, name in code.bare_names():
            if name in _common():
                yield code.at(node, name), RIGHT
            elif get_close_matches(name, _common(), 1, 0.9) and not _otherwise_known(name, page):
                yield code.at(node, name), f"no transport reads {name!r}{near(name, _common())}"


@cache
def _common() -> frozenset[str]:
    """What the transports read that pages write about, as far as it cannot be a common word."""
    every = frozenset().union(*(installed.transport_options(scheme) for scheme in ("redis", "amqp", "sqs")))
    return frozenset(option for option in every if "_" in option)


def _unread(key: str, kind: str, schemes: set[str]) -> str:
    of = installed.transport_options if kind == "broker" else installed.result_options
    known = {option for scheme in schemes or {"redis"} for option in of(scheme) or ()}
    return f"{key!r} is read by no {'/'.join(sorted(schemes)) or 'installed'} {kind} transport{near(key, known)}"


def _option_literals(code: Code) -> Iterator[tuple[str, ast.Dict]]:
    """The dictionaries given as transport options, directly or through a name."""
    given: list[tuple[str, ast.expr]] = []
    for target, value in code.assignments():
        name = getattr(target, "attr", getattr(target, "id", ""))
        if isinstance(target, ast.Subscript):
            name = str(getattr(target.slice, "value", ""))
        given.append((name, value))
    for call in code.every(ast.Call):
        given += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
    for name, value in given:
        key = name.lower().removeprefix("celery_")
        if key in OPTIONS and isinstance(found := code.constant(value), ast.Dict):
            yield key, found


def _schemes(code: Code, setting: str) -> set[str]:
    """The schemes of the URLs that the code gives the setting, as far as Celery and kombu name them."""
    found = {
        match[1]
        for target, value in code.assignments()
        if getattr(target, "attr", getattr(target, "id", "")).lower().removeprefix("celery_") == setting
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := SCHEME.match(node.value))
    }
    return found & (TRANSPORT_ALIASES if setting == "broker_url" else BACKEND_ALIASES).keys()


def _is_read(key: str, kind: str, schemes: set[str]) -> bool:
    """True where one of the schemes' transports (of all, without schemes) reads the key, or takes any."""
    if kind == "result":
        return any(key in installed.result_options(scheme) for scheme in schemes or BACKEND_ALIASES)
    every = (installed.transport_options(scheme) for scheme in schemes or TRANSPORT_ALIASES)
    return any(bool(schemes) if options is None else key in options for options in every)
