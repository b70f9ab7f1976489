"""What the installed Celery offers, as JSON: run it with the interpreter of the environment that is asked about.

    python scripts/facts.py [--deprecations]

Read by scripts/freshness.py, which compares two releases, and by tests/references, which checks the version notes.
Standard library and Celery only; Python 3.10 or newer.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import celery
import click
import kombu
from celery.app import autoretry, base
from celery.app import task as task_module
from celery.app.defaults import NAMESPACES, flatten
from celery.bin.celery import celery as program
from celery.contrib.django.task import DjangoTask


def settings() -> dict[str, dict[str, object]]:
    """Every key of ``celery.app.defaults`` with what it says about it."""
    return {
        key: {
            "default": repr(option.default),
            "type": getattr(option.type, "__name__", None) or str(option.type),
            "deprecated": option.deprecate_by,
            "removed": option.remove_by,
        }
        for key, option in flatten(NAMESPACES)
    }


def task_options() -> list[str]:
    """What a task has, its decorator takes, and ``apply_async`` and ``retry`` take or pass on."""
    names = {name for name in dir(DjangoTask) if not name.startswith("_")}
    for function in (DjangoTask.apply_async, DjangoTask.retry, base.Celery._task_from_fun):
        names |= {
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD and parameter.name != "self"
        }
    for module in (autoretry, task_module):
        names |= set(_read_options(ast.parse(inspect.getsource(module))))
    return sorted(names)


def _read_options(tree: ast.AST) -> Iterator[str]:
    """Names that are read from options: ``options.get("retry_backoff", …)`` and ``mattrgetter("queue", …)``."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("options.get", "mattrgetter"):
            read = call.args[:1] if isinstance(call.func, ast.Attribute) else call.args
            yield from (word.value for word in read if isinstance(word, ast.Constant))


def command_options() -> dict[str, list[str]]:
    """The options of ``celery`` and of each of its commands; a group's own commands count as its options' owner."""
    found: dict[str, list[str]] = {}

    def walk(name: str, this: click.Command) -> None:
        found[name] = sorted({option for parameter in this.params for option in parameter.opts if option[0] == "-"})
        for child, below in getattr(this, "commands", {}).items():
            walk(f"{name} {child}", below)

    walk("celery", program)
    return found


def transport_options() -> list[str]:
    """What kombu's Redis transport reads from ``broker_transport_options``."""
    if not find_spec("redis"):
        return []
    from kombu.transport.redis import Channel

    return sorted(Channel.from_transport_options)


def deprecations() -> list[str]:
    """Every place in Celery and kombu that warns of a deprecation, with the words of the warning."""
    found = set()
    for package in (celery, kombu):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            source = path.read_text()
            if "DeprecationWarning" in source or "deprecated." in source:
                module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
                found |= {f"{module}: {warning}" for warning in _warnings(ast.parse(source))}
    return sorted(found)


def _warnings(tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        if name.startswith("deprecated.") or name.endswith("DeprecationWarning"):
            yield ast.unparse(call)
        elif name.endswith("warn") and any("DeprecationWarning" in ast.unparse(word) for word in call.args[1:]):
            yield ast.unparse(call.args[0])


def facts() -> dict[str, object]:
    return {
        "distributions": {found.metadata["Name"].lower(): found.version for found in distributions()},
        "settings": settings(),
        "task options": task_options(),
        "command-line options": command_options(),
        "Redis transport options": transport_options(),
    }


if __name__ == "__main__":
    extra = {"deprecations": deprecations()} if "--deprecations" in sys.argv[1:] else {}
    json.dump(facts() | extra, sys.stdout)
