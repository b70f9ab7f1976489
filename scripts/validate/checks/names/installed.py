"""What the installed packages accept, read from their tables, signatures and source."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from textwrap import dedent

import amqp
import kombu
from celery import Celery, Task, signals
from celery.app import autoretry, builtins, defaults
from celery.app.backends import BACKEND_ALIASES
from celery.app.task import Context, extract_exec_options
from celery.canvas import Signature
from celery.contrib.django.task import DjangoTask
from celery.schedules import crontab
from celery.utils.dispatch import Signal
from kombu.transport import TRANSPORT_ALIASES

from . import modules

# The packages the skill writes about, by module. A name that begins with one's name belongs to it.
PACKAGES = (
    *("celery", "kombu", "billiard", "amqp", "redis", "django", "django_celery_beat", "django_celery_results"),
    *("redbeat", "flower", "prometheus_client", "django_guid", "health_check", "requests", "pydantic"),
)
# How a setting is read that is not in the table of defaults: `conf.get("x")`, `_get("x")`, `conf.redbeat_x`, ….
READS = re.compile(
    r"""(?:\bconf\.(?:get|find_value_for_key|first)|\b_get|\beither_or)\(\s*['"](\w+)['"]"""
    r"""|\bconf(?:\.|\[\s*['"])(\w+_\w+)"""
    r"""|\bgetattr\(settings,\s*['"](\w+)['"]"""
)
ENVIRONMENT = re.compile(r"environ|getenv|envvar|ENV_VAR")
CONSTANT = re.compile(r"""['"]([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)['"]""")
ENVIRONMENT_PREFIX = re.compile(r"""^ENV_VAR_PREFIX = ['"](\w+)['"]""", re.MULTILINE)
DEFINED = re.compile(r"""^define\(\s*['"](\w+)['"]""", re.MULTILINE)  # Flower's options


@cache
def options() -> dict[str, defaults.Option]:
    """Celery's table of settings, flat."""
    return dict(defaults.flatten(defaults.NAMESPACES))


@cache
def settings() -> frozenset[str]:
    """Every setting, as in ``app.conf``: the table, what Celery and its extensions read beside it."""
    read = {
        name.lower().removeprefix("celery_")
        for package in ("celery", "django_celery_beat", "django_celery_results", "redbeat")
        for found in READS.finditer(modules.texts(package))
        for name in found.groups()
        if name and "_" in name and (package == "celery" or name.lower().startswith(f"{package}_"))
    }
    return frozenset(set(options()) | (read - set(dir(Celery(set_as_current=False).conf))))


@cache
def namespaces() -> frozenset[str]:
    """``broker_``, ``task_`` and so on: what a setting begins with."""
    return frozenset(f"{key}_" for key, value in defaults.NAMESPACES.items() if isinstance(value, dict))


@cache
def environment() -> frozenset[str]:
    """The environment variables that the packages read."""
    read: set[str] = set()
    for package in PACKAGES:
        for text in modules.files(package):
            if ENVIRONMENT.search(text):
                read |= set(CONSTANT.findall(text))
        if prefix := ENVIRONMENT_PREFIX.search(modules.texts(package)):
            read |= {f"{prefix[1]}{name.upper()}" for name in DEFINED.findall(modules.texts(package))}
    return frozenset(read)


@cache
def command_environment() -> frozenset[str]:
    """``CELERY_WORKER_CONCURRENCY`` and the like: click reads every option of ``celery`` from the environment."""
    from celery.bin.celery import celery

    def below(command: object, prefix: str) -> Iterator[str]:
        yield from (f"{prefix}_{parameter.name.upper()}" for parameter in command.params)
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, f"{prefix}_{name.upper().replace('-', '_')}")

    return frozenset(below(celery, "CELERY"))


# Options


def parameters(function: Callable) -> set[str]:
    """The names that may be given by keyword."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, item in inspect.signature(function).parameters.items() if item.kind in kinds} - {"self"}


def _strings_after(function: Callable, *calls: str) -> set[str]:
    """The first argument of each call of one of the names in a function's source: ``options.get("x")``."""
    tree = ast.parse(dedent(inspect.getsource(function)))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    named = (node for node in found if getattr(node.func, "attr", getattr(node.func, "id", "")) in calls)
    return {node.args[0].value for node in named if isinstance(node.args[0], ast.Constant)}


@cache
def task_options() -> frozenset[str]:
    """What `@shared_task` takes: attributes of a task (those `from_config` too), and what makes one of a function."""
    attributes = {name for name in dir(DjangoTask) if not name.startswith("_")} | {name for name, _ in Task.from_config}
    routing = set(extract_exec_options(None))
    made = parameters(Celery._task_from_fun) | {"lazy", "shared", "filter"}  # of inner_create_task_cls
    retries = _strings_after(autoretry.add_autoretry_behaviour, "get")
    return frozenset(attributes | routing | made | retries)


@cache
def send_options() -> frozenset[str]:
    """What `apply_async` takes: its own, what `send_task` and the message take, and the properties of AMQP."""
    app = Celery(set_as_current=False)
    functions = (Task.apply_async, Celery.send_task, app.amqp.as_task_v2, app.amqp.send_task_message)
    taken = {name for function in functions for name in parameters(function)} | set(extract_exec_options(None))
    published = parameters(kombu.Producer.publish) | {name for name, _ in amqp.basic_message.Message.PROPERTIES}
    return frozenset((taken | published) - {"options", "message", "name", "body"})


@cache
def taken_by(kind: str) -> frozenset[str]:
    """The keywords that a call of the kind takes."""
    import redis

    table: dict[str, Callable[[], set[str]]] = {
        "shared_task": task_options,
        "task": task_options,
        "apply_async": send_options,
        "apply_async_on_commit": send_options,
        "send_task": lambda: send_options() | {"name"},
        "set": lambda: send_options() | parameters(Signature.set),
        "signature": lambda: send_options() | parameters(Signature.__init__),
        "retry": lambda: send_options() | parameters(Task.retry),
        "Queue": lambda: parameters(kombu.Queue.__init__) | {name for name, _ in kombu.Queue.attrs},
        "Exchange": lambda: parameters(kombu.Exchange.__init__) | {name for name, _ in kombu.Exchange.attrs},
        "crontab": lambda: parameters(crontab.__init__) | parameters(crontab.__mro__[1].__init__),
        "lock": lambda: parameters(redis.Redis.lock),
    }
    return frozenset(table[kind]())


# Signals and requests


@cache
def signal_arguments() -> dict[str, frozenset[str]]:
    """Each signal of celery.signals with the arguments that it declares, and those with which Celery sends it."""
    declared = {name: set(value.providing_args) for name, value in vars(signals).items() if isinstance(value, Signal)}
    for module in ("celery.app.trace", "celery.app.amqp", "celery.worker.request", "celery.apps.worker"):
        for name, keywords in _sent(modules.source(module), declared):
            declared[name] |= keywords
    return {name: frozenset(arguments | {"sender", "signal"}) for name, arguments in declared.items()}


def _sent(tree: ast.Module, names: dict) -> Iterator[tuple[str, set[str]]]:
    """The signals that a module sends, through names such as ``send_prerun = signals.task_prerun.send`` too."""

    def signal_of(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute) and node.attr == "send":
            name = getattr(node.value, "attr", getattr(node.value, "id", ""))
            return name if name in names else ""
        return ""

    nodes = list(ast.walk(tree))
    aliases = {
        target.id: signal_of(node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and signal_of(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.Call):
            name = signal_of(node.func) or aliases.get(getattr(node.func, "id", ""), "")
            if name:
                yield name, {keyword.arg for keyword in node.keywords if keyword.arg}


@cache
def request_attributes() -> frozenset[str]:
    """What ``task.request`` has: of its class, and from the message's headers and the worker."""
    from celery.app.amqp import AMQP
    from celery.worker.request import Request

    attributes = {name for name in dir(Context) if not name.startswith("_")}
    for function in (AMQP.as_task_v2, Request.__init__):
        for node in ast.walk(ast.parse(dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Dict):
                attributes |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return frozenset(attributes)


@cache
def task_names() -> frozenset[str]:
    """The tasks that every app has: ``celery.backend_cleanup`` and so on."""
    return frozenset(re.findall(r"""name=['"]([\w.]+)['"]""", inspect.getsource(builtins)))


# Transport options


@cache
def transport_options(scheme: str) -> frozenset[str] | None:
    """What a broker's transport reads of ``broker_transport_options``; None where a library takes anything."""
    module = TRANSPORT_ALIASES[scheme].partition(":")[0].removesuffix(".Transport")
    read = frozenset().union(*map(_read_options, ("kombu.connection", "kombu.transport.virtual.base", module)))
    if not _hands_on(module):
        return read
    return read | parameters(amqp.Connection.__init__) if module == "kombu.transport.pyamqp" else None


@cache
def result_options(scheme: str) -> frozenset[str]:
    """What a result backend reads of ``result_backend_transport_options``."""
    module = BACKEND_ALIASES[scheme].partition(":")[0]
    return _read_options("celery.backends.base") | _read_options(module)


@cache
def _read_options(module: str) -> frozenset[str]:
    """Keys read from what is called ``…transport_opt…`` (or from a name or property that stands for it)."""
    nodes = _nodes(module)
    aliases: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and _are_options(node.value, aliases):
            aliases |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef):
            returned = (inner.value for inner in node.body if isinstance(inner, ast.Return))
            if any(isinstance(value, ast.Attribute) and _are_options(value, set()) for value in returned):
                aliases.add(node.name)
    keys = (key for node in nodes for key in _keys(node, aliases))
    return frozenset(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def _nodes(module: str) -> list[ast.AST]:
    tree = modules.source(module, "transport_opt")
    return list(ast.walk(tree)) if tree else []


def _keys(node: ast.AST, aliases: set[str]) -> Iterator[ast.AST]:
    """What a node may read of the options."""
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "from_transport_options":
        yield from ast.walk(node.value)
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("get", "pop", "setdefault"):
        if node.args and _are_options(node.func.value, aliases):
            yield node.args[0]
    elif isinstance(node, ast.Subscript) and _are_options(node.value, aliases):
        yield node.slice
    elif isinstance(node, ast.Compare) and _are_options(node.comparators[0], aliases):
        yield node.left


def _are_options(node: ast.AST, aliases: set[str]) -> bool:
    """True for `x.transport_options`, `topts`, and `conf.get("result_backend_transport_options", {})`."""
    if isinstance(node, ast.BoolOp):
        return _are_options(node.values[0], aliases)
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
        return "transport_opt" in str(getattr(node.args[0], "value", ""))
    name = getattr(node, "attr", getattr(node, "id", ""))
    return "transport_opt" in name or name in aliases


def _hands_on(module: str) -> bool:
    """True where a transport gives all options to its library: ``Connection(**transport_options)``."""
    calls = (node for node in _nodes(module) if isinstance(node, ast.Call))
    return any(_are_options(keyword.value, set()) for call in calls for keyword in call.keywords if not keyword.arg)
