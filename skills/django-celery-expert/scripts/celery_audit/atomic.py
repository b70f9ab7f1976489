"""What opens a database transaction, what waits for its commit, and who calls whom while one is open."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .infer import annotation, assigned, constant, local_values, own_nodes
from .module import MAX_DEPTH, Function, Module, argument, enclosing, keyword, parents, scope
from .project import Project

ATOMIC = {
    "django.db.transaction.atomic", "django.db.transaction.Atomic", "django.db.transaction.commit_on_success",
    "django.db.atomic",
}  # fmt: skip
ON_COMMIT = {"django.db.transaction.on_commit", "django.db.connection.on_commit"}
EXIT_STACKS = {"contextlib.ExitStack", "contextlib.AsyncExitStack"}
METHOD_DECORATOR = "django.utils.decorators.method_decorator"
UNKNOWN_ALIAS = object()  # true, as a name is: a transaction, of a database that the source does not tell
MAX_CALLERS = 4  # how far up the calls of a helper are followed


class Opening(NamedTuple):
    """What holds a transaction open at a node."""

    node: ast.AST  # the with statement, or the decorated function or class
    alias: object  # the database's name, "default" when none is given, or UNKNOWN_ALIAS


class Call(NamedTuple):
    """A call of a function of the project."""

    node: ast.Call
    module: Module


def atomic_around(node: ast.AST, module: Module, project: Project) -> ast.AST | None:
    """The ``with transaction.atomic()`` or decorated function whose transaction is open at a node, if any."""
    return next((opening.node for opening in openings(node, module, project)), None)


def openings(node: ast.AST, module: Module, project: Project) -> Iterator[Opening]:
    """The transactions that the function around a node holds open there, innermost first.

    A function or lambda inside the block runs when it is called, so the search ends at its edge.
    """
    function = scope(node)
    child = node
    for parent in parents(node):
        if isinstance(parent, ast.ExceptHandler) and _gives_up(parent):
            return  # what is told about a failure must not wait for a commit that never comes
        if isinstance(parent, (ast.With, ast.AsyncWith)) and child in parent.body:
            for item in reversed(parent.items):
                alias = opens(item.context_expr, module, project)
                if alias is None:
                    alias = _entered(item, parent, node, module, project)
                if alias is not None:
                    yield Opening(parent, alias)
        if parent is function:
            break
        child = parent
    if isinstance(function, Function):
        for decorator in function.decorator_list:
            alias = opens(decorator, module, project)
            if alias is not None:
                yield Opening(function, alias)
        owner = getattr(function, "parent", None)
        if isinstance(owner, ast.ClassDef):
            for decorator in owner.decorator_list:
                if _decorates(decorator, function.name):
                    alias = opens(decorator, module, project)
                    if alias is not None:
                        yield Opening(owner, alias)


def opens(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> object:
    """The alias of the database whose transaction a context manager or decorator opens; None when it opens none."""
    if node is None or depth > 4:
        return None
    if isinstance(node, ast.IfExp):
        return opens(node.body, module, project, depth + 1) and opens(node.orelse, module, project, depth + 1)
    call = node if isinstance(node, ast.Call) else None
    name = project.meaning(call.func if call else node, module)
    if name is None:
        return opens(assigned(node), module, project, depth + 1) if isinstance(node, ast.Name) else None
    if name in ATOMIC:
        using = argument(call, 0, "using") if call else None
        if using is None or (isinstance(using, ast.Constant) and using.value is None):
            return "default"
        value = constant(using, module)
        return value if isinstance(value, str) else UNKNOWN_ALIAS if not _is_replica(using) else None
    if name == METHOD_DECORATOR:
        return opens(call.args[0], module, project, depth + 1) if call and call.args else None
    if name == "functools.partial" and call and call.args:
        return opens(call.args[0], module, project, depth + 1) and UNKNOWN_ALIAS
    return UNKNOWN_ALIAS if _own(name, project, depth) else None


def _is_replica(using: ast.expr) -> bool:
    """Whether an alias's own name says that nothing is written there."""
    return "replica" in ast.dump(using).lower()


def _own(name: str, project: Project, depth: int) -> bool:
    """Whether a function, class or value of the project opens a transaction; each is looked at once."""
    known = _known(project)
    if name not in known:
        known[name] = False  # ends a cycle
        found = project.definition(name)
        if found is not None:
            known[name] = _opens_itself(found[1], found[0], project, depth)
    return known[name]


@lru_cache(maxsize=2)
def _known(project: Project) -> dict[str, bool]:  # noqa: ARG001  one for each project
    return {}


def _opens_itself(node: ast.AST, module: Module, project: Project, depth: int) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(name in ATOMIC for name, *_ in project.bases(node, module))
    if not isinstance(node, ast.FunctionDef):
        return isinstance(node, (ast.Name, ast.Attribute, ast.Call)) and bool(opens(node, module, project, depth + 1))
    if not module.mentions(b"atomic", b"Atomic"):
        return False
    if any(module.called(d) == "contextlib.contextmanager" for d in node.decorator_list):
        places = [part for part in own_nodes(node) if isinstance(part, ast.Yield)]
        return bool(places) and all(_is_inside(place, module, project) for place in places)
    answers = [part.value for part in own_nodes(node) if isinstance(part, ast.Return) and part.value is not None]
    if answers and all(opens(answer, module, project, depth + 1) for answer in answers):
        return True
    wrapped = [part for part in ast.walk(node) if isinstance(part, ast.Call) and _calls_what_it_decorates(part, node)]
    return bool(wrapped) and all(_is_inside(call, module, project) for call in wrapped)


def _is_inside(node: ast.AST, module: Module, project: Project) -> bool:
    return next(openings(node, module, project), None) is not None


def _calls_what_it_decorates(call: ast.Call, outermost: ast.FunctionDef) -> bool:
    """Whether a call is that of the decorated function: of a parameter of a function around the one it stands in."""
    if not isinstance(call.func, ast.Name):
        return False
    inner = scope(call)
    if inner is None or inner is outermost:
        return False
    around = [parent for parent in parents(inner) if isinstance(parent, Function)]
    return any(call.func.id == arg.arg for function in around for arg in function.args.args)


def _entered(
    item: ast.withitem, block: ast.With | ast.AsyncWith, node: ast.AST, module: Module, project: Project
) -> object:
    """The alias of a transaction entered by ``stack.enter_context(atomic())`` in a statement before the node."""
    if not isinstance(item.optional_vars, ast.Name) or module.called(item.context_expr) not in EXIT_STACKS:
        return None
    for statement in block.body:
        if statement.lineno >= node.lineno:  # type: ignore[attr-defined]
            return None
        value = getattr(statement, "value", None)
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr == "enter_context"
            and isinstance(value.func.value, ast.Name)
            and value.func.value.id == item.optional_vars.id
            and value.args
        ):
            alias = opens(value.args[0], module, project)
            if alias is not None:
                return alias
    return None


def _decorates(decorator: ast.expr, method: str) -> bool:
    """Whether a class's ``@method_decorator(…, name="post")`` is for that method."""
    name = keyword(decorator, "name") if isinstance(decorator, ast.Call) else None
    return isinstance(name, ast.Constant) and name.value == method


def _gives_up(handler: ast.ExceptHandler) -> bool:
    """Whether an except block ends in ``raise`` or rolls back: its transaction is lost."""
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Attribute) and node.attr in ("set_rollback", "rollback"))
        for node in own_nodes(handler)
    )


# Waiting for the commit.


def is_on_commit(call: ast.AST | None, module: Module, project: Project) -> bool:
    """Whether a call is ``transaction.on_commit(…)`` or ``connection.on_commit(…)``."""
    if not isinstance(call, ast.Call):
        return False
    name = project.meaning(call.func, module)
    if name is not None:
        return name in ON_COMMIT
    if isinstance(call.func, ast.Attribute) and call.func.attr == "on_commit":  # connections["other"].on_commit
        target = call.func.value
        return isinstance(target, ast.Subscript) and module.qualified(target.value) == "django.db.connections"
    return False


def callback(call: ast.Call) -> ast.expr | None:
    """What is given to ``on_commit``."""
    return argument(call, 0, "func")


# Calls.


def callers(function: ast.AST, project: Project) -> list[Call]:
    """The calls of a function, method or nested function that the source shows, each where it runs at once."""
    index = _calls(project)
    if function not in index.known:
        found = [
            Call(call, module)
            for module, call in index.by_name.get(function.name, ())  # type: ignore[attr-defined]
            if callee(call, module, project) is function
        ]
        index.known[function] = found
    return index.known[function]


class _Calls(NamedTuple):
    by_name: dict[str, list[tuple[Module, ast.Call]]]
    known: dict[ast.AST, list[Call]]


@lru_cache(maxsize=2)
def _calls(project: Project) -> _Calls:
    by_name: dict[str, list[tuple[Module, ast.Call]]] = defaultdict(list)
    for module in project.modules:
        for call in module.find(ast.Call):
            func = call.func
            if isinstance(func, ast.Name):
                by_name[func.id].append((module, call))
                real = module.imports.get(func.id, "").rpartition(".")[2]
                if real and real != func.id:  # imported under another name
                    by_name[real].append((module, call))
            elif isinstance(func, ast.Attribute):
                by_name[func.attr].append((module, call))
    return _Calls(by_name, {})


def callee(call: ast.Call, module: Module, project: Project) -> ast.AST | None:
    """The project's function or method that a call runs, when the source tells."""
    func = call.func
    if isinstance(func, ast.Name):
        nested = _nested(func)
        if nested is not None:
            return nested
        found = project.definition(project.meaning(func, module))
        return found[1] if found and isinstance(found[1], Function) else None
    if not isinstance(func, ast.Attribute):
        return None
    owner = _class_of(func.value, module, project)
    if owner is not None:
        return method_of(owner[1], owner[0], func.attr, project, above=_is_super(func.value))
    found = project.definition(project.meaning(func, module))
    return found[1] if found and isinstance(found[1], Function) else None


def _nested(name: ast.Name) -> ast.AST | None:
    """The function inside a function that a name stands for."""
    function = scope(name)
    while function is not None:
        if isinstance(function, Function):
            for node in own_nodes(function):
                if isinstance(node, Function) and node.name == name.id:
                    return node
        function = scope(function)
    return None


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _class_of(node: ast.expr, module: Module, project: Project) -> tuple[Module, ast.ClassDef] | None:
    """The class behind ``self``, ``cls``, ``super()``, ``Class``, ``Class()`` or a variable or parameter of one."""
    if (isinstance(node, ast.Name) and node.id in ("self", "cls")) or _is_super(node):
        around = enclosing(node, ast.ClassDef)
        return (module, around) if around is not None else None
    name = project.meaning(node, module)
    if name is None and isinstance(node, ast.Name):
        value = assigned(node)
        name = (
            project.meaning(value.func, module)
            if isinstance(value, ast.Call)
            else project.resolve(annotation(node, module), module.path)
        )
    elif isinstance(node, ast.Call):
        name = project.meaning(node.func, module)
    found = project.definition(name)
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def method_of(owner: ast.ClassDef, module: Module, name: str, project: Project, above: bool = False) -> ast.AST | None:
    """A class's method, its own or inherited within the project; with ``above`` only inherited."""
    classes = [] if above else [owner]
    classes += [node for _, _, node in project.bases(owner, module) if node is not None]
    for node in classes[:MAX_DEPTH]:
        for part in node.body:
            if isinstance(part, Function) and part.name == name:
                return part
    return None


class Step(NamedTuple):
    """A place that runs while a dispatch is on its way: the dispatch itself, or a call that leads to it."""

    node: ast.AST
    module: Module
    function: ast.AST | None  # the function it stands in
    depth: int  # 0: the dispatch


def ways_to(node: ast.AST, module: Module, project: Project) -> Iterator[Step]:
    """The node, then the calls of the function it stands in, and of theirs, near to far.

    A lambda or nested function that is handed on runs later: only calls by name lead on.
    """
    seen: set[ast.AST] = set()
    front = [Step(node, module, scope(node), 0)]
    while front:
        following: list[Step] = []
        for step in front:
            function = step.function
            if _asks_for_transaction(step.node, function):
                continue
            yield step
            if isinstance(function, Function) and function not in seen and step.depth < MAX_CALLERS:
                seen.add(function)
                if not any("commit" in ast.dump(d) for d in function.decorator_list):
                    following += [
                        Step(call.node, call.module, scope(call.node), step.depth + 1)
                        for call in callers(function, project)
                        if _can_reach(step.node, function, call)
                    ]
        front = following


def _asks_for_transaction(node: ast.AST, function: ast.AST | None) -> bool:
    """Whether the code looks if a transaction is open before it decides how to publish."""
    for parent in parents(node):
        if isinstance(parent, ast.If) and any(
            isinstance(part, ast.Attribute) and part.attr in ("in_atomic_block", "get_autocommit")
            for part in ast.walk(parent.test)
        ):
            return True
        if parent is function:
            break
    return False


def _can_reach(node: ast.AST, function: ast.FunctionDef | ast.AsyncFunctionDef, call: Call) -> bool:
    """Whether a call's constant arguments let it come to a node of the called function: no ``notify=False`` bars it."""
    child = node
    for parent in parents(node):
        if isinstance(parent, ast.If) and (child in parent.body or child in parent.orelse):
            answer = _answer(parent.test, function, call)
            if answer is not None and answer != (child in parent.body):
                return False
        if parent is function:
            break
        child = parent
    return True


def _answer(test: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, call: Call) -> bool | None:
    """What a condition on the function's own flags is for a call; None when that cannot be told."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _answer(test.operand, function, call)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        decides = isinstance(test.op, ast.Or)  # a true part decides an `or`, a false one an `and`
        answers = [_answer(part, function, call) for part in test.values]
        return decides if decides in answers else None
    if not isinstance(test, ast.Name) or len(local_values(function, test.id)) != 1:
        return None
    given = _given(test.id, function, call)
    return bool(given.value) if isinstance(given, ast.Constant) else None


def _given(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef, call: Call) -> ast.expr | None:
    """What a call gives for a parameter, the default if it gives nothing."""
    if any(isinstance(arg, ast.Starred) for arg in call.node.args) or any(w.arg is None for w in call.node.keywords):
        return None
    written = keyword(call.node, name)
    if written is not None:
        return written
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    names = [each.arg for each in positional]
    if name in names:
        place = names.index(name)
        bound = isinstance(call.node.func, ast.Attribute) and names[0] in ("self", "cls")
        given = place - 1 if bound else place
        if given < len(call.node.args):
            return call.node.args[given]
        default = place - (len(positional) - len(arguments.defaults))
        return arguments.defaults[default] if default >= 0 else None
    defaults = {each.arg: value for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults)}
    return defaults.get(name)
