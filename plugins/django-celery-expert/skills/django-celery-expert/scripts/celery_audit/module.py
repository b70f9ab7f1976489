"""One parsed Python file: its nodes by type, in one walk, and what its names mean."""

from __future__ import annotations

import ast
import io
import re
import sys
import threading
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TypeVar

N = TypeVar("N", bound=ast.AST)
Function = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_DEPTH = 50  # of chained attributes, re-exports and expressions that are followed
MAX_NESTING = 1_000  # of nodes in one another; code that people write stays below 100
LINE_END = re.compile(r"\r\n|\r|\n")  # as Python counts lines; `str.splitlines` also splits at form feeds and others
BIG_STACK = 256 << 20  # bytes; enough for 2 MB of `a.b.b.b…` before Python 3.11


class Unreadable(Exception):
    """The file cannot be parsed; the message is one line that says why."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


class Module:
    """A Python file. ``path`` is relative to the audited folder, with slashes; ``name`` is its dotted name from there.

    Every node has a ``parent``. ``imports`` maps local names to what they stand for: ``{"task": "celery.shared_task"}``
    """

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.tree = parse(source)
        self.tree.owner = self  # type: ignore[attr-defined]  # so that every node leads to its file
        self.source = source
        parts = PurePosixPath(path).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.is_migration = "migrations" in parts[:-1]
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []  # modules of `from x import *`
        self.definitions: dict[str, ast.AST] = {}  # top-level functions and classes by name
        self.assignments: dict[str, list[ast.expr]] = defaultdict(list)  # top-level values by name, in order
        self._nodes: dict[type, list[ast.AST]] = defaultdict(list)
        self._walk()

    def _walk(self) -> None:
        self.tree.nesting = 0  # type: ignore[attr-defined]
        stack: list[ast.AST] = [self.tree]
        nodes = self._nodes
        while stack:
            node = stack.pop()
            nodes[type(node)].append(node)
            children = children_of(node)
            if not children:
                continue
            nesting = node.nesting + 1  # type: ignore[attr-defined]
            if nesting > MAX_NESTING:
                raise Unreadable(f"nested more than {MAX_NESTING:,} deep, not looked at", getattr(node, "lineno", 1))
            for child in children:
                child.parent = node  # type: ignore[attr-defined]
                child.nesting = nesting  # type: ignore[attr-defined]
            stack.extend(reversed(children))
        for node in self.find(ast.Import):
            for alias in node.names:
                self.imports[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        for node in self.find(ast.ImportFrom):
            source = self._absolute(node)
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(source)
                else:
                    self.imports[alias.asname or alias.name] = f"{source}.{alias.name}"
        for node in _top_level(self.tree):
            if isinstance(node, (*Function, ast.ClassDef)):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.assignments[target.id].append(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.assignments[node.target.id].append(node.value)

    def _absolute(self, node: ast.ImportFrom) -> str:
        """The dotted module that a ``from`` import names, relative ones resolved."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".") if self.name else []
        up = node.level - 1 if self.is_package else node.level
        parts = parts[: len(parts) - up] if up else parts
        return ".".join([*parts, *([node.module] if node.module else [])])

    def find(self, *types: type[N]) -> Iterator[N]:
        """All nodes of these very types, in the order of the file (per type)."""
        for kind in types:
            yield from self._nodes[kind]  # type: ignore[misc]

    @property
    def lines(self) -> list[str]:
        """The file's lines, decoded; made when a report or a ``noqa`` asks."""
        if not hasattr(self, "_lines"):
            self._lines = LINE_END.split(_decode(self.source))
        return self._lines

    def mentions(self, *words: bytes) -> bool:
        """Whether the file's bytes hold any of the words: the cheap question before a dear one."""
        return any(word in self.source for word in words)

    def qualified(self, node: ast.AST | None) -> str | None:
        """What a name or attribute chain stands for: ``transaction.atomic`` → ``django.db.transaction.atomic``.

        A name of this file's own top level is ``<module>.<name>``. None for what is no plain chain of names, and for
        local variables.
        """
        attributes: list[str] = []
        while isinstance(node, ast.Attribute) and len(attributes) < MAX_DEPTH:
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.imports:
            base = self.imports[node.id]
        elif node.id in self.definitions or node.id in self.assignments:
            base = f"{self.name}.{node.id}"
        else:
            return None
        return ".".join([base, *reversed(attributes)])

    def called(self, node: ast.AST | None) -> str | None:
        """What a call, or a decorator with or without its parentheses, calls."""
        return self.qualified(node.func if isinstance(node, ast.Call) else node)


def parents(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes around a node, innermost first."""
    while (node := getattr(node, "parent", None)) is not None:  # type: ignore[assignment]
        yield node


def enclosing(node: ast.AST, *types: type[N]) -> N | None:
    """The innermost node of one of the types around a node."""
    return next((parent for parent in parents(node) if isinstance(parent, types)), None)


def scope(node: ast.AST) -> ast.AST | None:
    """The function or lambda whose body a node belongs to, or None at module or class level.

    Decorators, defaults and annotations belong to the scope around their function.
    """
    child = node
    for parent in parents(node):
        if isinstance(parent, Function):
            # The body may be long and is asked about often; what stands around it is short.
            if child is not parent.args and child is not parent.returns and child not in parent.decorator_list:
                return parent
        elif isinstance(parent, ast.Lambda) and child is parent.body:
            return parent
        child = parent
    return None


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument that is written out."""
    return next((word.value for word in call.keywords if word.arg == name), None)


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """The value of an argument given by position or by name; None when absent or behind a star."""
    before = call.args[: position + 1]
    if len(before) == position + 1 and not any(isinstance(value, ast.Starred) for value in before):
        return before[position]
    return keyword(call, name)


def has_open_keywords(call: ast.Call) -> bool:
    """Whether the call takes ``**options`` that the source does not show."""
    return any(word.arg is None for word in call.keywords)


def children_of(node: ast.AST) -> list[ast.AST]:
    """As `ast.iter_child_nodes`, sooner, and without ``ctx``, whose nodes are the same objects all over a tree."""
    children = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            children += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST) and name != "ctx":
            children.append(value)
    return children


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import, also those under ``if`` and ``try``."""
    stack: list[ast.stmt] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            inner = [*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            for handler in getattr(node, "handlers", ()):
                inner += handler.body
            stack.extend(reversed(inner))


def parse(source: bytes | str, mode: str = "exec") -> ast.AST:
    """Parse without warnings; whatever goes wrong is `Unreadable`.

    Before Python 3.11 the parser recurses without a limit, so a long chain would end the process: it gets a stack that
    the longest file cannot exhaust.
    """
    if sys.version_info >= (3, 11) or len(source) < 60_000:
        return _parse(source, mode)
    done: list[ast.AST | Exception] = []

    def run() -> None:
        try:
            done.append(_parse(source, mode))
        except Exception as error:  # raised again below
            done.append(error)

    before = threading.stack_size(BIG_STACK)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


def _parse(source: bytes | str, mode: str) -> ast.AST:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, mode=mode)
    except SyntaxError as error:
        raise Unreadable(_why(error), error.lineno or 1) from error
    except (RecursionError, MemoryError):
        raise Unreadable("nested too deeply to parse") from None
    except (ValueError, LookupError) as error:  # null bytes; a codec that is no text encoding
        raise Unreadable(f"not Python: {error}") from error


# What a line looks like that this interpreter is too old for, and the first version that reads it.
NEWER = (
    ((3, 10), re.compile(r"\s*(match|case)\b.*:")),
    ((3, 11), re.compile(r"\s*except\s*\*")),
    ((3, 12), re.compile(r"\s*(async\s+def|def|class|type)\s+\w+\s*\[|.*\b[rR]?[fF][rR]?[\"']")),
    ((3, 14), re.compile(r".*\b[rR]?[tT][rR]?[\"']|\s*except\s+[\w.]+\s*,\s*[\w.]+(\s*,\s*[\w.]+)*\s*:")),
)
PYTHON_2 = re.compile(
    r"\s*(print|exec)\s+[^=(\s]|\s*except\s+[^:]+,\s*[a-z]\w*\s*:|\s*raise\s+[\w.]+\s*,|.*(<>|`|\b0\d+|\b\d+[lL]\b)"
    r"|.*\b[uU][rR][\"']"
)


def _why(error: SyntaxError) -> str:
    """One line on why a file was not parsed, with a guess at the Python it was written for."""
    version = "Python %d.%d" % sys.version_info[:2]  # noqa: UP031
    message = " ".join(str(error.msg).split())
    line = error.text or ""
    if "print" in message or "exec" in message or PYTHON_2.match(line):
        return f"not valid for {version}: {message} (Python 2?)"
    for newer, form in NEWER:
        if sys.version_info < newer and form.match(line):
            return f"not valid for {version}: {message} (needs Python {newer[0]}.{newer[1]}?)"
    return f"not valid for {version}: {message}"


def _decode(source: bytes) -> str:
    """The text as Python reads it: a byte order mark or a coding comment tells how."""
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(source).readline)[0]
        return source.decode(encoding, errors="replace")
    except (SyntaxError, LookupError, ValueError):
        return source.decode("utf-8", errors="replace")
