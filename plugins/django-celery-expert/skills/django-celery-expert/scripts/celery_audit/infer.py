"""What an expression is worth, as far as the source tells: constants, and the local variable behind a name.

Everything here prefers not to know: UNKNOWN and None are the answers whenever two readings are possible.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from typing import Any

from .module import MAX_DEPTH, Function, Module, Unreadable, children_of, keyword, parents, parse, scope

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda _: "UNKNOWN", "__bool__": lambda _: False})()
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
MAX_STEPS = 2_000  # of one evaluation; the longest list of names has fewer
MAX_NUMBER = 10**100
MAX_TEXT = 100_000
SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1, "milliseconds": 0.001}
TIMEDELTA_ORDER = ("days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks")


def constant(node: ast.AST | None, module: Module) -> Any:  # noqa: ANN401
    """The value of a literal, of arithmetic on literals, or of a module constant assigned once; else UNKNOWN.

    Tuples, lists, sets and dicts are values when all their parts are.
    """
    return _constant(node, module, 0, [MAX_STEPS])


def _constant(node: ast.AST | None, module: Module, depth: int, left_over: list[int]) -> Any:  # noqa: ANN401
    """`constant`, at most so deep and so many steps: names that name each other twice would double both at each."""
    left_over[0] -= 1
    if node is None or depth > MAX_DEPTH or left_over[0] < 0:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        value = _constant(node.operand, module, depth + 1, left_over)
        if isinstance(node.op, ast.Not):
            return UNKNOWN if value is UNKNOWN else not value
        return -value if isinstance(value, (int, float)) else UNKNOWN
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left = _constant(node.left, module, depth + 1, left_over)
        right = _constant(node.right, module, depth + 1, left_over)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            try:
                value = ARITHMETIC[type(node.op)](left, right)
            except (ArithmeticError, ValueError):
                return UNKNOWN
            return value if isinstance(value, float) or abs(value) < MAX_NUMBER else UNKNOWN
        if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
            return left + right if len(left) + len(right) < MAX_TEXT else UNKNOWN
        return UNKNOWN
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        parts = [_constant(part, module, depth + 1, left_over) for part in node.elts]
        if any(part is UNKNOWN for part in parts):
            return UNKNOWN
        return tuple(parts) if isinstance(node, ast.Tuple) else parts
    if isinstance(node, ast.Name):
        local = assigned(node)
        if local is not None:
            return _constant(local, module, depth + 1, left_over)
        values = module.assignments.get(node.id, ())
        return _constant(values[0], module, depth + 1, left_over) if len(values) == 1 else UNKNOWN
    return UNKNOWN


def seconds(node: ast.AST | None, module: Module) -> float | None:
    """A duration in seconds: a number, or a ``timedelta(...)`` of numbers; None when it cannot be told."""
    value = constant(node, module)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    if isinstance(node, ast.Call) and module.called(node) == "datetime.timedelta":
        total = 0.0
        parts = [*zip(TIMEDELTA_ORDER, node.args), *((word.arg, word.value) for word in node.keywords)]
        for unit, part in parts:
            number = constant(part, module)
            if not isinstance(number, (int, float)) or unit is None:
                return None
            total += number * SECONDS.get(unit, 0.000_001)
        return total
    return None


def assigned(name: ast.Name) -> ast.expr | None:
    """The value a local variable holds at a use, when the function assigns it exactly once, by a plain assignment."""
    function = scope(name)
    while isinstance(function, ast.Lambda):
        function = scope(function)
    if function is None:
        return None
    values = local_values(function, name.id)
    return values[0] if len(values) == 1 else None


def local_values(function: ast.AST, name: str) -> list[ast.expr | None]:
    """What a function binds a name to, one entry a binding; None for a binding that has no value (loop, with, …)."""
    return _bindings(function).get(name, [])


def binding_scope(name: ast.Name) -> ast.AST | None:
    """The innermost function around a name that binds it; None for names of the module."""
    function = scope(name)
    while function is not None:
        if local_values(function, name.id):
            return function
        function = scope(function)
    return None


def _bindings(function: ast.AST) -> dict[str, list[ast.expr | None]]:
    """Each local name and its bindings, parameters included; kept on the function's node."""
    kept = getattr(function, "bindings", None)
    if kept is not None:
        return kept
    bindings: dict[str, list[ast.expr | None]] = {}
    arguments = function.args  # type: ignore[attr-defined]
    for parameter in every_parameter(arguments):
        bindings.setdefault(parameter.arg, []).append(None)
    for node in own_nodes(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            parent = node.parent  # type: ignore[attr-defined]
            plain = (isinstance(parent, ast.Assign) and node in parent.targets) or (
                isinstance(parent, (ast.AnnAssign, ast.NamedExpr)) and node is parent.target
            )
            bindings.setdefault(node.id, []).append(parent.value if plain else None)
    function.bindings = bindings  # type: ignore[attr-defined]
    return bindings


def every_parameter(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters of a function, ``*args`` and ``**kwargs`` included, in order."""
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *stars]


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, in order, without those of functions and classes defined inside it.

    Many rules ask for the same function's, so they are kept on its node.
    """
    kept = getattr(function, "own", None)
    if kept is None:
        kept = function.own = list(_own_nodes(function))  # type: ignore[attr-defined]
    return iter(kept)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    body = function.body  # type: ignore[attr-defined]
    stack: list[ast.AST] = list(reversed(body)) if isinstance(body, list) else [body]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*Function, ast.Lambda, ast.ClassDef)):
            stack.extend(reversed(children_of(node)))


def annotation(name: ast.Name, module: Module) -> str | None:
    """What the parameter behind a name is annotated with: ``order: Order`` → ``orders.models.Order``."""
    function = scope(name)
    while isinstance(function, ast.Lambda):
        function = scope(function)
    if function is None or local_values(function, name.id) != [None]:
        return None
    for parameter in every_parameter(function.args):  # type: ignore[attr-defined]
        if parameter.arg == name.id and parameter.annotation is not None:
            node = parameter.annotation
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    node = parse(node.value, "eval").body  # type: ignore[attr-defined]
                except Unreadable:
                    return None
            return module.qualified(node)
    return None


def loop_of(name: ast.Name) -> ast.For | ast.comprehension | None:
    """The ``for`` around a name that binds it, if any."""
    for parent in parents(name):
        if isinstance(parent, (ast.For, ast.AsyncFor)):
            if any(isinstance(part, ast.Name) and part.id == name.id for part in ast.walk(parent.target)):
                return parent  # type: ignore[return-value]
        elif isinstance(parent, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            for generator in parent.generators:
                if any(isinstance(part, ast.Name) and part.id == name.id for part in ast.walk(generator.target)):
                    return generator
        elif isinstance(parent, Function):
            return None
    return None


def mapping(node: ast.AST | None, module: Module) -> dict[str, ast.expr] | None:
    """The parts of a dict display or ``dict(...)`` call with plain text keys; None when some key cannot be read."""
    if isinstance(node, ast.Name):
        values = module.assignments.get(node.id, [])
        node = assigned(node) or (values[0] if len(values) == 1 else None)
    if isinstance(node, ast.Dict):
        if any(not (isinstance(key, ast.Constant) and isinstance(key.value, str)) for key in node.keys):
            return None
        return {key.value: value for key, value in zip(node.keys, node.values)}  # type: ignore[union-attr]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        if any(word.arg is None for word in node.keywords):
            return None
        return {word.arg: word.value for word in node.keywords if word.arg}
    return None


def default_of_environment(node: ast.AST | None) -> ast.expr | None:
    """The default in ``os.environ.get("X", default)``, ``env("X", default=…)``, ``config("X", default=…)``."""
    if not isinstance(node, ast.Call):
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = keyword(node, "default")
    if (
        given is None
        and len(node.args) == 2
        and name in ("get", "getenv", "env", "config", "str", "int", "bool", "url")
    ):
        given = node.args[1]
    return given
