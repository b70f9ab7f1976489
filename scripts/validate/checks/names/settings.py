"""Settings and environment variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from . import installed, modules
from .page import Code, Mention, Page
from .rule import RIGHT, Verdict, near, rule

PREFIXED = re.compile(r"\bCELERY(?:D|BEAT)?_[A-Z0-9_]*[A-Z0-9]\b(?![*…{])")
LOWERCASE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
UPPERCASE = re.compile(r"(?<![\w$-])(?<!\$\{)([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b(?!-)")
ASSIGNED = re.compile(r"(?<![\w$-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?==|: )")
CONFIGURATION = {"bash", "sh", "shell", "console", "yaml", "yml", "ini", "systemd", "dockerfile", "docker", "env"}
READERS = ("os.environ.get", "os.environ.pop", "os.environ.setdefault", "os.getenv")
# Celery declares one type for these and takes another as well, as its documentation says.
TYPES_TAKEN = {
    "broker_use_ssl": (dict,),  # the arguments of ssl
    "broker_url": (list,),  # alternates
    "broker_read_url": (list,),
    "broker_write_url": (list,),
    "broker_failover_strategy": (object,),  # a callable
    "task_queues": (list, tuple),  # of kombu.Queue
    "task_default_priority": (int,),  # "string" by omission
    "task_default_delivery_mode": (int,),
    "task_default_rate_limit": (int, float),
    "redis_backend_use_ssl": (bool,),
    "result_backend": (type,),
}
TYPES = {
    "string": (str,),
    "str": (str,),
    "bytes": (bytes, str),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict": (dict,),
    "list": (list, tuple, set),
    "tuple": (list, tuple, set),
}


@rule("names/setting")
def setting(page: Page) -> Iterator[Verdict]:
    """A setting that neither Celery nor one of its extensions reads.

    Celery's table of defaults is asked (without the old names it still maps), and what the source of Celery,
    django-celery-beat, -results and RedBeat reads beside it.

    Why: Celery ignores a setting it does not know, silently; the protection it was to give is not there.
    Mend: Spell it as `celery.app.defaults` does. If the page is right to name it, give it an entry in
    `[[tool.validate.wrong-on-purpose]]`.

    Bad:
        === SKILL.md +
        ```python
        CELERY_TASK_ACK_LATE = True
        ```
    Bad:
        === SKILL.md +
        # Celery
        Set `worker_prefetch_multiplyer` to 1.
    Bad:
        === SKILL.md +
        # Celery
        | Setting | Value |
        |---|---|
        | `app.conf.task_timelimit` | 300 |
    Bad:
        === SKILL.md +
        # Celery
        ```python
        app.conf.update(worker_concurency=2)
        app.conf["result_expire"] = 60
        ```
    Bad:
        === SKILL.md +
        Set `CELERYD_CONCURRENCY`.
    Good:
        === SKILL.md +
        `CELERY_TASK_ACKS_LATE`, `app.conf.broker_url`, `task_track_started`, `redis_backend_health_check_interval`,
        the signal `task_failure`, `CELERY_…`, `CELERY_*`.
        ```python
        CELERY_WORKER_PREFETCH_MULTIPLIER = 1
        app.conf.update(result_expires=60)
        ```
        ```python
        # Wrong: an unknown name is ignored.
        CELERY_TASK_ACK_LATE = True
        ```
    """
    for mention in prefixed(page):
        complaint = _complaint(mention.name)
        if not (complaint and (_absent(mention.name) or _is_variable(mention.name))):
            yield mention, complaint
    for code in page.codes:
        for mention in _in_app_conf(code):
            yield mention, _complaint(mention.name)
    for mention in _lowercase(page):
        if mention.name in installed.settings():
            yield mention, RIGHT
        elif _meant(mention.name) and not _otherwise_known(mention.name, page) and not _absent(mention.name):
            yield mention, _complaint(mention.name)


def prefixed(page: Page) -> Iterator[Mention]:
    """``CELERY_…`` wherever it stands: code, comments, prose, tables, configuration of any kind."""
    for number, line in enumerate(page.lines, 1):
        yield from (Mention(found[0], number, found.start() + 1) for found in PREFIXED.finditer(line))


def _complaint(name: str) -> str:
    key = name.lower().removeprefix("celery_") if name.isupper() else name
    if key in installed.settings():
        return RIGHT
    if new := installed.defaults._TO_NEW_KEY.get(name.upper()):
        return f"{name} is an old name; the setting is {new}"
    return f"{name} is no setting of Celery or its extensions{near(key, installed.settings())}"


def _in_app_conf(code: Code) -> Iterator[Mention]:
    """``app.conf.x``, ``app.conf["x"]``, ``app.conf.get("x")`` and ``app.conf.update(x=1)``."""
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and _is_conf(node.value):
            if not hasattr(dict, node.attr) and node.attr not in _conf_methods():
                yield code.at(node, node.attr)
        elif isinstance(node, ast.Subscript) and _is_conf(node.value) and isinstance(node.slice, ast.Constant):
            yield code.at(node, str(node.slice.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_conf(node.func.value):
            yield from (code.at(keyword, keyword.arg) for keyword in node.keywords if keyword.arg)
            for argument in node.args[:1]:
                keys = argument.keys if isinstance(argument, ast.Dict) else [argument]
                yield from (code.at(key, key.value) for key in keys if isinstance(getattr(key, "value", 0), str))


def _is_conf(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "conf"


@cache
def _conf_methods() -> frozenset[str]:
    from celery.app.utils import Settings

    return frozenset(dir(Settings)) - installed.settings()


def _lowercase(page: Page) -> Iterator[Mention]:
    """Code spans that are one snake_case name, or set one, and such strings in blocks."""
    for code in page.codes:
        if not code.inline:
            yield from (code.at(s, s.value) for s in code.strings() if LOWERCASE.fullmatch(s.value))
            continue
        for node in code.tree.body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Name):
                yield code.at(node, node.value.id)
        for assignment in code.every(ast.Assign):
            yield from (code.at(target, target.id) for target in assignment.targets if isinstance(target, ast.Name))


@cache
def _meant(name: str) -> bool:
    """True for a name that begins as a setting does, or is one but for a slip."""
    if not LOWERCASE.fullmatch(name):
        return False
    return name.startswith(tuple(installed.namespaces())) or bool(get_close_matches(name, installed.settings(), 1, 0.9))


def _otherwise_known(name: str, page: Page) -> bool:
    """True for a name of something else: an argument, a signal, a name of the page's own."""
    return name in page.words - {name} or any(modules.says(package, name) for package in ("celery", "kombu", "django"))


def package_of(name: str) -> str:
    """The package, other than Celery, whose name a setting or variable begins with: CELERY_REDBEAT_REDIS_URL."""
    key = name.lower().removeprefix("celery_")
    if key in installed.settings():
        return ""
    return next((package for package in installed.PACKAGES if key.startswith(f"{package}_")), "")


def _absent(name: str) -> bool:
    """True where that package is not installed: `names/not-installed` says so."""
    return bool(package := package_of(name)) and not modules.installed(package)


@rule("names/setting-type")
def setting_type(page: Page) -> Iterator[Verdict]:
    """A setting is given a value of another type than Celery declares for it.

    Literals are compared; None is always taken, for it means "not set".

    Why: Celery does not convert what comes from Django's settings: `"300"` fails where it is compared or added, and
    `"False"` is true.
    Mend: Give it the type of its `Option` in `celery.app.defaults`.

    Bad:
        === SKILL.md +
        ```python
        CELERY_TASK_TIME_LIMIT = "300"
        ```
    Bad:
        === SKILL.md +
        Set `CELERY_TASK_ACKS_LATE = "False"`.
    Bad:
        === SKILL.md +
        # Celery
        ```python
        app.conf.update(broker_transport_options=["visibility_timeout"])
        app.conf.worker_max_tasks_per_child = 10.5
        ```
    Good:
        === SKILL.md +
        ```python
        CELERY_TASK_TIME_LIMIT = 300
        CELERY_WORKER_CONCURRENCY = "auto"
        CELERY_BROKER_CONNECTION_MAX_RETRIES = None
        CELERY_RESULT_EXPIRES = timedelta(days=1)
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60}
        ```
    """
    for code in page.codes:
        for target, value in _values(code):
            key = _key(code, target)
            option, given = installed.options().get(key), _literal(value)
            if option is None or given in (None, type(None)):
                continue
            declared = getattr(option.type, "__name__", option.type)
            taken = (*TYPES.get(declared, (object,)), *TYPES_TAKEN.get(key, ()))
            right = issubclass(given, taken) and not (given is bool and bool not in taken and object not in taken)
            name = f"{key} takes {declared}"
            yield code.at(target, key), RIGHT if right else f"{name}, not {given.__name__}: {ast.unparse(value)[:60]}"


def _values(code: Code) -> Iterator[tuple[ast.AST, ast.expr]]:
    yield from code.assignments()
    for call in code.every(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "update" and _is_conf(call.func.value):
            named = ((keyword, keyword.value) for keyword in call.keywords if keyword.arg)
            yield from ((ast.copy_location(ast.Name(keyword.arg), keyword), value) for keyword, value in named)


def _key(code: Code, target: ast.AST) -> str:
    """The setting that an assignment sets, as in ``app.conf``."""
    if isinstance(target, ast.Attribute) and _is_conf(target.value):
        return target.attr
    if isinstance(target, ast.Subscript) and _is_conf(target.value) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    name = getattr(target, "id", "")
    if name.startswith("CELERY_"):
        return name.lower().removeprefix("celery_")
    return name if code.inline else ""  # in a block a lowercase name is a variable


def _literal(node: ast.expr) -> type | None:
    """The type of a literal, None for what must be run to know."""
    kinds = {ast.Dict: dict, ast.DictComp: dict, ast.List: list, ast.ListComp: list, ast.Tuple: tuple, ast.Set: set}
    if isinstance(node, ast.Constant) and node.value is not ...:
        return type(node.value)
    if isinstance(node, ast.UnaryOp):
        return _literal(node.operand)
    return str if isinstance(node, ast.JoinedStr) else kinds.get(type(node))


@rule("names/environment")
def environment(page: Page) -> Iterator[Verdict]:
    """An environment variable is given as Celery's, Flower's, Prometheus's or Django's, and none of them reads it.

    Looked at is what is set in a shell, YAML, INI or Docker block, read by `os.environ`, or named in a code span, and
    begins as variables of the installed packages do.

    Why: a variable nobody reads does nothing, silently.
    Mend: Spell it as the source does, or give a variable of your own a prefix of your own.

    Bad:
        === SKILL.md +
        # Celery
        Start the worker with `REMAP_SIGTERMS=SIGQUIT`.
    Bad:
        === SKILL.md +
        # Celery
        ```bash
        export PROMETHEUS_MULTIPROCESS_DIR=/run/metrics
        ```
    Bad:
        === SKILL.md +
        ```python
        import os

        url = os.environ["CELERY_BROKER_URI"]
        ```
    Good:
        === SKILL.md +
        `REMAP_SIGTERM=SIGQUIT`, `CELERY_BROKER_URL` and `SHOP_BROKER`.
        ```bash
        export PROMETHEUS_MULTIPROC_DIR=/run/metrics METRICS_PORT=9809 CELERY_WORKER_CONCURRENCY=4
        ```
        ```python
        import os

        url = os.environ["DJANGO_SETTINGS_MODULE"]
        ```
    """
    for mention in variables(page):
        name = mention.name
        if not name.startswith(_prefixes()) or _absent(name):
            continue
        wrong = f"{name} is read by no installed package{near(name, installed.environment())}"
        yield mention, RIGHT if _is_variable(name) else wrong


def _is_variable(name: str) -> bool:
    return name in installed.environment() or name in installed.command_environment()


def variables(page: Page) -> Iterator[Mention]:
    for fence in page.fences:
        if fence.language in CONFIGURATION:
            for number, line in enumerate(fence.content.splitlines(), fence.line + 1):
                yield from (Mention(found[1], number, found.start() + 1) for found in ASSIGNED.finditer(line))
    for code in page.blocks:
        for node in code.nodes:
            key = None
            if isinstance(node, ast.Subscript) and code.dotted(node.value) == "os.environ":
                key = node.slice
            elif isinstance(node, ast.Call) and code.dotted(node.func) in READERS and node.args:
                key = node.args[0]
            elif isinstance(node, ast.Compare) and code.dotted(node.comparators[0]) == "os.environ":
                key = node.left
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield code.at(key, key.value)
    for span in page.spans:
        for found in UPPERCASE.finditer(span.content):
            if not found[1].startswith("CELERY_") or found[1] in installed.environment():  # others are settings
                yield Mention(found[1], span.line, span.column + found.start())


@cache
def _prefixes() -> tuple[str, ...]:
    """What the variables of the installed packages begin with, where that is a name and not a common word."""
    mine = {f"{package.upper()}_" for package in installed.PACKAGES}
    return tuple(sorted(mine | {"REMAP_", "PROMETHEUS_", "C_"}))
