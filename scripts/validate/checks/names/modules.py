"""Which modules are installed and which names they have, read from their source: nothing is imported to find out.

Only a name that the source does not show (made at run time, or in a module that has no source) is looked for by import.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path


@cache
def spec(module: str) -> ModuleSpec | None:
    """Where a module is, without importing the packages above it."""
    parent, _, _ = module.rpartition(".")
    if not parent:
        if found := PathFinder.find_spec(module):  # first: kombu, once imported, has lost its own
            return found
        try:
            return find_spec(module)
        except (ImportError, ValueError):
            return None
    above = spec(parent)
    places = above.submodule_search_locations if above else None
    found = PathFinder.find_spec(module, places) if places else None
    return found or (sys.modules[module].__spec__ if module in sys.modules else None)  # os.path


def installed(module: str) -> bool:
    return spec(module.partition(".")[0]) is not None


@cache
def text(module: str) -> str:
    """The source of a module; empty where it has none."""
    found = spec(module)
    path = Path(found.origin) if found and (found.origin or "").endswith(".py") else None
    return path.read_text(encoding="utf-8") if path else ""


@cache
def source(module: str, holding: str = "") -> ast.Module | None:
    """The syntax tree of a module, if it has a source, and if that holds a word."""
    return ast.parse(text(module)) if text(module) and holding in text(module) else None


@cache
def files(package: str) -> tuple[str, ...]:
    """The source files of a package, translations and migrations left out; none if it is not installed."""
    found = spec(package)
    read: list[str] = []
    for top in found.submodule_search_locations or () if found else ():
        for folder, below, names in os.walk(top):
            below[:] = [name for name in below if name not in ("locale", "migrations", "__pycache__")]
            paths = (Path(folder, name) for name in names if name.endswith(".py"))
            read += [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return tuple(read)


@cache
def texts(package: str) -> str:
    return "\n".join(files(package))


@cache
def says(package: str, word: str) -> bool:
    """True where the package's source has the word."""
    whole = texts(package)
    found = re.finditer(rf"{re.escape(word)}(?!\w)", whole)  # a pattern that begins with the word is searched fast
    return any(not re.match(r"\w", whole[match.start() - 1 : match.start()]) for match in found)


def has(module: str, name: str) -> bool:
    """True for a submodule, and for a name that the module binds."""
    plainly = rf"^(?:(?:async )?def |class ){re.escape(name)}\b|^{re.escape(name)}(?:: .+)? = "
    if re.search(plainly, text(module), re.MULTILINE) or spec(f"{module}.{name}") or name in names(module):
        return True
    try:
        return hasattr(importlib.import_module(module), name)
    except Exception:  # whatever a foreign module raises where it cannot be imported here
        return False


def resolves(path: str) -> bool:
    """True where ``a.b.c`` is a module, or a name of the module ``a.b``; what a class has is not looked at."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        if spec(module) is not None:
            return end == len(parts) or has(module, parts[end])
    return False


@cache
def names(module: str) -> frozenset[str]:
    """The names a module's source binds at its top level, in ``if`` and ``try`` too, and lists in ``__all__``."""
    tree = source(module)
    return frozenset(_bound(tree.body, module)) if tree else frozenset()


def _bound(body: list[ast.stmt], module: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            if "global " in text(module):
                yield from (name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names)
        elif isinstance(node, ast.Import):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.names[0].name == "*":
                yield from names(_absolute(node, module))
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id
                    if inner.id == "__all__" and node.value:
                        constants = (item for item in ast.walk(node.value) if isinstance(item, ast.Constant))
                        yield from (item.value for item in constants if isinstance(item.value, str))
        for slot in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
                yield from _bound(getattr(node, slot, []), module)
        for handler in getattr(node, "handlers", []):
            yield from _bound(handler.body, module)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    found = spec(module)
    package = module if found and found.submodule_search_locations else module.rpartition(".")[0]
    above = package.rsplit(".", node.level - 1)[0]
    return f"{above}.{node.module}" if node.module else above
