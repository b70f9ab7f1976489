"""The settings of a project: where they are written, which of Celery's keys each one is, and what it is worth.

A setting counts as *production* unless its file or class is named after development or tests, and as *conditional*
where an ``if``, ``try`` or loop decides about it: what exists only then is never taken for a fact.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .infer import UNKNOWN, constant, default_of_environment, mapping
from .module import MAX_DEPTH, Function, Module, keyword, parents

if TYPE_CHECKING:
    from .project import Project

MARKS = {"INSTALLED_APPS", "DATABASES", "MIDDLEWARE", "ROOT_URLCONF", "SECRET_KEY"}
NOT_PRODUCTION = {
    "test", "tests", "testing", "unittest", "pytest", "ci", "dev", "devel", "develop", "development", "local",
    "localhost", "debug", "example", "examples", "sample", "sandbox", "e2e", "build", "travis", "github", "compose",
}  # fmt: skip
MAX_STEPS_OF_TEXT = 200  # of one text put together; each may ask for a constant
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
BROKERS = {
    "redis": "redis", "rediss": "redis", "sentinel": "redis", "redis+socket": "redis", "amqp": "amqp",
    "amqps": "amqp", "pyamqp": "amqp", "librabbitmq": "amqp", "sqs": "sqs", "memory": "memory",
    "filesystem": "filesystem", "kafka": "kafka", "confluentkafka": "kafka", "pgmq": "pgmq", "gcpubsub": "gcpubsub",
    "sqla": "database", "sqlalchemy": "database", "django": "database", "mongodb": "mongodb",
}  # fmt: skip
VISIBILITY = {"redis": 3600.0, "sqs": 1800.0}  # seconds, unless broker_transport_options says otherwise
IN_CODE = ("Celery", "celery.Celery", "celery.app.Celery", "celery.app.base.Celery")


class Setting(NamedTuple):
    """A setting as a file writes it.

    ``key`` is the current Celery key that it sets (``task_acks_late``), also when it is written under an old name or
    one that no version reads (see `in_force`); empty for what is no setting of Celery.
    """

    written: str  # CELERY_TASK_ACKS_LATE
    value: ast.expr
    node: ast.AST  # for its place
    module: Module
    style: str  # "django", "conf" for app.conf, "module" for a celeryconfig, "app" for Celery(broker=...)
    owner: str  # the module, or the class in it, whose settings stand together
    key: str = ""
    in_force: bool = False  # whether every supported version of Celery reads it under this name
    conditional: bool = False
    production: bool = True


@cache
def known() -> dict[str, Any]:
    """The names that Celery 5.5 to 5.7 and its extensions read; see ``settings.json``."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    keys = {key for keys in data["keys"].values() for key in keys} | set(data["undeclared"])
    old = {name: key for key, name in data["renamed"].items()}
    # Where the table names no other, the old name is the key in capitals.
    old.update({key.upper(): key for key in keys - data["renamed"].keys() - set(data["undeclared"])})
    since = {key: version for version, keys in data["keys"].items() for key in keys}
    return {**data, "all": keys, "old": old, "since": since}


# Where they are.


def find_settings(project: Project) -> Iterator[Setting]:
    """Every setting of the project: Django's, those of Celery's own configuration modules, and those set in code."""
    sources = _sources(project)
    project.namespaces = {namespace for kind, _, namespace in sources if kind == "django"}
    namespaces = {name for name in project.namespaces if name is not UNKNOWN}
    for module in project.modules:
        if _is_settings_module(module, project):
            yield from _named(_written(module, module.tree, module.name), "django", namespaces)
        for node in module.find(ast.ClassDef):
            if _is_settings_class(node, module, project):
                yield from _named(_written(module, node, f"{module.name}.{node.name}"), "django", namespaces)
    for kind, source, namespace in sources:
        if kind == "module":
            found = _written(source, source.tree, source.name)
            yield from _named(found, "module", {namespace} - {UNKNOWN})
        elif kind == "class":
            module, node = source
            found = _written(module, node, f"{module.name}.{node.name}")
            yield from _named(found, "module", {namespace} - {UNKNOWN})
    for module in project.modules:
        yield from _named(_set_in_code(project, module), "conf", {*namespaces, None})


def _sources(project: Project) -> list[tuple[str, Any, Any]]:
    """What apps are configured from: kind, place and namespace (None for none, UNKNOWN when computed)."""
    found: list[tuple[str, Any, Any]] = []
    for module in project.modules:
        if not module.mentions(b"config_from_object", b"celeryconfig", b"celery_config"):
            name = module.path.rpartition("/")[2]
            if not name.startswith(("celeryconfig", "celery_config")):
                continue
        for call in module.find(ast.Call):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "config_from_object":
                source = _source(call, module, project)
                if source and source not in found:
                    found.append(source)
    taken = {source for kind, source, _ in found if kind == "module"}
    for module in project.modules:
        name = module.path.rpartition("/")[2]
        if name.startswith("celeryconfig") and module not in taken:
            found.append(("module", module, None))
    return found


def _source(call: ast.Call, module: Module, project: Project) -> tuple[str, Any, Any] | None:
    given = call.args[3] if len(call.args) > 3 else keyword(call, "namespace")
    namespace = constant(given, module) if given is not None else _namespace_of_app(call, module)
    if namespace is not UNKNOWN:
        namespace = namespace.rstrip("_") if isinstance(namespace, str) and namespace else None
    node = call.args[0] if call.args else keyword(call, "obj")
    value = constant(node, module)
    if isinstance(value, str):
        name = value.replace(":", ".")
    else:
        name = module.qualified(node) or ""
        if isinstance(node, ast.Constant):
            return None
    if name.startswith("django.conf"):
        return "django", None, namespace
    target = project.find_module(name, module.path)
    if target is not None:
        return ("django" if _has_marks(target) else "module"), target, namespace
    found = project.definition(project.resolve(name, module.path))
    if found and isinstance(found[1], ast.ClassDef):
        return "class", (found[0], found[1]), namespace
    return None


def _namespace_of_app(call: ast.Call, module: Module) -> object:
    """``Celery("shop", namespace="CELERY")`` sets it too."""
    target = call.func.value  # type: ignore[attr-defined]
    values = module.assignments.get(target.id, []) if isinstance(target, ast.Name) else []
    for value in values:
        if isinstance(value, ast.Call) and keyword(value, "namespace") is not None:
            return constant(keyword(value, "namespace"), module)
    return None


def _has_marks(module: Module) -> bool:
    return bool(MARKS & module.assignments.keys())


def _is_settings_module(module: Module, project: Project) -> bool:
    """By its names, its path, or because settings and it are joined by star imports."""
    if module.is_migration or not module.assignments:
        return False
    return _has_marks(module) or "settings" in module.path.lower() or len(project.family(module)) > 1


def _is_settings_class(node: ast.ClassDef, module: Module, project: Project) -> bool:
    """A class of django-configurations, or one in a settings module that holds its settings."""
    if _has_marks(module) or "settings" in module.path.lower():
        return True
    return module.mentions(b"Configuration") and any(
        name.rpartition(".")[2] == "Configuration" for name, *_ in project.bases(node, module)
    )


class _Written(NamedTuple):
    name: str
    value: ast.expr
    node: ast.AST
    module: Module
    owner: str
    conditional: bool
    style: str = ""


def _written(module: Module, owner: ast.AST, name: str) -> Iterator[_Written]:
    """Assignments in the body of a module or class, also those under ``if`` and ``try``; properties of a class."""
    stack: list[tuple[ast.AST, bool]] = [(node, False) for node in reversed(owner.body)]  # type: ignore[attr-defined]
    while stack:
        node, conditional = stack.pop()
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and not target.id.startswith("_"):
                    yield _Written(target.id, node.value, node, module, name, conditional)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and node.value is not None and not node.target.id.startswith("_"):
                yield _Written(node.target.id, node.value, node, module, name, conditional)
        elif isinstance(node, Function) and isinstance(owner, ast.ClassDef) and node.decorator_list:
            value = _returned(node)
            if value is not None:
                yield _Written(node.name, value, node, module, name, conditional)
        elif isinstance(node, ast.With):
            stack += [(part, conditional) for part in reversed(node.body)]
        elif isinstance(node, (ast.If, ast.Try, ast.For, ast.While)):
            inner = [*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            for handler in getattr(node, "handlers", ()):
                inner += handler.body
            stack += [(part, True) for part in reversed(inner)]


def _returned(function: ast.AST) -> ast.expr | None:
    """What a property returns, if it is one ``return`` and nothing else."""
    body = [part for part in function.body if not isinstance(part, ast.Expr)]  # type: ignore[attr-defined]
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


def _set_in_code(project: Project, module: Module) -> Iterator[_Written]:
    """``app.conf.x = …``, ``app.conf["x"] = …``, ``app.conf.update(…)`` and ``Celery("shop", broker=…)``."""
    if module.mentions(b".conf"):
        for node in module.find(ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and is_conf(target.value, project, module):
                    yield _in_code(target.attr, node.value, node, module)
                elif isinstance(target, ast.Subscript) and is_conf(target.value, project, module):
                    key = constant(target.slice, module)
                    if isinstance(key, str):
                        yield _in_code(key, node.value, node, module)
        for call in module.find(ast.Call):
            function = call.func
            if (
                isinstance(function, ast.Attribute)
                and function.attr == "update"
                and is_conf(function.value, project, module)
            ):
                parts = mapping(call.args[0], module) if call.args else {}
                for key, value in {**(parts or {}), **{w.arg: w.value for w in call.keywords if w.arg}}.items():
                    yield _in_code(key, value, value, module)
    if module.mentions(b"Celery("):
        for call in module.find(ast.Call):
            if call.keywords and project.meaning(call.func, module) in IN_CODE:
                for word in call.keywords:
                    if word.arg:
                        name = {"broker": "broker_url", "backend": "result_backend"}.get(word.arg, word.arg)
                        yield _in_code(name, word.value, word.value, module)._replace(style="app")


def _in_code(name: str, value: ast.expr, node: ast.AST, module: Module) -> _Written:
    conditional = any(isinstance(part, (ast.If, ast.Try, ast.For, ast.While)) for part in parents(node))
    return _Written(name, value, node, module, module.name, conditional)


def is_conf(node: ast.AST, project: Project, module: Module) -> bool:
    """Whether an expression is an app's ``conf``."""
    return isinstance(node, ast.Attribute) and node.attr == "conf" and project.is_app(node.value, module)


# What they are called.


def _named(found: Iterable[_Written], style: str, namespaces: set[str | None]) -> Iterator[Setting]:
    for part in found:
        if style == "django" and not part.name.isupper():
            continue
        key, in_force = key_of(part.name, style, namespaces)
        yield Setting(
            part.name, part.value, part.node, part.module, part.style or style, part.owner, key, in_force,
            part.conditional, _is_production(part.module, part.owner),
        )  # fmt: skip


def key_of(written: str, style: str, namespaces: set[str | None]) -> tuple[str, bool]:
    """The current key that a written name stands for, and whether every supported version reads it there.

    Without any app in sight, the namespace is taken for CELERY.
    """
    names = known()
    best = ("", False)
    for namespace in sorted(namespaces or {"CELERY"}, key=str, reverse=True):
        if namespace is not None:
            head, rest = written[: len(namespace) + 1], written[len(namespace) + 1 :]
            if head == f"{namespace}_" and rest.isupper() == namespace.isupper() and rest.lower() in names["all"]:
                return rest.lower(), True
        elif style != "django" and written in names["all"]:
            return written, True
        if written in names["old"]:
            best = max(best, (names["old"][written], namespace is None))
    return best


def _is_production(module: Module, owner: str) -> bool:
    """Whether neither the file nor the class is named after development or tests."""
    *folders, file = module.path[:-3].split("/")
    words = {word.lower() for word in WORDS.findall(file)}
    words |= {word.lower() for folder in folders[-2:] for word in [folder]}
    if owner != module.name:
        words |= {word.lower() for word in WORDS.findall(owner.rpartition(".")[2])}
    return not words & NOT_PRODUCTION


# How they belong together.


def families(project: Project) -> dict[Module, frozenset[Module]]:
    """Settings modules that end up in one: joined by star imports, by inherited classes, or by ``include(…)``."""
    edges: dict[Module, set[Module]] = defaultdict(set)

    def join(one: Module, other: Module | None) -> None:
        if other is not None and other is not one:
            edges[one].add(other)
            edges[other].add(one)

    for module in project.modules:
        settings_like = _has_marks(module) or "settings" in module.path.lower()
        for star in module.stars:
            other = project.find_module(star, module.path)
            if other is not None and (settings_like or _has_marks(other) or "settings" in other.path.lower()):
                join(module, other)
        if not settings_like:
            continue
        for name in module.imports.values():
            other = project.find_module(name, module.path) or project.find_module(name.rpartition(".")[0], module.path)
            if other is not None and (_has_marks(other) or "settings" in other.path.lower()):
                join(module, other)
        if module.mentions(b"split_settings"):
            folder = module.path.rpartition("/")[0]
            for other in project.modules:
                if other.path.startswith(f"{folder}/"):
                    join(module, other)
    return _components(edges)


def _components(edges: dict[Module, set[Module]]) -> dict[Module, frozenset[Module]]:
    answer: dict[Module, frozenset[Module]] = {}
    for start in list(edges):
        if start in answer:
            continue
        seen, stack = {start}, [start]
        while stack:
            fresh = edges[stack.pop()] - seen
            seen |= fresh
            stack += fresh
        together = frozenset(seen)
        for module in together:
            answer[module] = together
    return answer


# What they are worth.


def value_of(node: ast.AST | None, module: Module, project: Project, defaults: bool = False, depth: int = 0) -> Any:  # noqa: ANN401
    """`constant`, which also follows names to other modules and, if asked, takes the defaults of the environment."""
    if node is None or depth > MAX_DEPTH:
        return UNKNOWN
    if isinstance(node, ast.Name):
        found = _lookup(node.id, module, project)
        return value_of(found[1], found[0], project, defaults, depth + 1) if found else UNKNOWN
    if defaults:
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return value_of(node.values[-1], module, project, defaults, depth + 1)
        given = default_of_environment(node)
        if given is not None:
            return value_of(given, module, project, defaults, depth + 1)
    return constant(node, module)


def text_of(node: ast.AST | None, module: Module, project: Project) -> str | None:
    """The text of a string expression, with ``{}`` where the source does not tell; environment defaults count.

    ``f"redis://{HOST}:6379/0"`` → ``redis://{}:6379/0``. None when nothing is known.
    """
    return _text_of(node, module, project, 0, [MAX_STEPS_OF_TEXT])


def _text_of(node: ast.AST | None, module: Module, project: Project, depth: int, left_over: list[int]) -> str | None:
    left_over[0] -= 1  # names that name each other twice would double the text at each
    if node is None or depth > MAX_DEPTH or left_over[0] < 0:
        return None
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        found = _lookup(node.id, module, project)
        return _text_of(found[1], found[0], project, depth + 1, left_over) if found else None
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            text = _text_of(inner, module, project, depth + 1, left_over)
            number = constant(inner, module) if text is None else None
            parts.append(str(number) if isinstance(number, int) and number is not UNKNOWN else text or "{}")
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (_text_of(part, module, project, depth + 1, left_over) for part in (node.left, node.right))
        return None if left is None and right is None else (left or "{}") + (right or "{}")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = _text_of(node.left, module, project, depth + 1, left_over)
        return re.sub(r"%(\(\w+\))?[sdr]", "{}", text) if text is not None else None
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return _text_of(node.values[-1], module, project, depth + 1, left_over)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            text = _text_of(node.func.value, module, project, depth + 1, left_over)
            return re.sub(r"\{[^{}]*\}", "{}", text) if text is not None else None
        return _text_of(default_of_environment(node), module, project, depth + 1, left_over)
    return None


def _lookup(
    name: str, module: Module, project: Project, seen: set[tuple[Module, str]] | None = None
) -> tuple[Module, ast.expr] | None:
    """Where a name of a settings module gets its one value: there, by import, or by a star import."""
    values = module.assignments.get(name)
    if values:
        return (module, values[0]) if len(values) == 1 else None
    seen = set() if seen is None else seen
    if (module, name) in seen or len(seen) > MAX_DEPTH:
        return None
    seen.add((module, name))
    if name in module.imports:
        source, _, name = module.imports[name].rpartition(".")
        other = project.find_module(source, module.path)
        return _lookup(name, other, project, seen) if other is not None else None
    for star in module.stars:
        other = project.find_module(star, module.path)
        found = _lookup(name, other, project, seen) if other is not None else None
        if found:
            return found
    return None


def kind_of_url(text: str | None) -> str | None:
    """``redis``, ``amqp``, ``sqs``, ``memory``, ``database`` … of a broker URL; None when it cannot be told."""
    if not text:
        return None
    scheme = text.partition("://")[0].lower()
    return BROKERS.get(scheme) or BROKERS.get(scheme.partition("+")[0])
