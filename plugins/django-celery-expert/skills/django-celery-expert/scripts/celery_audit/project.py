"""What a project consists of, for Celery: apps, tasks, dispatches, settings, Beat entries, deployment files.

Built once, before any rule runs. Real projects wrap ``shared_task``, re-export tasks, split settings and import under
other names: all of that is resolved here, so that a rule sees a `Task` or a `Dispatch` and no spelling.
"""

from __future__ import annotations

import ast
import os
import traceback
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, NamedTuple

from .configuration import VISIBILITY, Setting, families, find_settings, kind_of_url, text_of, value_of
from .files import PYTHON, PYTHON_PATH, Files, is_test
from .infer import UNKNOWN, assigned, binding_scope, constant, default_of_environment, mapping, own_nodes
from .module import LINE_END, MAX_DEPTH, Function, Module, Unreadable, has_open_keywords, keyword, parents

DECORATORS = {
    "celery.shared_task", "celery.app.shared_task", "celery.app.base.shared_task", "celery.task", "celery.task.task",
    "celery.decorators.task", "celery.task.periodic_task", "celery.decorators.periodic_task",
}  # fmt: skip
TASK_BASES = {"celery.Task", "celery.app.task.Task", "celery.task.Task", "celery.contrib.django.task.DjangoTask"}
APP_CLASSES = {"celery.Celery", "celery.app.Celery", "celery.app.base.Celery"}
APP_NAMES = {"app", "celery", "celery_app", "capp", "current_app"}
PUBLISHES = {"delay", "apply_async", "delay_on_commit", "apply_async_on_commit"}
SIGNATURES = {"s", "si", "signature", "subtask"}
CANVAS = {
    f"celery{place}.{name}" for place in ("", ".canvas") for name in ("chain", "group", "chord", "chunks", "signature")
}


MAX_LINE = 10_000  # characters of a deployment file's line; what is longer is data


@dataclass(eq=False)
class Task:
    """A task: a decorated function, or a class with ``run``."""

    qualified: str  # where it is defined: orders.tasks.send_receipt
    module: Module
    node: ast.AST  # the function or class, for its place
    function: ast.FunctionDef | ast.AsyncFunctionDef | None  # what runs; None for `task = shared_task(imported)`
    options: dict[str, ast.expr]  # as written, those of a project's own base class and wrapper included
    open: bool  # whether options may come from where the source does not tell
    decorator: ast.expr | None
    bound: bool | None  # whether the first parameter is the task; None: unknown

    @cached_property
    def name(self) -> str:
        """The name in messages: the explicit one, else the one Celery makes from module and function."""
        explicit = constant(self.options.get("name"), self.module)
        return explicit if isinstance(explicit, str) else self.qualified

    @property
    def has_explicit_name(self) -> bool:
        return "name" in self.options

    def option(self, name: str) -> object:
        """The constant value of an option; None when absent, UNKNOWN when it cannot be told."""
        if name not in self.options:
            return UNKNOWN if self.open else None
        return constant(self.options[name], self.module)

    @property
    def parameters(self) -> ast.arguments | None:
        """What a caller has to give: the function's parameters, the task itself left out."""
        if self.function is None or self.bound is None:
            return None
        given = self.function.args
        if not self.bound:
            return given
        positional = [*given.posonlyargs, *given.args]
        if not positional:
            return given
        first = 1 if given.posonlyargs else 0
        return ast.arguments(
            posonlyargs=given.posonlyargs[first:],
            args=given.args if first else given.args[1:],
            vararg=given.vararg,
            kwonlyargs=given.kwonlyargs,
            kw_defaults=given.kw_defaults,
            kwarg=given.kwarg,
            defaults=given.defaults,
        )


@dataclass(eq=False)
class Dispatch:
    """A call that publishes a task or makes its signature: ``task.delay(1)``, ``task.si(1)``, ``send_task("name")``."""

    call: ast.Call
    module: Module
    method: str  # delay, apply_async, delay_on_commit, apply_async_on_commit, send_task, s, si, signature
    task: Task | None  # None: a canvas, or a task that is not in this project
    target: ast.expr  # what stands before the method
    canvas: bool = False  # `chain(...)`, `group(...)`, `task.si(...)` or a variable that holds one

    @property
    def publishes(self) -> bool:
        return self.method in PUBLISHES or self.method == "send_task"

    @property
    def on_commit(self) -> bool:
        return self.method.endswith("_on_commit")

    @property
    def arguments(self) -> tuple[list[ast.expr] | None, dict[str, ast.expr] | None]:
        """The task's positional and keyword arguments; None for either that the call does not show whole."""
        call = self.call
        if self.canvas:
            return None, None
        if self.method in ("delay", "delay_on_commit", "s", "si"):
            if any(isinstance(arg, ast.Starred) for arg in call.args) or has_open_keywords(call):
                return None, None
            return list(call.args), {word.arg: word.value for word in call.keywords if word.arg}
        first = 1 if self.method == "send_task" else 0
        positional = call.args[first : first + 2]
        if has_open_keywords(call) or any(isinstance(arg, ast.Starred) for arg in call.args):
            return None, None
        args = positional[0] if positional else keyword(call, "args")
        kwargs = positional[1] if len(positional) > 1 else keyword(call, "kwargs")
        return _sequence(args), _keywords(kwargs, self.module)

    @property
    def options(self) -> dict[str, ast.expr]:
        """Execution options that are written out: ``countdown``, ``queue`` …"""
        if self.method in ("delay", "delay_on_commit", "s", "si"):
            return {}
        return {w.arg: w.value for w in self.call.keywords if w.arg and w.arg not in ("args", "kwargs", "name")}


class BeatEntry(NamedTuple):
    """An entry of ``beat_schedule``, or a call of ``add_periodic_task``."""

    key: str
    parts: dict[str, ast.expr]  # task, schedule, args, kwargs, options … as written
    node: ast.AST
    module: Module
    call: ast.Call | None = None  # of add_periodic_task


class Failure(NamedTuple):
    """Something of the audit itself broke on some code; the rest of the run goes on without it."""

    path: str
    step: str  # a rule's id, or "index"
    error: str  # one line: what, and where in the audit


class TextFile(NamedTuple):
    """A deployment file: Compose, Kubernetes, systemd, supervisor, Procfile, Dockerfile, shell."""

    path: str
    lines: list[str]


@dataclass(eq=False)
class Wrapper:
    """A function of the project that makes tasks: ``def retrying_task(**options): return shared_task(...)``."""

    options: dict[str, ast.expr]
    module: Module
    plain: bool = True  # whether it hands the function itself to Celery, not one of its own around it


@dataclass(eq=False)
class Project:
    """The index. Modules are parsed when they can matter, others on demand through `resolve`."""

    files: Files
    modules: list[Module] = field(default_factory=list)  # those that rules look at
    text: list[TextFile] = field(default_factory=list)
    apps: set[str] = field(default_factory=set)  # qualified names of Celery apps
    wrappers: dict[str, Wrapper] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    dispatches: dict[Module, list[Dispatch]] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    namespaces: set[Any] = field(default_factory=set)  # of apps configured from Django's settings; None: without one
    beat: list[BeatEntry] = field(default_factory=list)
    unparsed: list[tuple[str, int, str]] = field(default_factory=list)  # path, line, why
    failures: list[Failure] = field(default_factory=list)
    kinds_of_names: dict[str, Any] = field(default_factory=dict)  # of `kinds`: what top-level names are worth
    _loaded: dict[str, Module | None] = field(default_factory=dict)
    _resolved: dict[str, str] = field(default_factory=dict)

    # Modules and names.

    def load(self, path: str, source: bytes | None = None) -> Module | None:
        """The parsed file, made once; None, and an entry in ``unparsed``, when it is no Python 3."""
        if path not in self._loaded:
            self._loaded[path] = None
            source = self.files.read(path) if source is None else source
            if source is not None:
                try:
                    self._loaded[path] = Module(path, source)
                except Unreadable as error:
                    self.unparsed.append((path, error.line, str(error)))
                except Exception as error:  # one odd file must not end the run
                    self.failed(path, "index", error)
        return self._loaded[path]

    def failed(self, path: str, step: str, error: Exception) -> None:
        """Note that a step of the audit raised, once for each file."""
        if not any(failure[:2] == (path, step) for failure in self.failures):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
            said = " ".join(str(error).split())[:200]
            self.failures.append(Failure(path, step, f"{type(error).__name__} at {place}: {said}".rstrip(": ")))

    @cached_property
    def _by_suffix(self) -> dict[str, list[str]]:
        """Paths by every dotted name they may be imported as: ``src/shop/a.py`` as src.shop.a, shop.a and a."""
        index: dict[str, list[str]] = defaultdict(list)
        for path in self.files.python:
            parts = path[:-3].split("/")
            if parts[-1] == "__init__":
                parts.pop()
            for start in range(len(parts)):
                index[".".join(parts[start:])].append(path)
        return index

    def has_module(self, dotted: str) -> bool:
        """Whether a file of the project may be imported under that name, readable or not."""
        return dotted in self._by_suffix

    def find_module(self, dotted: str, importer: str = "") -> Module | None:
        """The project's module of that dotted name; of several, the one nearest to the importing file."""
        paths = self._by_suffix.get(dotted, ())
        if not paths:
            return None
        here = importer.split("/")[:-1]

        def distance(path: str) -> tuple[int, int]:
            there = path.split("/")
            common = next((i for i, (a, b) in enumerate(zip(here, there)) if a != b), min(len(here), len(there)))
            return -common, len(there)

        return self.load(min(paths, key=distance))

    def resolve(self, qualified: str | None, importer: str = "", depth: int = 0) -> str | None:
        """Where a name is defined: re-exports and star imports are followed to the project's own definition.

        A name from outside the project comes back as it is.
        """
        if qualified is None or depth > MAX_DEPTH:
            return qualified
        if qualified in self._resolved:
            return self._resolved[qualified]
        self._resolved[qualified] = qualified  # ends a cycle of imports
        parts = qualified.split(".")
        answer = qualified
        for cut in range(len(parts) - 1, 0, -1):
            module = self.find_module(".".join(parts[:cut]), importer)
            if module is None:
                continue
            head, rest = parts[cut], parts[cut:]
            if head in module.definitions or head in module.assignments:
                answer = ".".join([module.name, *rest])
            elif head in module.imports:
                answer = self.resolve(".".join([module.imports[head], *rest[1:]]), module.path, depth + 1) or qualified
            else:
                for star in module.stars:
                    found = self.resolve(".".join([star, *rest]), module.path, depth + 1)
                    if found and self.definition(found):
                        answer = found
                        break
            break
        self._resolved[qualified] = answer
        return answer

    def definition(self, qualified: str | None) -> tuple[Module, ast.AST] | None:
        """The module and the node (function, class, or assigned value) of a resolved top-level name of the project."""
        if not qualified or "." not in qualified:
            return None
        dotted, _, name = qualified.rpartition(".")
        module = self.find_module(dotted)
        if module is None or module.name != dotted:
            return None
        if name in module.definitions:
            return module, module.definitions[name]
        if name in module.assignments:
            return module, module.assignments[name][-1]
        return None

    def meaning(self, node: ast.AST | None, module: Module) -> str | None:
        """`Module.qualified`, followed to its definition."""
        return self.resolve(module.qualified(node), module.path)

    def bases(
        self, node: ast.ClassDef, module: Module, seen: set[str] | None = None
    ) -> Iterator[tuple[str, Module | None, ast.ClassDef | None]]:
        """The classes a class derives from, near to far, each once: resolved name, and the project's module and node.

        No more than MAX_DEPTH classes: a longer chain is nobody's code.
        """
        seen = set() if seen is None else seen
        for base in node.bases:
            name = self.meaning(base, module)
            if name is None or name in seen or len(seen) > MAX_DEPTH:
                continue
            seen.add(name)
            found = self.definition(name)
            if found and isinstance(found[1], ast.ClassDef) and found[1] is not node:
                yield name, found[0], found[1]
                yield from self.bases(found[1], found[0], seen)
            else:
                yield name, None, None

    def is_model(self, qualified: str | None) -> bool:
        """Whether a name stands for a Django model class: by its bases, or by the module it is imported from."""
        found = self.definition(self.resolve(qualified))
        if found is None:
            return False
        module, node = found
        if not isinstance(node, ast.ClassDef):
            return False
        names = [name for name, *_ in self.bases(node, module)]
        return any(
            name == "django.db.models.Model"
            or name.endswith((".models.Model", ".AbstractUser", ".AbstractBaseUser", ".TimeStampedModel", ".MPTTModel"))
            for name in names
        )

    # Celery's things.

    def is_app(self, node: ast.AST, module: Module) -> bool:
        """Whether an expression stands for a Celery app."""
        name = self.meaning(node, module)
        if name is None:
            return False
        if name in self.apps or name in ("celery.current_app", "celery.app.current_app"):
            return True
        last = name.rpartition(".")[2]
        found = self.definition(name)
        return found is None and last in APP_NAMES and "celery" in name.lower()

    def task_decorator(self, node: ast.expr, module: Module) -> Wrapper | None:
        """What a decorator adds if it makes a task: an empty `Wrapper` for Celery's own, else the project's."""
        function = node.func if isinstance(node, ast.Call) else node
        if (
            isinstance(function, ast.Attribute)
            and function.attr in ("task", "periodic_task")
            and self.is_app(function.value, module)
        ):
            return Wrapper({}, module)
        name = self.meaning(function, module)
        if name in DECORATORS:
            return Wrapper({}, module)
        return self.wrappers.get(name or "")

    def task_of(self, node: ast.AST, module: Module) -> Task | None:
        """The task an expression stands for: a name, an attribute, or a local variable that holds one."""
        name = self.meaning(node, module)
        if name is not None and not (isinstance(node, ast.Name) and binding_scope(node)):
            return self.tasks.get(name)
        if isinstance(node, ast.Name):
            value = assigned(node)
            if value is not None and not isinstance(value, ast.Name):
                return self.task_of(value, module)
        return None

    @cached_property
    def each_task(self) -> list[Task]:
        """Every task once: a registered class stands in ``tasks`` under two names."""
        return list({id(task): task for task in self.tasks.values()}.values())

    @cached_property
    def by_name(self) -> dict[str, list[Task]]:
        """Tasks by the name in their messages."""
        index: dict[str, list[Task]] = defaultdict(list)
        for task in self.tasks.values():
            index[task.name].append(task)
        return index

    def named(self, name: str) -> Task | None:
        """The task of a message's name; an implicit one also matches by its end, because the import root is unknown."""
        if name in self.by_name:
            return self.by_name[name][0]
        return next(
            (t for t in self.tasks.values() if not t.has_explicit_name and t.qualified.endswith(f".{name}")), None
        )

    @cached_property
    def task_classes(self) -> dict[ast.expr, Module]:
        """The classes that apps make their tasks of: ``Celery("shop", task_cls=ShopTask)``, and where that stands."""
        found: dict[ast.expr, Module] = {}
        for name in self.apps:
            place = self.definition(name)
            if place and isinstance(place[1], ast.Call):
                given = keyword(place[1], "task_cls")
                if given is not None:
                    found[given] = place[0]
                made = self.definition(self.meaning(place[1].func, place[0]))
                if made and isinstance(made[1], ast.ClassDef):
                    for part in made[1].body:
                        if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == "task_cls":
                            found[part.value] = made[0]
        return found

    @cached_property
    def extends_json(self) -> bool:
        """Whether the project teaches kombu to encode more types, or registers serializers of its own."""
        return any(
            (module.qualified(call.func) or "").startswith("kombu.")
            and (module.qualified(call.func) or "").endswith((".register", ".register_type"))
            for module in self.modules
            if module.mentions(b"kombu")
            for call in module.find(ast.Call)
        )

    # Settings.

    @cached_property
    def _families(self) -> dict[Module, frozenset[Module]]:
        return families(self)

    def family(self, module: Module) -> frozenset[Module]:
        """The settings modules that end up in one with this one: base, production, local …; itself at least."""
        return self._families.get(module) or frozenset({module})

    @cached_property
    def by_key(self) -> dict[str, list[Setting]]:
        """Settings by the current key that they set (``task_acks_late``), or by Django's name (``USE_TZ``)."""
        index: dict[str, list[Setting]] = defaultdict(list)
        for setting in self.settings:
            index[setting.key or setting.written].append(setting)
        return index

    def setting(self, key: str, defaults: bool = False) -> list[Any]:
        """What production gives a setting, by its current lower-case key, however and wherever the project writes it.

        ``project.setting("task_acks_late")`` → ``[True]``. Empty: no production settings set it, so Celery's default
        holds. UNKNOWN stands for what is computed, read from the environment, decided by an ``if``, or written under
        a name that not every supported version reads. Several values: several settings files or apps. With
        ``defaults``, a value from the environment is worth its default in the code. Names of Django's own settings
        (``"USE_TZ"``) work too. Test for facts with ``project.setting(key) == [True]``, for possibilities with ``in``.
        """
        found: list[Any] = []
        for setting in self.by_key.get(key, ()):
            if setting.production:
                sure = not setting.conditional and (setting.in_force or not setting.key)
                value = value_of(setting.value, setting.module, self, defaults) if sure else UNKNOWN
                if not any(value is other or (type(value) is type(other) and value == other) for other in found):
                    found.append(value)
        return found

    def setting_texts(self, key: str) -> list[str | None]:
        """The texts production gives a setting: ``redis://{}:6379/0`` for an f-string, defaults of the environment
        included; None where nothing of it is known.
        """
        return [text_of(s.value, s.module, self) for s in self.by_key.get(key, ()) if s.production]

    @cached_property
    def brokers(self) -> set[str | None]:
        """The kinds of broker production uses, by URL: ``{"redis"}``, ``{"amqp"}``, ``{"sqs"}`` …; None: unknown.

        Empty when no broker is set. ``project.brokers == {"redis"}`` is the question for a fact.
        """
        return {kind_of_url(text) for text in self.setting_texts("broker_url")}

    @cached_property
    def visibility_timeout(self) -> float | None:
        """Seconds until Redis or SQS delivers an unacknowledged message again, the shortest of several settings.

        None when the broker is another or unknown, or when the transport options are computed.
        """
        kinds = self.brokers
        if len(kinds) != 1 or not kinds <= VISIBILITY.keys():
            return None
        default = VISIBILITY[next(iter(kinds))]  # type: ignore[index]
        found = []
        for setting in self.by_key.get("broker_transport_options", ()):
            if setting.production:
                options = mapping(setting.value, setting.module)
                if options is None or not setting.in_force:
                    return None
                given = options.get("visibility_timeout")
                value = default if given is None else value_of(given, setting.module, self)
                if not isinstance(value, (int, float)):
                    return None
                found.append(float(value))
        return min(found, default=default)

    @cached_property
    def atomic_requests(self) -> bool:
        """Whether production settings wrap each request in a transaction (ATOMIC_REQUESTS on some database).

        A value from the environment is worth its default.
        """
        modules = {setting.module for setting in self.settings if setting.style == "django" and setting.production}
        return any(_sets_atomic_requests(module) for module in modules)


def _sets_atomic_requests(module: Module) -> bool:
    if not module.mentions(b"ATOMIC_REQUESTS"):
        return False
    for node in module.find(ast.Dict):
        for key, value in zip(node.keys, node.values):
            if isinstance(key, ast.Constant) and key.value == "ATOMIC_REQUESTS" and is_on(value, module):
                return True
    for node in module.find(ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and constant(target.slice, module) == "ATOMIC_REQUESTS":
                return is_on(node.value, module)
    return any(
        word.arg == "ATOMIC_REQUESTS" and is_on(word.value, module)
        for call in module.find(ast.Call)
        for word in call.keywords
    )


def is_on(node: ast.expr, module: Module) -> bool:
    """Whether a setting's value is true, also by the default that an environment variable has."""
    value = constant(default_of_environment(node) or node, module)
    return value is True or value in ("True", "true", "1", 1)


def build(files: Files, progress: Callable[[int, int], None] = lambda *_: None) -> Project:
    """Parse what can matter and index it. Test code is left out; a name that leads there is still followed."""
    project = Project(files)
    for number, path in enumerate(files.python):
        progress(number, len(files.python))
        if is_test(path):
            continue
        source = files.read(path)
        if source is not None and (PYTHON.search(source) or PYTHON_PATH.search(path)):
            module = project.load(path, source)
            if module is not None:
                project.modules.append(module)
    progress(len(files.python), len(files.python))
    for path in files.text:
        source = files.read(path)
        if source is not None and b"celery" in source.lower():
            lines = LINE_END.split(source.decode("utf-8", errors="replace"))
            project.text.append(TextFile(path, [line[:MAX_LINE] for line in lines]))
    _step(project, "", _find_apps, project)
    _step(project, "", _find_wrappers, project)
    for module in project.modules:
        _step(project, module.path, _find_tasks, project, module)
    for module in project.modules:
        project.dispatches[module] = _step(project, module.path, _dispatches, project, module)
    project.settings += _step(project, "", find_settings, project)
    for module in project.modules:
        project.beat += _step(project, module.path, _beat_entries, project, module)
    return project


def _step(project: Project, path: str, step: Callable[..., Any], *arguments: object) -> list[Any]:
    """What a step of the index yields; nothing, and a note, where it raises."""
    try:
        return list(step(*arguments) or ())
    except Exception as error:
        project.failed(path, "index", error)
        return []


def _find_apps(project: Project) -> None:
    for module in project.modules:
        if not module.mentions(b"Celery"):
            continue
        for name, values in module.assignments.items():
            for value in values:
                if isinstance(value, ast.Call) and _makes_app(project, module, value):
                    project.apps.add(f"{module.name}.{name}")


def _makes_app(project: Project, module: Module, call: ast.Call) -> bool:
    name = project.meaning(call.func, module)
    if name in APP_CLASSES:
        return True
    found = project.definition(name)
    if found and isinstance(found[1], ast.FunctionDef):  # app = create_application()
        return any(project.meaning(inner.func, found[0]) in APP_CLASSES for inner in calls_in(found[1])) and any(
            isinstance(node, ast.Return) and node.value is not None for node in own_nodes(found[1])
        )
    return bool(found and isinstance(found[1], ast.ClassDef)) and any(
        base in APP_CLASSES
        for base, *_ in project.bases(found[1], found[0])  # type: ignore[index,arg-type]
    )


def _find_wrappers(project: Project) -> None:
    """Functions that return what a task decorator made; a wrapper of a wrapper is found in the next round."""
    for _ in range(3):
        before = len(project.wrappers)
        for module in project.modules:
            for name, node in module.definitions.items():
                if isinstance(node, ast.FunctionDef) and f"{module.name}.{name}" not in project.wrappers:
                    made = _makes_task(project, module, node)
                    if made is not None:
                        project.wrappers[f"{module.name}.{name}"] = made
            for name, values in module.assignments.items():  # base_task = partial(shared_task, bind=True)
                value = values[-1]
                if isinstance(value, (ast.Name, ast.Attribute)):  # our_task = shared_task
                    made = project.task_decorator(value, module)
                    if made is not None:
                        project.wrappers.setdefault(f"{module.name}.{name}", made)
                elif isinstance(value, ast.Call) and module.qualified(value.func) == "functools.partial" and value.args:
                    made = project.task_decorator(value.args[0], module)
                    if made is not None:
                        options = {word.arg: word.value for word in value.keywords if word.arg}
                        project.wrappers[f"{module.name}.{name}"] = Wrapper({**made.options, **options}, module)
        if len(project.wrappers) == before:
            return


def _makes_task(project: Project, module: Module, function: ast.FunctionDef) -> Wrapper | None:
    nodes = list(ast.walk(function))
    if not any(isinstance(part, ast.Return) for part in nodes):
        return None
    if any(project.task_decorator(decorator, module) for decorator in function.decorator_list):
        return None  # a task, whatever it makes inside
    for node in nodes:
        if isinstance(node, ast.Call):
            made = project.task_decorator(node, module)
            if made is not None:
                options = {word.arg: word.value for word in node.keywords if word.arg}
                inner = any(isinstance(part, Function) for part in nodes if part is not function)
                plain = made.plain and not inner
                return Wrapper({**made.options, **options}, module, plain)
    return None


def _find_tasks(project: Project, module: Module) -> None:
    for node in module.find(*Function):
        for decorator in node.decorator_list:
            wrapper = project.task_decorator(decorator, module)
            if wrapper is not None:
                _add_task(project, module, node, node, decorator, wrapper)
                break
    for node in module.find(ast.ClassDef):
        if any(name in TASK_BASES or name.endswith(".app.Task") for name, *_ in project.bases(node, module)):
            run = next((part for part in node.body if isinstance(part, Function) and part.name == "run"), None)
            options = {}
            for part in node.body:
                if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                    options[part.targets[0].id] = part.value
            if run is not None:
                qualified = f"{module.name}.{node.name}"
                project.tasks[qualified] = Task(qualified, module, node, run, options, True, None, True)
    for name, values in module.assignments.items():  # send = shared_task(_send), Send = app.register_task(SendTask())
        value = values[-1]
        if not isinstance(value, ast.Call) or not value.args:
            continue
        function = value.func.attr if isinstance(value.func, ast.Attribute) else ""
        inner = value.args[0]
        if function == "register_task" and isinstance(inner, ast.Call):
            task = project.tasks.get(project.meaning(inner.func, module) or "")
            if task is not None:
                project.tasks[f"{module.name}.{name}"] = task
            continue
        maker = value.func.func if isinstance(value.func, ast.Call) else value.func
        wrapper = project.task_decorator(maker, module)
        if wrapper is not None and isinstance(inner, (ast.Name, ast.Attribute)):
            found = project.definition(project.meaning(inner, module))
            run = found[1] if found and isinstance(found[1], Function) else None
            made = value.func if isinstance(value.func, ast.Call) else value
            _add_task(project, module, value, run, made, wrapper, name)


def _add_task(
    project: Project,
    module: Module,
    node: ast.AST,
    function: ast.FunctionDef | ast.AsyncFunctionDef | None,
    decorator: ast.expr,
    wrapper: Wrapper,
    name: str | None = None,
) -> None:
    written = {}
    is_open = isinstance(decorator, ast.Call) and has_open_keywords(decorator)
    if isinstance(decorator, ast.Call):
        written = {word.arg: word.value for word in decorator.keywords if word.arg}
    is_wrapped = (
        project.meaning(decorator.func if isinstance(decorator, ast.Call) else decorator, module) in project.wrappers
    )
    options = {**wrapper.options, **written}
    bind = constant(options["bind"], module) if "bind" in options else (UNKNOWN if is_open else False)
    if not wrapper.plain:
        bind = UNKNOWN  # what the function around it passes on is its own affair
    base = options.get("base")
    if base is not None:
        found = project.definition(project.meaning(base, module))
        if found and isinstance(found[1], ast.ClassDef):
            classes = [(found[0], found[1]), *((m, n) for _, m, n in project.bases(found[1], found[0]) if m and n)]
            for _, klass in reversed(classes):
                for part in klass.body:
                    if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                        options = {part.targets[0].id: part.value, **options}
        else:
            is_open = True
    qualified = f"{module.name}.{name or _path_to(node)}"
    bound = bind if isinstance(bind, bool) else None
    project.tasks[qualified] = Task(qualified, module, node, function, options, is_open or is_wrapped, decorator, bound)


def _path_to(node: ast.AST) -> str:
    """``Shop.send`` for a method, ``make.<locals>.send`` for what a function defines."""
    path = node.name  # type: ignore[attr-defined]
    for parent in parents(node):
        if isinstance(parent, ast.ClassDef):
            path = f"{parent.name}.{path}"
        elif isinstance(parent, Function):
            path = f"{parent.name}.<locals>.{path}"
    return path


def _dispatches(project: Project, module: Module) -> Iterator[Dispatch]:
    for call in module.find(ast.Call):
        if not isinstance(call.func, ast.Attribute):
            continue
        method, target = call.func.attr, call.func.value
        if method == "send_task" and (project.is_app(target, module) or module.qualified(target) == "celery"):
            name = constant(call.args[0] if call.args else keyword(call, "name"), module)
            yield Dispatch(call, module, method, project.named(name) if isinstance(name, str) else None, target)
        elif method in PUBLISHES | SIGNATURES:
            task = project.task_of(target, module)
            if task is not None:
                yield Dispatch(call, module, method, task, target)
            elif method in PUBLISHES and is_canvas(target, project, module):
                yield Dispatch(call, module, method, None, target, canvas=True)
            elif method in PUBLISHES and _looks_like_task(target, project, module):
                yield Dispatch(call, module, method, None, target)


def is_canvas(node: ast.AST | None, project: Project, module: Module) -> bool:
    """Whether an expression is a signature: ``chain(…)``, ``task.si(…)``, ``a | b``, or a variable of one."""
    stack, seen = [node], 0
    while stack and seen < MAX_DEPTH:
        node, seen = stack.pop(), seen + 1
        if isinstance(node, ast.Name):
            stack.append(assigned(node))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            stack += [node.right, node.left]
        elif isinstance(node, ast.Call):
            function = node.func
            if project.meaning(function, module) in CANVAS:
                return True
            if isinstance(function, ast.Attribute):
                before = function.value
                if function.attr in SIGNATURES:
                    if project.task_of(before, module) is not None or _looks_like_task(before, project, module):
                        return True
                elif function.attr in ("set", "on_error", "clone"):
                    stack.append(before)
            elif isinstance(function, ast.Call):  # chord(header)(body)
                stack.append(function)
    return False


def _looks_like_task(node: ast.AST, project: Project, module: Module) -> bool:
    """Whether a name that is no task of this project is one of a package's: imported from a module called tasks."""
    name = module.qualified(node)
    if name is None or project.definition(project.resolve(name, module.path)):
        return False
    parts = name.split(".")
    return len(parts) > 2 and parts[-2] in ("tasks", "celery_tasks") and not isinstance(node, ast.Call)


def _beat_entries(project: Project, module: Module) -> Iterator[BeatEntry]:
    """Entries of every dict that is, or is merged into, a ``…BEAT_SCHEDULE``; calls of ``add_periodic_task``; and
    dicts elsewhere whose schedule is one of Celery's.
    """
    if not module.mentions(b"BEAT_SCHEDULE", b"beat_schedule", b"add_periodic_task", b"celery.schedules"):
        return
    found: set[int] = set()
    for entry in _written_entries(project, module):
        found.add(id(entry.node))
        yield entry
    for node in module.find(ast.Dict):  # in a function that builds the schedule, or under a name of its own
        if id(node) not in found and any(
            isinstance(key, ast.Constant) and key.value == "schedule" for key in node.keys
        ):
            parts = mapping(node, module) or {}
            made = parts.get("schedule")
            by_celery = isinstance(made, ast.Call) and (project.meaning(made.func, module) or "").startswith(
                "celery.schedules."
            )
            if by_celery and "task" in parts:
                yield BeatEntry("", parts, node, module)


def _written_entries(project: Project, module: Module) -> Iterator[BeatEntry]:
    displays: list[ast.AST | None] = [
        setting.value
        for setting in project.settings
        if setting.module is module and setting.written.upper().endswith(("BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE"))
    ]
    for name, values in module.assignments.items():  # also where no settings are looked for: shop/schedule.py
        if name.upper().endswith("BEAT_SCHEDULE"):
            displays += values
    for node in module.find(ast.Assign):  # CELERY_BEAT_SCHEDULE["nightly"] = {...}
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and _ends_with(target.value, "BEAT_SCHEDULE"):
            parts = mapping(node.value, module)
            name = constant(target.slice, module)
            if parts is not None:
                yield BeatEntry(name if isinstance(name, str) else "", parts, node.value, module)
    for call in module.find(ast.Call):
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr == "update" and _ends_with(call.func.value, "BEAT_SCHEDULE"):
            displays += call.args
        elif call.func.attr == "add_periodic_task":
            parts = {word.arg: word.value for word in call.keywords if word.arg}
            parts.update(zip(("schedule", "task", "args", "kwargs", "name"), call.args))
            yield BeatEntry("", parts, call, module, call)
    seen: set[int] = set()
    while displays:
        display = displays.pop(0)
        if isinstance(display, ast.Name):
            values = module.assignments.get(display.id, [])
            display = values[0] if len(values) == 1 else None
        if not isinstance(display, ast.Dict) or id(display) in seen:
            continue
        seen.add(id(display))
        for key, value in zip(display.keys, display.values):
            if key is None:  # {**BASE_SCHEDULE, ...}
                displays.append(value)
                continue
            parts = mapping(value, module)
            name = constant(key, module)
            if parts is not None:
                yield BeatEntry(name if isinstance(name, str) else "", parts, value, module)


def _ends_with(node: ast.AST, end: str) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.upper().endswith(end)


def _sequence(node: ast.AST | None) -> list[ast.expr] | None:
    """The elements of a list or tuple display; empty for none; None when they cannot be read."""
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return []
    if isinstance(node, ast.Name):
        node = assigned(node)
    if isinstance(node, (ast.List, ast.Tuple)) and not any(isinstance(part, ast.Starred) for part in node.elts):
        return list(node.elts)
    return None


def _keywords(node: ast.AST | None, module: Module) -> dict[str, ast.expr] | None:
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return {}
    return mapping(node, module)


def calls_in(function: ast.AST) -> Iterator[ast.Call]:
    """The calls in a function's own body."""
    return (node for node in own_nodes(function) if isinstance(node, ast.Call))
