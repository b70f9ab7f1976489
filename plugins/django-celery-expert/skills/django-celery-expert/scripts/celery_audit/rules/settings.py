"""DCE7xx: settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from urllib.parse import urlsplit

from ..configuration import Setting, key_of, known, text_of, value_of
from ..files import PYTHON
from ..infer import UNKNOWN, constant, default_of_environment, mapping
from ..module import Module, enclosing, keyword, scope
from ..project import Project
from ..registry import Problem, rule

GROUPS = ("task_", "worker_", "broker_", "result_", "beat_")
# Options of a task that have no setting of the same name: people look for one.
PER_TASK = {
    "max_retries", "default_retry_delay", "autoretry_for", "retry_backoff", "retry_backoff_max", "retry_jitter",
    "retry_kwargs", "rate_limit", "throws", "bind",
}  # fmt: skip
MISPLACED = re.compile(r"^(broker_|task_|redis_|worker_|transport_|broker_transport_)?visibility_timeout$")
PARAMETERS = {
    "main", "loader", "backend", "amqp", "events", "log", "control", "set_as_current", "tasks", "broker", "include",
    "changes", "config_source", "fixups", "task_cls", "autofinalize", "namespace", "strict_typing", "broker_url",
    "result_backend",
}  # fmt: skip
CONTENT = {
    "application/json": "json",
    "application/x-python-serialize": "pickle",
    "application/x-yaml": "yaml",
    "application/x-msgpack": "msgpack",
    "application/data": "auth",
}
LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ""}  # noqa: S104  compared, not bound
PLACEHOLDER = re.compile(
    r"[{}<>$%*]|^(password|passwd|pass|pwd|secret|changeme|change_me|change-me|admin|guest|redis|rabbitmq|rabbit"
    r"|celery|example|user|myuser|username|mypassword|test|root|none|x+|your.*|my.*)$",
    re.IGNORECASE,
)


def stripped(setting: Setting, project: Project) -> str | None:
    """The name as Celery would look it up: without the namespace, in small letters; None for what is not meant for it.

    Django's settings count when they carry a namespace that is in force, those in code and in a configuration module
    with or without it.
    """
    name = setting.written
    for namespace in project.namespaces:
        if isinstance(namespace, str) and name.startswith(f"{namespace}_"):
            return name[len(namespace) + 1 :].lower()
    return name if setting.style != "django" and name.islower() else None


def is_own(name: str, project: Project) -> bool:
    """Whether the project reads a setting of this name itself."""
    cache = _own_settings(project)
    if name not in cache:
        read = rf"(settings|conf)\.{name}\b(?!\s*=[^=])|(getattr|hasattr)\([^()]*[\"']{name}[\"']"
        pattern = re.compile(read.encode())
        cache[name] = any(
            module.mentions(name.encode()) and (pattern.search(module.source) or _loads(name, module, project))
            for module in project.modules
        ) or (not PYTHON.search(name.encode()) and _reads_anywhere(pattern, project))
    return cache[name]


@lru_cache(maxsize=2)
def _own_settings(project: Project) -> dict[str, bool]:  # noqa: ARG001  one for each project
    return {}


def _reads_anywhere(pattern: re.Pattern[bytes], project: Project) -> bool:
    """Whether a file outside the index reads it: one that mentions nothing of Celery."""
    return any(pattern.search(source) for source in project.files.sources.values())


def _loads(name: str, module: Module, project: Project) -> bool:
    """Whether a module reads the name, other than to make the next unread setting from it."""
    return any(
        node.id == name and isinstance(node.ctx, ast.Load) and not _within_unread_setting(node, project)
        for node in module.find(ast.Name)
    )


def _within_unread_setting(node: ast.AST, project: Project) -> bool:
    statement = enclosing(node, ast.Assign)
    return statement is not None and any(
        isinstance(target, ast.Name)
        and target.id.startswith("CELERY")
        and not key_of(target.id, "django", project.namespaces)[1]
        for target in statement.targets
    )


def is_extension(name: str) -> bool:
    """Whether a full name belongs to a package that extends Celery, as far as known."""
    return name.upper().startswith(tuple(known()["extensions"]))


def closest(name: str) -> str | None:
    """The key that a name was most likely meant to be: with its group in front, or with a letter mended."""
    keys = known()["all"]
    with_group = [group + name for group in GROUPS if group + name in keys]
    if with_group:
        return with_group[0]
    found = get_close_matches(name, keys, 1, 0.86)
    return found[0] if found else None


@rule("DCE701", "unknown-setting", "error", "configuration-guide#project-layout")
def unknown_setting(setting: Setting, project: Project) -> Iterator[Problem]:
    """A name in Celery's namespace that neither Celery nor the project reads.

    Why: Celery drops unknown names without a word, so what the line promises (a time limit, late acknowledgement) does
    not happen.
    Fix: Write the current name from Celery's configuration reference, and add the check of the reference section, which
    makes `manage.py check` fail on such names; options of one task go on the task.
    Source: Measured (`app.conf` keeps its default beside the misspelt name).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_TASK_ACK_LATE = True
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_TASK_ACKS_LATE = True
    """
    name = stripped(setting, project)
    if setting.key or not name or name in PARAMETERS or MISPLACED.match(name) or is_extension(f"CELERY_{name}"):
        return
    guess = closest(name)
    removed = known()["removed"].get(name.upper())
    if removed is not None and value_of(setting.value, setting.module, project) is False:
        return  # what it forbids has gone with it
    if not (guess or removed is not None or name.startswith(GROUPS)) or is_own(setting.written, project):
        return
    short = name.partition("_")[2]
    if removed is not None:
        hint = f"removed from Celery{', use ' + removed if removed else ''}"
    elif short in PER_TASK:
        hint = f"{short} is an option of each task and has no setting"
    elif guess:
        prefix = setting.written[: len(setting.written) - len(name)]
        hint = f"did you mean {prefix}{guess.upper() if prefix else guess}?"
    else:
        hint = "no such setting in Celery 5.5 to 5.7"
    yield Problem(f"{setting.written} is read by nobody: {hint}", setting.node)


@rule("DCE702", "old-setting-name", "warning", "configuration-guide#old-setting-names")
def old_setting_name(setting: Setting, project: Project) -> Iterator[Problem]:
    """An old setting name where a namespace is in force.

    Why: Celery 5.5 and 5.6 ignore it, Celery 5.7 obeys it: the line does nothing today, and an upgrade wakes it.
    Fix: Rewrite it under the current name, or delete it if what it says is not wanted.
    Source: Measured (each old name of Celery's own table under `namespace="CELERY"`).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERYD_CONCURRENCY = 4
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_WORKER_CONCURRENCY = 4
    """
    if setting.style != "django" or not setting.key or setting.in_force:
        return
    if not setting.written.startswith(("CELERY", "BROKER_")):
        return  # S3_BUCKET, which 5.7 takes too, is more often the project's own
    namespaces = [name for name in project.namespaces if isinstance(name, str)]
    if namespaces:
        current = f"{namespaces[0]}_{setting.key.upper()}"
        family = project.family(setting.module)
        if any(other.in_force and other.module in family for other in project.by_key[setting.key]):
            what = f"{current} is set too and wins"
        else:
            what = f"Celery 5.5 and 5.6 ignore it, 5.7 takes it for {current}"
        yield Problem(f"{setting.written} is an old name: {what}", setting.node)


@rule("DCE703", "setting-outside-namespace", "error", "configuration-guide#project-layout")
def setting_outside_namespace(setting: Setting, project: Project) -> Iterator[Problem]:
    """A current setting name without the namespace that the app asks for, or with one that it does not.

    Why: with `namespace="CELERY"` only `CELERY_TASK_ACKS_LATE` counts, and without a namespace that name does not:
    Celery keeps its default without a word.
    Fix: Call `app.config_from_object("django.conf:settings", namespace="CELERY")` and give every setting that prefix.
    Source: Measured (`app.conf` with and without a namespace).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings")
        === shop/settings.py
        CELERY_BROKER_URL = "redis://broker:6379/0"
    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        TASK_ACKS_LATE = True
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_BROKER_URL = "redis://broker:6379/0"
        CELERY_TASK_ACKS_LATE = True
    """
    names = project.namespaces
    if setting.key or not names or UNKNOWN in names or len(names) != 1:
        return
    (namespace,) = names
    lower, keys = setting.written.lower(), known()["all"]
    prefixed = lower[7:] if lower.startswith("celery_") else None
    if setting.style == "django":
        if namespace is not None and lower in keys and lower.startswith(GROUPS):
            if not is_own(setting.written, project):
                current = f"{namespace}_{setting.written}"
                yield Problem(f"{setting.written} is not read: the app reads {current}", setting.node)
        elif prefixed in keys and namespace is None:
            yield Problem(f"{setting.written} is not read: the app is configured without a namespace", setting.node)
        elif prefixed in keys and namespace != "CELERY":
            current = f"{namespace}_{setting.written[7:]}"
            yield Problem(f"{setting.written} is not read: the app reads {current}", setting.node)
    elif prefixed in keys and namespace is None and setting.written.isupper():
        yield Problem(f"{setting.written} is not read: here the name is {prefixed}", setting.node)


@rule("DCE704", "unknown-transport-option", "error", "configuration-guide#visibility-timeout")
def unknown_transport_option(setting: Setting, _: Project) -> Iterator[Problem]:
    """A misspelt key in the transport options of the broker or of the result backend.

    Why: transports take the options they know and drop the rest, so a misspelt `visibility_timeout` leaves 3600 s.
    Fix: Write the option as kombu's transport names it.
    Source: Measured (the channel of kombu's Redis transport keeps its default).

    Bad:
        === shop/settings.py
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visiblity_timeout": 7200}
    Good:
        === shop/settings.py
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 7200}
    """
    if setting.key not in ("broker_transport_options", "result_backend_transport_options"):
        return
    options = known()["transport_options"]
    for name, value in (mapping(setting.value, setting.module) or {}).items():
        meant = get_close_matches(name, options, 1, 0.8)
        if name not in options and meant:
            yield Problem(f"no transport reads {name!r}: did you mean {meant[0]!r}?", value)


@rule("DCE705", "visibility-timeout-misplaced", "error", "configuration-guide#visibility-timeout")
def visibility_timeout_misplaced(setting: Setting, project: Project) -> Iterator[Problem]:
    """`visibility_timeout` is set where no broker looks for it.

    Why: only `broker_transport_options` reaches the transport; as a setting of its own, or among the options of the
    result backend, it does nothing and the broker delivers again after its default (Redis: 3600 s).
    Fix: Set `CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": …}`.
    Source: Measured (the channel of kombu's Redis transport keeps 3600).

    Bad:
        === shop/settings.py
        INSTALLED_APPS = []
        CELERY_VISIBILITY_TIMEOUT = 7200
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    Bad:
        === shop/settings.py
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 7200}
    Good:
        === shop/settings.py
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 7200}
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 7200}
    """
    name = stripped(setting, project)
    if name and MISPLACED.match(name):
        if not is_own(setting.written, project):
            yield Problem(f"{setting.written} does nothing: the broker reads its transport options only", setting.node)
    elif setting.key == "result_backend_transport_options":
        given = (mapping(setting.value, setting.module) or {}).get("visibility_timeout")
        if given is not None and not project.by_key.get("broker_transport_options"):
            yield Problem("the result backend has no visibility timeout, and the broker's is not set", given)


def is_true(setting: Setting, project: Project) -> bool:
    """Whether production settings switch something on, whatever the environment says."""
    sure = setting.production and setting.in_force and not setting.conditional
    return sure and value_of(setting.value, setting.module, project) is True


def content_types(value: object) -> set[str] | None:
    """The serializers of an `accept_content` by name; None when they cannot be told."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        return None
    return {CONTENT.get(part, part) for part in value}


@rule("DCE706", "pickle-accepted", "warning", "configuration-guide#serialization-and-signing")
def pickle_accepted(setting: Setting, project: Project) -> Iterator[Problem]:
    """Workers or readers of results accept pickle.

    Why: whoever can write to the broker or the result store then runs code of his choice in the worker or the web
    process.
    Fix: Accept `["json"]` only and pass primary keys and plain values; `serializer="yaml"` or msgpack carry more types.
    Source: Measured (a pickled payload calls a function while kombu decodes it).

    Bad:
        === shop/settings.py
        CELERY_ACCEPT_CONTENT = ["json", "pickle"]
    Good:
        === shop/settings.py
        CELERY_ACCEPT_CONTENT = ["json"]
    """
    if not setting.production or setting.key not in ("accept_content", "result_accept_content"):
        return
    if "pickle" in (content_types(value_of(setting.value, setting.module, project)) or ()):
        yield Problem("pickle is accepted: whoever writes to the broker runs code here", setting.node)


@rule("DCE707", "serializer-not-accepted", "error", "configuration-guide#serialization-and-signing")
def serializer_not_accepted(setting: Setting, project: Project) -> Iterator[Problem]:
    """Messages or results are written by a serializer that their reader refuses.

    Why: the worker discards a task whose content type is not in `accept_content` (the default is `["json"]`); a result
    of such a type cannot be read back.
    Fix: Serialize with one of the accepted types, or accept it in every worker before the first publisher uses it.
    Source: Measured (kombu raises ContentDisallowed for what is not accepted).

    Bad:
        === shop/settings.py
        CELERY_TASK_SERIALIZER = "msgpack"
    Good:
        === shop/settings.py
        CELERY_TASK_SERIALIZER = "msgpack"
        CELERY_ACCEPT_CONTENT = ["json", "msgpack"]
    """
    if setting.key not in ("task_serializer", "result_serializer") or setting.conditional or not setting.production:
        return
    written = value_of(setting.value, setting.module, project)
    if written not in CONTENT.values() or not setting.in_force:
        return  # one that the project registers may have any content type
    lists = project.setting("accept_content")
    if setting.key == "result_serializer":
        lists = project.setting("result_accept_content") or lists
    accepted = content_types(lists[0] if lists else ["json"])
    if len(lists) < 2 and accepted is not None and written not in accepted:
        reader = "workers discard the message" if setting.key == "task_serializer" else "no one can read the result"
        yield Problem(f"{written} is not in accept_content ({', '.join(sorted(accepted))}): {reader}", setting.node)


@rule("DCE708", "eager-in-production", "error", "django-integration#testing")
def eager_in_production(setting: Setting, project: Project) -> Iterator[Problem]:
    """`task_always_eager` is on in settings that are not named after tests or development.

    Why: `.delay()` then runs the task in the web process, inside its transaction, and nothing ever reaches a worker; no
    delay, time limit or acknowledgement applies.
    Fix: Move it to the test settings; a worker in development shows what production does.
    Source: Measured (`.delay()` returns after the task ran in the caller's thread).

    Bad:
        === shop/settings.py
        CELERY_TASK_ALWAYS_EAGER = True
    Good:
        === shop/settings_test.py
        from .settings import *

        CELERY_TASK_ALWAYS_EAGER = True
    """
    if setting.key != "task_always_eager" or not is_true(setting, project):
        return
    # A base that some environment switches off again is a default of development.
    others = [value_of(other.value, other.module, project) for other in project.by_key[setting.key]]
    if all(value is True for value in others):
        yield Problem(f"{setting.written} runs every task in the process that publishes it", setting.node)


APPS = (
    ("result_backend", re.compile(r"^(django-db$|django_celery_results)"), "django_celery_results"),
    ("beat_scheduler", re.compile(r"^(django_celery_beat\.schedulers|django$)"), "django_celery_beat"),
)


@rule("DCE709", "database-app-not-installed", "error", "configuration-guide#result-backends")
def database_app_not_installed(setting: Setting, project: Project) -> Iterator[Problem]:
    """Results or schedules are kept in the database, and the app that holds their tables is not installed.

    Why: without the app there are no models and no tables: the first result, or Beat's start, raises RuntimeError or
    ProgrammingError.
    Fix: Add `django_celery_results` or `django_celery_beat` to INSTALLED_APPS and migrate.
    Source: Measured (importing the models raises RuntimeError).

    Bad:
        === shop/settings.py
        INSTALLED_APPS = ["django.contrib.contenttypes", "orders"]
        CELERY_RESULT_BACKEND = "django-db"
    Good:
        === shop/settings.py
        INSTALLED_APPS = ["django.contrib.contenttypes", "orders", "django_celery_results"]
        CELERY_RESULT_BACKEND = "django-db"
    """
    for key, wanted, app in APPS:
        if setting.key == key and setting.production:
            text = text_of(setting.value, setting.module, project)
            if text and wanted.search(text) and _lacks_app(app, setting, project):
                yield Problem(f"{text} needs {app} in INSTALLED_APPS, and it is not there", setting.node)


def _lacks_app(app: str, setting: Setting, project: Project) -> bool:
    """Whether INSTALLED_APPS can be read whole and names the app nowhere."""
    lists = project.by_key.get("INSTALLED_APPS", [])
    if not lists or any(not _is_plain_list(part.value, part.module, project) for part in lists):
        return False
    modules = {module for part in lists for module in project.family(part.module)} | {setting.module}
    return not any(
        isinstance(node.value, str) and (node.value == app or node.value.startswith(f"{app}.apps"))
        for module in modules
        for node in module.find(ast.Constant)
    )


def _is_plain_list(node: ast.expr, module: Module, project: Project, depth: int = 0) -> bool:
    if depth > 20:
        return False
    if isinstance(node, (ast.List, ast.Tuple)):
        return all(
            isinstance(part, ast.Constant)
            or (isinstance(part, ast.Starred) and _is_plain_list(part.value, module, project, depth + 1))
            for part in node.elts
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return all(_is_plain_list(part, module, project, depth + 1) for part in (node.left, node.right))
    if isinstance(node, ast.Name):
        values = module.assignments.get(node.id)
        if values:
            return all(_is_plain_list(value, module, project, depth + 1) for value in values)
        return any(node.id in other.assignments for other in project.family(module))
    return False


READS = re.compile(r"(env|config|secret|setting|get_)", re.IGNORECASE)  # functions that read the environment


def origin(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> str | None:
    """What a URL is made of, such that equal answers are equal URLs: text, names of environment variables and names.

    ``f"{env('REDIS')}/1"`` → ``$REDIS/1``. None when it cannot be told.
    """
    if node is None or depth > 20:
        return None
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, (str, int)) else None
    if isinstance(node, ast.Name):
        values = module.assignments.get(node.id, [])
        if len(values) == 1:
            return origin(values[0], module, project, depth + 1)
        return f"{{{node.id}}}" if not values else None
    if isinstance(node, ast.JoinedStr):
        parts = [
            origin(part.value if isinstance(part, ast.FormattedValue) else part, module, project, depth + 1)
            for part in node.values
        ]
        return None if any(part is None for part in parts) else "".join(parts)  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (origin(part, module, project, depth + 1) for part in (node.left, node.right))
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Call):
        name = constant(node.args[0] if node.args else keyword(node, "name"), module)
        if isinstance(name, str) and (default_of_environment(node) is not None or READS.search(ast.dump(node.func))):
            return f"${name}"
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format" and not node.keywords:
            return _formatted(node, module, project, depth)
    if isinstance(node, ast.Subscript) and "environ" in ast.dump(node.value):
        name = constant(node.slice, module)
        return f"${name}" if isinstance(name, str) else None
    return None


def _formatted(call: ast.Call, module: Module, project: Project, depth: int) -> str | None:
    """`origin` of ``"redis://{}/{}".format(HOST, 0)``."""
    text = constant(call.func.value, module)  # type: ignore[attr-defined]
    parts = [origin(part, module, project, depth + 1) for part in call.args]
    if not isinstance(text, str) or None in parts:
        return None
    pieces = re.split(r"\{\d?\}", text)
    if len(pieces) != len(parts) + 1 or "{" in "".join(pieces):
        return None
    return "".join(piece + part for piece, part in zip(pieces, [*parts, ""]))  # type: ignore[operator]


def redis_database(text: str | None) -> tuple[str, str] | None:
    """Server and database of a Redis URL; None for another URL or one whose parts are unknown."""
    if not text or not text.startswith(("redis://", "rediss://")):
        return None
    rest = text.partition("://")[2].partition("?")[0]
    server, _, database = rest.rpartition("@")[2].partition("/")
    host, _, port = server.partition(":")
    host = "localhost" if host in ("127.0.0.1", "") else host
    return f"{host}:{port or 6379}", database.strip("/") or "0"


@rule("DCE710", "broker-shares-cache-database", "warning", "configuration-guide#redis-broker")
def broker_shares_cache_database(setting: Setting, project: Project) -> Iterator[Problem]:
    """The broker and Django's cache live in one Redis database.

    Why: `cache.clear()` is FLUSHDB, which deletes the queues and every task in them; and a memory limit with eviction,
    right for a cache, drops queue keys.
    Fix: Give the broker a Redis server of its own with `maxmemory-policy noeviction`; another database number only
    protects from FLUSHDB.
    Source: Measured (`clear()` of Django's Redis cache client sends FLUSHDB).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://redis:6379/0"
        CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://redis:6379/0",
            }
        }
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://broker:6379/0"
        CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://cache:6379/0",
            }
        }
    """
    if setting.written != "CACHES" or not setting.production:
        return
    if not isinstance(setting.value, ast.Dict):
        return
    for key, value in zip(setting.value.keys, setting.value.values):
        alias = constant(key, setting.module)
        cache = mapping(value, setting.module) or {}
        backend = text_of(cache.get("BACKEND"), setting.module, project) or ""
        if "redis" not in backend.lower():
            continue
        location = cache.get("LOCATION")
        places = location.elts if isinstance(location, (ast.List, ast.Tuple)) else [location]
        if any(
            broker.production
            and broker.in_force
            and _together(broker, setting, project)
            and any(_same_database(broker, place, setting.module, project) for place in places)
            for broker in project.by_key.get("broker_url", ())
        ):
            name = repr(alias) if isinstance(alias, str) else "of this alias"
            yield Problem(
                f"cache {name} shares the broker's Redis database: cache.clear() deletes tasks", location or value
            )


def _together(one: Setting, other: Setting, project: Project) -> bool:
    return other.module in project.family(one.module) or not any(
        module in project.family(one.module) for module in (s.module for s in project.by_key.get("CACHES", ()))
    )


def _same_database(broker: Setting, location: ast.expr | None, module: Module, project: Project) -> bool:
    if location is None:
        return False
    first, second = origin(broker.value, broker.module, project), origin(location, module, project)
    if first is not None and first == second:
        return True
    if (first and "$" in first) or (second and "$" in second):
        return False  # separate variables of the environment: their defaults are for development
    texts = text_of(broker.value, broker.module, project), text_of(location, module, project)
    first_place, second_place = (redis_database(text) for text in texts)
    return first_place is not None and first_place == second_place and "{}" not in "".join(first_place)


def literal_url(setting: Setting, project: Project) -> str | None:
    """The URL of a broker or result backend that stands in the code, not in the environment."""
    if setting.key not in ("broker_url", "result_backend", "broker_read_url", "broker_write_url"):
        return None
    if not setting.production or setting.conditional:
        return None
    value = value_of(setting.value, setting.module, project)
    return value if isinstance(value, str) and "://" in value else None


def login(url: str) -> tuple[str, str, str] | None:
    """User, password and host of a URL; None when it cannot be parsed."""
    try:
        parts = urlsplit(url.partition(";")[0])
        return parts.username or "", parts.password or "", parts.hostname or ""
    except ValueError:
        return None


@rule("DCE711", "password-in-url", "warning", "production-deployment#security")
def password_in_url(setting: Setting, project: Project) -> Iterator[Problem]:
    """A broker or result backend URL with its password stands in the settings file.

    Why: the password is in the repository's history and in every checkout; who has it can write tasks.
    Fix: Read the URL from the environment or a secret store, and change the password.
    Source: `celery/app/utils.py`: `sanitize_url` masks exactly this part wherever Celery shows a URL.

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "amqp://shop:Xy7qPz91@rabbit.example.com:5672/shop"
    Good:
        === shop/settings.py
        import os

        CELERY_BROKER_URL = os.environ["SHOP_BROKER"]
    """
    url = literal_url(setting, project)
    parts = login(url) if url else None
    if parts and parts[1] and parts[2] not in LOCAL and not PLACEHOLDER.search(parts[1]) and parts[1] != parts[0]:
        yield Problem(f"the password of {parts[0] or 'the server'} at {parts[2]} stands in the code", setting.node)


@rule("DCE712", "guest-account", "warning", "production-deployment#security")
def guest_account(setting: Setting, project: Project) -> Iterator[Problem]:
    """A broker on another host is used as guest with the password that everyone knows.

    Why: RabbitMQ lets guest in from the same host only; where that was lifted, whoever reaches the port can read and
    write every queue.
    Fix: Create a user and a virtual host for the project and read the URL from the environment.
    Source: https://www.rabbitmq.com/docs/access-control says that guest can only connect via localhost.

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "amqp://guest:guest@rabbitmq:5672//"
    Good:
        === shop/settings.py
        import os

        CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "amqp://guest:guest@localhost//")
    """
    url = literal_url(setting, project)
    parts = login(url) if url else None
    if parts and parts[:2] == ("guest", "guest") and parts[2] not in LOCAL:
        yield Problem(f"guest:guest at {parts[2]}: refused there, or open to everyone", setting.node)


@rule("DCE713", "tls-not-verified", "warning", "configuration-guide#redis-broker")
def tls_not_verified(setting: Setting, project: Project) -> Iterator[Problem]:
    """The connection to the broker or result backend is encrypted but the server's certificate is not checked.

    Why: anyone on the way can answer in the server's place, read the tasks and write others. A bare `rediss://` broker
    URL checks nothing either.
    Fix: Set `CELERY_BROKER_USE_SSL` and `CELERY_REDIS_BACKEND_USE_SSL` to `{"ssl_cert_reqs": ssl.CERT_REQUIRED,
    "ssl_ca_certs": …}` (for amqp without `ssl_`).
    Source: Measured (the connection parameters that kombu makes of each form).

    Bad:
        === shop/settings.py
        import ssl

        CELERY_BROKER_URL = "rediss://broker:6379/0"
        CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": ssl.CERT_NONE}
    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "rediss://broker:6379/0"
    Good:
        === shop/settings.py
        import ssl

        CELERY_BROKER_URL = "rediss://broker:6379/0"
        CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/shop/ca.pem"}
    """
    if not setting.production or _is_explained(setting, TRUSTED):
        return
    if setting.key in ("broker_use_ssl", "redis_backend_use_ssl") or setting.written.endswith("REDBEAT_REDIS_USE_SSL"):
        for value in [setting.value, *getattr(setting.value, "values", ())]:
            for part in _branches(value):
                options = mapping(part, setting.module) or {}
                for name in ("ssl_cert_reqs", "cert_reqs"):
                    if _verifies_nothing(options.get(name), setting.module):
                        yield Problem(f"{name} is CERT_NONE: no certificate is checked", options[name])
    elif setting.key in ("broker_url", "result_backend"):
        text = text_of(setting.value, setting.module, project) or ""
        asked = re.search(r"ssl_cert_reqs=(?:CERT_)?none\b", text, re.IGNORECASE)
        if asked:
            yield Problem(f"{asked.group()} in the URL: no certificate is checked", setting.node)
        elif (
            setting.key == "broker_url"
            and text.startswith("rediss://")
            and "ssl_cert_reqs" not in text
            and not project.by_key.get("broker_use_ssl")
        ):
            yield Problem("a rediss:// broker URL without ssl_cert_reqs checks no certificate", setting.node)


def _branches(node: ast.expr) -> list[ast.expr]:
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]


def _verifies_nothing(node: ast.expr | None, module: Module) -> bool:
    if node is None:
        return False
    if module.qualified(node) == "ssl.CERT_NONE":
        return True
    value = constant(node, module)
    return value is None or (isinstance(value, str) and value.lower() in ("none", "cert_none"))


@rule("DCE714", "rediss-results-without-cert-reqs", "error", "configuration-guide#redis-broker")
def rediss_results_without_cert_reqs(setting: Setting, project: Project) -> Iterator[Problem]:
    """A `rediss://` result backend that does not say how certificates are checked.

    Why: Celery's Redis backend raises ValueError on first use, so every `.delay()` of a task with a result fails.
    Fix: Append `?ssl_cert_reqs=required` to the URL, or set `CELERY_REDIS_BACKEND_USE_SSL`.
    Source: Measured (the backend's constructor raises).

    Bad:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "rediss://results:6379/0"
    Good:
        === shop/settings.py
        CELERY_RESULT_BACKEND = "rediss://results:6379/0?ssl_cert_reqs=required"
    """
    if setting.key != "result_backend" or project.by_key.get("redis_backend_use_ssl"):
        return
    text = text_of(setting.value, setting.module, project) or ""
    if text.startswith("rediss://") and "ssl_cert_reqs" not in text and not text.endswith("{}"):
        yield Problem("a rediss:// result backend without ssl_cert_reqs raises ValueError", setting.node)


@rule("DCE715", "late-acknowledgement-everywhere", "info", "configuration-guide#acknowledgement")
def late_acknowledgement_everywhere(setting: Setting, project: Project) -> Iterator[Problem]:
    """`task_acks_late` is on for all tasks.

    Why: after a worker's death, a lost connection or the visibility timeout every task runs again, also those that send
    mail or charge money.
    Fix: Set `acks_late=True` on the tasks that are safe to run twice, or make all of them so.
    Source: Measured (a task without options of its own inherits it).

    Bad:
        === shop/settings.py
        CELERY_TASK_ACKS_LATE = True
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task(acks_late=True)
        def refresh(pk): ...
    """
    if setting.key == "task_acks_late" and is_true(setting, project) and not _is_explained(setting, WEIGHED):
        yield Problem("every task may run twice, also those that are not safe to", setting.node)


TRUSTED = re.compile(rb"certificat|self.signed|verif", re.IGNORECASE)
WEIGHED = re.compile(rb"\back|idempot|\btwice\b|redeliver|executed again|run again", re.IGNORECASE)


def _is_explained(setting: Setting, words: re.Pattern[bytes]) -> bool:
    """Whether the comment above a setting shows, by its words, that what a rule says was weighed."""
    lines = setting.module.source.splitlines()
    number = setting.node.lineno - 2  # type: ignore[attr-defined]
    while 0 <= number < len(lines) and lines[number].lstrip().startswith(b"#"):
        if words.search(lines[number]):
            return True
        number -= 1
    return False


@rule("DCE716", "requeue-loop-everywhere", "warning", "error-handling#lost-workers")
def requeue_loop_everywhere(setting: Setting, project: Project) -> Iterator[Problem]:
    """`task_reject_on_worker_lost` is on for all tasks.

    Why: a task that kills its process (out of memory, a crash in C) goes back to the queue and kills the next one,
    without end on Redis and classic queues.
    Fix: Remove it; from Celery 5.7 use `retry_on_worker_lost=True` with `max_retries` on the tasks that need it.
    Source: Measured (a task without options of its own inherits it).

    Bad:
        === shop/settings.py
        CELERY_TASK_ACKS_LATE = True
        CELERY_TASK_REJECT_ON_WORKER_LOST = True
    Good:
        === shop/settings.py
        CELERY_TASK_ACKS_LATE = True
        CELERY_TASK_RETRY_ON_WORKER_LOST = True
    """
    if setting.key == "task_reject_on_worker_lost" and is_true(setting, project):
        yield Problem("a task that kills its worker process is queued again without end", setting.node)


@rule("DCE717", "set-in-two-places", "warning", "configuration-guide#old-setting-names")
def set_in_two_places(setting: Setting, project: Project) -> Iterator[Problem]:
    """A key is set both on the app and in Django's settings, with different values.

    Why: Celery 5.5 and 5.6 take Django's setting, Celery 5.7 takes the app's: an upgrade changes the value.
    Fix: Keep one of them, best the one in Django's settings.
    Source: Measured (`Celery(broker=…)` and `app.conf.x = …` beside the namespaced setting).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop", broker="redis://old:6379/0")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_BROKER_URL = "redis://new:6379/0"
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === shop/settings.py
        CELERY_BROKER_URL = "redis://new:6379/0"
    """
    if setting.style not in ("conf", "app") or not setting.key or scope(setting.node) is not None:
        return
    if len(project.apps) != 1 or not any(isinstance(name, str) for name in project.namespaces):
        return
    mine = ast.dump(setting.value)
    for other in project.by_key[setting.key]:
        if other.style == "django" and other.in_force and other.production and ast.dump(other.value) != mine:
            yield Problem(
                f"{other.written} is set too: Celery 5.5 and 5.6 take that one, 5.7 takes this one", setting.node
            )
            return


def _app_calls(module: Module, project: Project) -> Iterator[ast.Call]:
    """Calls that make a Celery app at a module's top level."""
    for name, values in module.assignments.items():
        if f"{module.name}.{name}" in project.apps:
            yield from (value for value in values if isinstance(value, ast.Call))


@rule("DCE718", "settings-module-set-too-late", "error", "configuration-guide#project-layout")
def settings_module_set_too_late(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """`DJANGO_SETTINGS_MODULE` is set after the Celery app was made.

    Why: the app looks for it once, when it is made; without it a worker gets no Django fixup, so it never closes
    database connections and tasks have no `delay_on_commit`.
    Fix: Move `os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)` above `Celery(…)`.
    Source: Measured (a process without the variable, both orders).

    Bad:
        === shop/celery.py
        import os

        from celery import Celery

        app = Celery("shop")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    Good:
        === shop/celery.py
        import os

        from celery import Celery

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
    """
    if not module.mentions(b"Celery") or scope(call) is not None:
        return
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "setdefault" and len(call.args) == 2):
        return
    if constant(call.args[0], module) != "DJANGO_SETTINGS_MODULE":
        return
    made = [app.lineno for app in _app_calls(module, project)]
    if made and min(made) < call.lineno and not enclosing(call, ast.If):
        yield Problem(f"the app in line {min(made)} was made without Django: set this before it", call)


@rule("DCE719", "app-not-imported", "error", "configuration-guide#project-layout")
def app_not_imported(project: Project) -> Iterator[Problem]:
    """No module of the project imports the one that makes the Celery app.

    Why: in the web process the app then does not exist, and `.delay()` of a `@shared_task` publishes to Celery's
    default app: amqp on localhost, whatever the settings say.
    Fix: Import the app in the package's `__init__.py`: `from .celery import app as celery_app`.
    Source: Measured (a Django process with and without the import).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(pk): ...
        === orders/views.py
        from .tasks import send_receipt

        def buy(request):
            send_receipt.delay_on_commit(1)
    Good:
        === shop/__init__.py
        from .celery import app as celery_app
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(pk): ...
        === orders/views.py
        from .tasks import send_receipt

        def buy(request):
            send_receipt.delay_on_commit(1)
    """
    if len(project.apps) != 1 or not any(found for found in project.dispatches.values()):
        return
    (name,) = project.apps
    dotted = name.rpartition(".")[0]
    home = project.find_module(dotted)
    if home is None or home.is_package or "settings" in home.path or not _configured_by_django(home):
        return
    stem = home.path[:-3].rpartition("/")[2].encode()
    for module in project.modules:
        if module is home:
            continue
        plain = [alias.name for node in module.find(ast.Import) for alias in node.names]
        for imported in [*module.imports.values(), *module.stars, *plain]:
            if _leads_to(imported, module, home, project):
                return
        if module.mentions(b"import_module", b"__import__") and module.mentions(stem):
            return
    call = next(iter(_app_calls(home, project)), None)
    if call is not None and any(_is_shared(task.decorator, task.module) for task in project.tasks.values()):
        package = home.path.rpartition("/")[0]
        where = f"{package}/__init__.py" if package else "the settings package"
        yield Problem(f"no module imports this app: import it in {where}", call, home.path)


def _configured_by_django(module: Module) -> bool:
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "config_from_object"
        and call.args
        and str(constant(call.args[0], module)).startswith("django.conf")
        for call in module.find(ast.Call)
    )


def _leads_to(imported: str, module: Module, home: Module, project: Project) -> bool:
    """Whether an import loads the module, or may."""
    if imported.split(".")[0] == "celery" and home.name != "celery":
        return False  # the package; imports from a celery.py beside the importer carry their package's name
    end = home.name.rpartition(".")[2]
    if end not in imported.split("."):
        return False
    return any(project.find_module(name, module.path) is home for name in (imported, imported.rpartition(".")[0]))


def _is_shared(decorator: ast.expr | None, module: Module) -> bool:
    return (module.called(decorator) or "").endswith("shared_task")


@rule("DCE720", "in-memory-broker", "error", "configuration-guide#environments")
def in_memory_broker(setting: Setting, project: Project) -> Iterator[Problem]:
    """Production settings publish to a broker that lives in the publishing process.

    Why: `memory://` queues are a variable of one process: no worker ever sees what the web process publishes, and it is
    gone with that process.
    Fix: Use Redis, RabbitMQ or SQS, and keep `memory://` in the test settings.
    Source: Measured (two processes, one publishes, the other finds an empty queue).

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "memory://"
    Good:
        === shop/settings_test.py
        from .settings import *

        CELERY_BROKER_URL = "memory://"
    """
    if setting.key != "broker_url" or not (literal_url(setting, project) or "").startswith("memory:"):
        return
    if len([other for other in project.by_key["broker_url"] if other.production]) == 1:
        yield Problem("a memory:// broker keeps tasks in the process that publishes them", setting.node)


@rule("DCE721", "database-pool-in-prefork", "warning", "django-integration#database-connections")
def database_pool_in_prefork(setting: Setting, project: Project) -> Iterator[Problem]:
    """Django's connection pool is on while workers use the prefork pool.

    Why: the fixup closes the whole pool around every task in a prefork worker: 20 tasks opened 80 connections where
    they open 20 without a pool.
    Fix: Switch the pool off in the worker's settings, or run the worker with threads or gevent; put PgBouncer in front.
    Source: `celery/fixups/django.py`, `_close_database`: closes the pool of each connection when the worker is prefork.

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://broker"
        DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"pool": True}}}
    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://broker"
        DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql"}}
    """
    if setting.written != "DATABASES" or not setting.production or not (project.tasks or project.brokers):
        return
    if any(value != "prefork" for value in project.setting("worker_pool")):
        return
    for database in (mapping(setting.value, setting.module) or {}).values():
        options = mapping((mapping(database, setting.module) or {}).get("OPTIONS"), setting.module) or {}
        pool = options.get("pool")
        if pool is not None and (isinstance(pool, ast.Dict) or constant(pool, setting.module) is True):
            yield Problem("prefork workers close this pool around every task and open it anew", pool)
