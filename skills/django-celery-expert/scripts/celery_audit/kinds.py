"""What kind of object an expression is: a model instance, a queryset, a request, a set, a coroutine …

Only kinds that a JSON message cannot carry, or that change in it, have a name here. None is the answer whenever the
source leaves two readings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .infer import binding_scope, every_parameter, local_values, own_nodes
from .module import Function, Module, parents

if TYPE_CHECKING:
    from .project import Project

MAX_STEPS = 12  # from an expression to what it is worth: assignments, calls, attributes


class Kind(NamedTuple):
    """What an object is. ``text`` is for messages: "a model instance (Order)"."""

    name: str  # model, queryset, manager, request, form, file, querydict, mapping, pydantic, list, dict, other
    text: str
    cls: str | None = None  # the qualified class, where the project has it
    part: Kind | None = None  # what is inside a list, dict or iterator


BUILTINS = {
    "set": Kind("other", "a set"),
    "frozenset": Kind("other", "a frozenset"),
    "bytearray": Kind("other", "a bytearray"),
    "memoryview": Kind("other", "a memoryview"),
    "complex": Kind("other", "a complex number"),
    "object": Kind("other", "a plain object"),
    "range": Kind("other", "a range"),
    "map": Kind("other", "an iterator (map)"),
    "filter": Kind("other", "an iterator (filter)"),
    "zip": Kind("other", "an iterator (zip)"),
    "reversed": Kind("other", "an iterator (reversed)"),
    "enumerate": Kind("other", "an iterator (enumerate)"),
    "iter": Kind("other", "an iterator"),
    "open": Kind("file", "an open file"),
}
DISPLAYS = {ast.Lambda: Kind("other", "a lambda"), ast.Set: BUILTINS["set"], ast.SetComp: BUILTINS["set"]}
MADE = {
    "datetime.timedelta": Kind("other", "a timedelta"),
    "pathlib.Path": Kind("other", "a Path"),
    "pathlib.PurePath": Kind("other", "a Path"),
    "re.compile": Kind("other", "a compiled pattern"),
    "io.BytesIO": Kind("file", "a BytesIO"),
    "io.StringIO": Kind("file", "a StringIO"),
    "collections.deque": Kind("other", "a deque"),
    "fractions.Fraction": Kind("other", "a Fraction"),
    "types.SimpleNamespace": Kind("other", "a SimpleNamespace"),
    "zoneinfo.ZoneInfo": Kind("other", "a ZoneInfo"),
    "ipaddress.ip_address": Kind("other", "an IP address object"),
    "threading.Lock": Kind("other", "a lock"),
    "django.core.files.base.ContentFile": Kind("file", "a ContentFile"),
    "django.core.files.base.File": Kind("file", "a File"),
    "django.core.files.File": Kind("file", "a File"),
    "django.core.mail.EmailMessage": Kind("other", "an EmailMessage"),
    "django.core.mail.EmailMultiAlternatives": Kind("other", "an EmailMultiAlternatives"),
    "tempfile.NamedTemporaryFile": Kind("file", "an open file"),
    "tempfile.TemporaryFile": Kind("file", "an open file"),
}
ANNOTATED = {
    "set": BUILTINS["set"],
    "frozenset": BUILTINS["frozenset"],
    "typing.Set": BUILTINS["set"],
    "datetime.timedelta": MADE["datetime.timedelta"],
    "pathlib.Path": MADE["pathlib.Path"],
    "collections.abc.Callable": Kind("other", "a function"),
    "typing.Callable": Kind("other", "a function"),
    "collections.abc.Generator": Kind("other", "a generator"),
    "typing.Generator": Kind("other", "a generator"),
    "django.http.HttpRequest": Kind("request", "an HttpRequest"),
    "django.http.request.HttpRequest": Kind("request", "an HttpRequest"),
    "django.core.handlers.wsgi.WSGIRequest": Kind("request", "an HttpRequest"),
    "rest_framework.request.Request": Kind("request", "a Request"),
    "django.http.QueryDict": Kind("querydict", "a QueryDict"),
    "django.db.models.QuerySet": Kind("queryset", "a queryset"),
    "django.db.models.query.QuerySet": Kind("queryset", "a queryset"),
    "django.db.models.Model": Kind("model", "a model instance"),
    "django.core.files.uploadedfile.UploadedFile": Kind("file", "an uploaded file"),
    "django.core.files.uploadedfile.InMemoryUploadedFile": Kind("file", "an uploaded file"),
    "django.core.files.uploadedfile.TemporaryUploadedFile": Kind("file", "an uploaded file"),
    "django.contrib.auth.models.User": Kind("model", "a model instance (User)"),
}
SEQUENCES = {
    "list", "tuple", "typing.List", "typing.Tuple", "typing.Sequence", "typing.Iterable", "collections.abc.Sequence",
    "collections.abc.Iterable",
}  # fmt: skip
MANAGERS = {"objects", "_default_manager", "_base_manager"}
SAME_QUERYSET = {
    "filter", "exclude", "all", "order_by", "select_related", "prefetch_related", "annotate", "distinct", "only",
    "defer", "using", "reverse", "none", "select_for_update", "union", "intersection", "difference", "alias", "raw",
}  # fmt: skip
ONE_ROW = {"get", "create", "first", "last", "latest", "earliest"}
OTHER_ROWS = {"values", "values_list", "dates", "datetimes"}  # querysets of plain values
MODEL_FORMS = (".ModelForm", ".ModelSerializer", ".UserCreationForm", ".UserChangeForm", ".HyperlinkedModelSerializer")
FORMS = (".Form", ".ModelForm", ".BaseForm", ".UserCreationForm", ".AuthenticationForm", ".UserChangeForm")
RELATIONS = ("ForeignKey", "OneToOneField")
FILES = ("FileField", "ImageField")
PLAIN_ENUMS = {"enum.Enum", "enum.Flag"}
REQUEST_PARTS = {
    "GET": Kind("querydict", "a QueryDict"),
    "POST": Kind("querydict", "a QueryDict"),
    "FILES": Kind("file", "uploaded files"),
    "META": Kind("other", "request.META"),
    "headers": Kind("other", "request.headers"),
    "session": Kind("other", "the session"),
    "user": Kind("model", "a model instance (request.user)"),
}


def kind(node: ast.AST | None, module: Module, project: Project, steps: int = 0) -> Kind | None:
    """What an expression is worth, when it is one of the kinds above."""
    if node is None or steps > MAX_STEPS:
        return None
    if type(node) in DISPLAYS:
        return DISPLAYS[type(node)]
    handler = _HANDLERS.get(type(node))
    return handler(node, module, project, steps + 1) if handler else None


def _generator(node: ast.GeneratorExp, module: Module, project: Project, steps: int) -> Kind | None:
    return Kind("other", "a generator", part=kind(node.elt, module, project, steps))


def _sequence(node: ast.List | ast.Tuple, module: Module, project: Project, steps: int) -> Kind | None:
    return _holding("list", (kind(part, module, project, steps) for part in node.elts[:50]))


def _comprehension(node: ast.ListComp, module: Module, project: Project, steps: int) -> Kind | None:
    return _holding("list", [kind(node.elt, module, project, steps)])


def _dict(node: ast.Dict, module: Module, project: Project, steps: int) -> Kind | None:
    parts = [value for key, value in zip(node.keys, node.values) if key is not None]
    return _holding("dict", (kind(part, module, project, steps) for part in parts[:50]))


def _dict_comprehension(node: ast.DictComp, module: Module, project: Project, steps: int) -> Kind | None:
    return _holding("dict", [kind(node.value, module, project, steps)])


def _holding(container: str, parts: Iterator[Kind | None] | list[Kind | None]) -> Kind | None:
    part = next((part for part in parts if part), None)
    return Kind(container, f"a {container} with {part.text}", part=part) if part else None


def _either(node: ast.IfExp, module: Module, project: Project, steps: int) -> Kind | None:
    return kind(node.body, module, project, steps) or kind(node.orelse, module, project, steps)


def _await(node: ast.Await, module: Module, project: Project, steps: int) -> Kind | None:
    return kind(node.value, module, project, steps)


def _named(node: ast.NamedExpr, module: Module, project: Project, steps: int) -> Kind | None:
    return kind(node.value, module, project, steps)


def _subscript(node: ast.Subscript, module: Module, project: Project, steps: int) -> Kind | None:
    base = node.value
    index = node.slice
    if isinstance(base, ast.Call) and getattr(base.func, "attr", "") in ("get_or_create", "update_or_create"):
        first = isinstance(index, ast.Constant) and index.value == 0
        return _instance_of(kind(base.func.value, module, project, steps)) if first else None  # type: ignore[attr-defined]
    whole = kind(base, module, project, steps)
    if whole is None:
        return None
    if isinstance(index, ast.Slice):
        return whole if whole.name in ("queryset", "list") else None
    if whole.name == "queryset":
        return _instance_of(whole)
    if whole.name == "file" and whole.text == REQUEST_PARTS["FILES"].text:
        return Kind("file", "an uploaded file")
    return None


def _instance_of(rows: Kind | None) -> Kind | None:
    """What one element of a queryset or manager is."""
    if rows is None or rows.name not in ("queryset", "manager"):
        return None
    return rows.part


# Names.


def _name(node: ast.Name, module: Module, project: Project, steps: int) -> Kind | None:
    function = binding_scope(node)
    if function is not None:
        return _local(node, function, module, project, steps)
    handler = _except_handler(node)
    if handler is not None:
        return Kind("other", "an exception")
    return _known(module.qualified(node), module, project, steps)


def _except_handler(name: ast.Name) -> ast.ExceptHandler | None:
    for parent in parents(name):
        if isinstance(parent, ast.ExceptHandler) and parent.name == name.id:
            return parent
        if isinstance(parent, (*Function, ast.Lambda)):
            return None
    return None


def _local(name: ast.Name, function: ast.AST, module: Module, project: Project, steps: int) -> Kind | None:
    values = local_values(function, name.id)
    if any(value is name for value in values):
        return None
    if None not in values:  # assignments only: one, or several that agree
        kinds = [kind(value, module, project, steps + 2 * (len(values) - 1)) for value in values[:4]]
        return kinds[0] if len(values) <= 4 and all(k and kinds[0] and k.name == kinds[0].name for k in kinds) else None
    if len(values) != 1 or _except_handler(name) is not None:
        return None
    arguments = function.args  # type: ignore[attr-defined]
    for parameter in every_parameter(arguments):
        if parameter.arg == name.id:
            return _parameter(parameter, function, module, project)
    return _unpacked(name.id, function, module, project, steps)


def _unpacked(name: str, function: ast.AST, module: Module, project: Project, steps: int) -> Kind | None:
    """What a loop, a ``with`` or an unpacking binds a name to."""
    store = next(
        (
            part
            for part in own_nodes(function)
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
        ),
        None,
    )
    if store is None:
        return None
    parent = store.parent  # type: ignore[attr-defined]
    if isinstance(parent, (ast.For, ast.AsyncFor, ast.comprehension)) and store is parent.target:
        return element(kind(parent.iter, module, project, steps))
    if isinstance(parent, ast.withitem):
        opened = kind(parent.context_expr, module, project, steps)
        return opened if opened and opened.name == "file" else None
    if isinstance(parent, ast.Tuple) and parent.elts and store is parent.elts[0]:
        assignment = parent.parent  # type: ignore[attr-defined]
        value = assignment.value if isinstance(assignment, ast.Assign) else None
        if isinstance(value, ast.Await):
            value = value.value
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr.removeprefix("a") in ("get_or_create", "update_or_create")
        ):
            return _instance_of(kind(value.func.value, module, project, steps))
    return None


def element(whole: Kind | None) -> Kind | None:
    """What a loop over an object binds."""
    return whole.part if whole and whole.name in ("queryset", "manager", "list", "iterator") else None


def _parameter(parameter: ast.arg, function: ast.AST, module: Module, project: Project) -> Kind | None:
    arguments = function.args  # type: ignore[attr-defined]
    if parameter is arguments.vararg or parameter is arguments.kwarg:
        return None
    if parameter.annotation is not None:
        return annotated(parameter.annotation, module, project)
    if not isinstance(function, Function):
        return None
    names = [arg.arg for arg in [*arguments.posonlyargs, *arguments.args]]
    if parameter.arg == "self" and names[:1] == ["self"]:
        owner = function.parent  # type: ignore[attr-defined]
        if isinstance(owner, ast.ClassDef) and owner in module.definitions.values():
            return instance(f"{module.name}.{owner.name}", project)
        return None
    is_first = names[:1] == ["request"] or names[:2] == ["self", "request"]
    if parameter.arg == "request" and is_first and not _is_task(function, project):
        return Kind("request", "an HttpRequest")
    if parameter.arg == "instance" and "sender" in names and not _is_task(function, project):
        return Kind("model", "a model instance (the signal's instance)")
    return None


def _is_task(function: ast.AST, project: Project) -> bool:
    return any(task.function is function for task in project.tasks.values())


def annotated(node: ast.AST | None, module: Module, project: Project, depth: int = 0) -> Kind | None:
    """What an annotation says; ``X | None`` and ``Optional[X]`` are X."""
    if node is None or depth > MAX_STEPS:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return annotated(ast.parse(node.value, mode="eval").body, module, project, depth + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        both = (node.left, node.right)
        sides = [side for side in both if not (isinstance(side, ast.Constant) and side.value is None)]
        return annotated(sides[0], module, project, depth + 1) if len(sides) == 1 else None
    if isinstance(node, ast.Subscript):
        base = _annotation_name(node.value, module)
        if base == "typing.Optional":
            return annotated(node.slice, module, project, depth + 1)
        if base in SEQUENCES:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            part = annotated(inner, module, project, depth + 1)
            return Kind("list", f"a list with {part.text}", part=part) if part else None
        known = ANNOTATED.get(base or "")
        if known and known.name == "queryset":
            return Kind("queryset", known.text, part=annotated(node.slice, module, project, depth + 1))
        return known
    name = _annotation_name(node, module)
    if name is None:
        return None
    return ANNOTATED.get(name) or instance(project.resolve(name, module.path), project)


def _annotation_name(node: ast.AST, module: Module) -> str | None:
    name = module.qualified(node)
    if name is None and isinstance(node, ast.Name):
        return node.id
    return name


# Classes of the project.


def instance(qualified: str | None, project: Project) -> Kind | None:
    """What an object of a class is: model, form, Pydantic model, dataclass, exception."""
    qualified = project.resolve(qualified)
    found = project.definition(qualified)
    if not qualified or not found or not isinstance(found[1], ast.ClassDef):
        return None
    name = qualified.rpartition(".")[2]
    owner, node = found
    if any(isinstance(part, Function) and part.name == "__json__" for part in node.body):
        return None
    if project.is_model(qualified):
        return Kind("model", f"a model instance ({name})", qualified)
    if any(project.meaning(_bare(d), owner) == "dataclasses.dataclass" for d in node.decorator_list):
        return Kind("other", f"a dataclass ({name})", qualified)
    bases = [base for base, *_ in project.bases(node, owner)]
    if any(base in ("pydantic.BaseModel", "pydantic.main.BaseModel") for base in bases):
        return Kind("pydantic", f"a Pydantic model ({name})", qualified)
    if any(base.endswith(FORMS) and "forms" in base for base in bases):
        return Kind("form", f"a form ({name})", qualified)
    if any(base.endswith(".ModelSerializer") for base in bases):
        return Kind("form", f"a serializer ({name})", qualified)
    plain = {part.id for part in node.bases if isinstance(part, ast.Name) and module_lacks(owner, part.id)}
    if plain & {"Exception", "ValueError", "RuntimeError", "BaseException"}:
        return Kind("other", f"an exception ({name})", qualified)
    return None


def module_lacks(module: Module, name: str) -> bool:
    """Whether a name is left to Python's builtins."""
    return name not in module.imports and name not in module.definitions and name not in module.assignments


def _bare(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _known(qualified: str | None, module: Module, project: Project, steps: int) -> Kind | None:
    """What a top-level name stands for: a function, a class, a task, or an assigned value."""
    name = project.resolve(qualified, module.path)
    if name is None:
        return None
    if name in project.tasks:
        return Kind("other", "a task object")
    found = project.definition(name)
    if found is None:
        return None
    owner, node = found
    if isinstance(node, Function):
        return Kind("other", f"a function ({name.rpartition('.')[2]})")
    if isinstance(node, ast.ClassDef):
        return Kind("other", f"a class ({name.rpartition('.')[2]})")
    if len(owner.assignments.get(name.rpartition(".")[2], ())) == 1 and isinstance(node, ast.expr):
        return kind(node, owner, project, steps)
    return None


# Attributes.


def _attribute(node: ast.Attribute, module: Module, project: Project, steps: int) -> Kind | None:
    name = project.meaning(node, module)
    if node.attr in MANAGERS:
        return _manager(node, module, project)
    if node.attr == "request" and isinstance(node.value, ast.Name) and node.value.id == "self":
        return Kind("request", "an HttpRequest") if _in_view(node, module, project) else None
    if node.attr in ("object", "instance") and isinstance(node.value, ast.Name) and node.value.id == "self":
        return _own_object(node, module, project)
    base = kind(node.value, module, project, steps)
    if base is not None and base.name != "other":
        if base.name == "request":
            return REQUEST_PARTS.get(node.attr)
        return field_kind(base, node.attr, project) if base.name == "model" else None
    if name is None:
        return None
    owner, _, member = name.rpartition(".")
    found = project.definition(owner)
    if found and isinstance(found[1], ast.ClassDef):
        return _class_member(found[0], found[1], owner, member, project)
    return _known(name, module, project, steps) if project.definition(name) else None


def _class_member(module: Module, node: ast.ClassDef, owner: str, member: str, project: Project) -> Kind | None:
    """``Status.PAID`` of a plain Enum."""
    bases = [project.meaning(base, module) for base in node.bases]
    if len(bases) != 1 or bases[0] not in PLAIN_ENUMS:
        return None
    values = [part for part in node.body if isinstance(part, ast.Assign)]
    if any(isinstance(t, ast.Name) and t.id == member for part in values for t in part.targets):
        name = owner.rpartition(".")[2]
        return Kind("other", f"an Enum member ({name}.{member})")
    return None


def _manager(node: ast.Attribute, module: Module, project: Project) -> Kind | None:
    base = node.value
    if isinstance(base, ast.Call) and (module.called(base) or "").endswith(".get_user_model"):
        return Kind("manager", "a manager", part=Kind("model", "a model instance (user)"))
    last = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
    if isinstance(base, ast.Name):
        function = binding_scope(base)
        if function is not None:
            values = local_values(function, base.id)
            value = values[0] if len(values) == 1 else None
            if isinstance(value, ast.Call) and (module.called(value) or "").endswith(".get_user_model"):
                return Kind("manager", "a manager", part=Kind("model", "a model instance (user)"))
    if not last[:1].isupper():
        return None
    return Kind("manager", "a manager", part=Kind("model", f"a model instance ({last})", project.meaning(base, module)))


def field_kind(base: Kind, name: str, project: Project) -> Kind | None:
    """What a field of a model instance holds."""
    for owner, node in _classes(base.cls, project):
        for part in node.body:
            target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, "target", None)
            if not isinstance(target, ast.Name) or target.id != name or not isinstance(part.value, ast.Call):  # type: ignore[union-attr]
                continue
            made = part.value.func  # type: ignore[union-attr]
            field = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
            if field in RELATIONS:
                return Kind("model", f"a model instance ({name})", _related(part.value, owner, project))  # type: ignore[union-attr]
            if field == "ManyToManyField":
                return Kind("manager", "a related manager", part=Kind("model", f"a model instance ({name})"))
            if field in FILES:
                return Kind("file", f"a {field.replace('Field', '').lower()} field")
            return MADE["datetime.timedelta"] if field == "DurationField" else None
    return None


def _related(call: ast.Call, module: Module, project: Project) -> str | None:
    target = call.args[0] if call.args else next((w.value for w in call.keywords if w.arg == "to"), None)
    return project.meaning(target, module) if isinstance(target, (ast.Name, ast.Attribute)) else None


def _classes(qualified: str | None, project: Project) -> Iterator[tuple[Module, ast.ClassDef]]:
    found = project.definition(project.resolve(qualified))
    if found and isinstance(found[1], ast.ClassDef):
        yield found[0], found[1]
        for _, module, node in project.bases(found[1], found[0]):
            if module and node:
                yield module, node


def _in_view(node: ast.AST, module: Module, project: Project) -> bool:
    """Whether ``self`` is a class-based view or viewset, judged by the names of its bases."""
    ends = ("View", "ViewSet", "Mixin", "ModelAdmin")
    return any(name.endswith(ends) for name in _bases_around(node, module, project))


def _own_object(node: ast.Attribute, module: Module, project: Project) -> Kind | None:
    ends = ("View",) if node.attr == "object" else ("ModelForm",)
    if any(name.endswith(ends) for name in _bases_around(node, module, project)):
        return Kind("model", f"a model instance (self.{node.attr})")
    return None


def _bases_around(node: ast.AST, module: Module, project: Project) -> list[str]:
    owner = next((parent for parent in parents(node) if isinstance(parent, ast.ClassDef)), None)
    if owner is None:
        return []
    return [name for name, *_ in project.bases(owner, module)]


# Calls.


def _call(node: ast.Call, module: Module, project: Project, steps: int) -> Kind | None:
    function = node.func
    if isinstance(function, ast.Name) and module_lacks(module, function.id) and binding_scope(function) is None:
        if function.id in ("list", "tuple", "sorted") and len(node.args) >= 1:
            part = element(kind(node.args[0], module, project, steps))
            return _holding("list", [part])
        return BUILTINS.get(function.id)
    name = project.meaning(function, module)
    if name is not None:
        known = _called(name, node, module, project, steps)
        if known is not None:
            return known
    if isinstance(function, ast.Attribute):
        return _method(node, function, module, project, steps)
    return None


def _called(name: str, node: ast.Call, module: Module, project: Project, steps: int) -> Kind | None:
    if name in MADE:
        return MADE[name]
    if name in ("copy.copy", "copy.deepcopy") and node.args:
        return kind(node.args[0], module, project, steps)
    if name in ("django.shortcuts.get_object_or_404", "django.shortcuts.aget_object_or_404") and node.args:
        first = node.args[0]
        label = first.attr if isinstance(first, ast.Attribute) else getattr(first, "id", "")
        shown = f"a model instance ({label})" if label[:1].isupper() else "a model instance"
        return Kind("model", shown, project.meaning(first, module) if label[:1].isupper() else None)
    if name == "django.shortcuts.get_list_or_404":
        return Kind("list", "a list with model instances", part=Kind("model", "a model instance"))
    found = project.definition(name)
    if found is None:
        return None
    owner, definition = found
    if isinstance(definition, ast.ClassDef):
        return instance(name, project)
    if isinstance(definition, Function) and name not in project.tasks:
        return _returned(definition, owner, project)
    return None


def _returned(function: ast.AST, module: Module, project: Project) -> Kind | None:
    """What a function of the project returns: a generator, or what its annotation says."""
    if function.decorator_list:  # type: ignore[attr-defined]
        return None
    if any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in own_nodes(function)):
        return Kind("other", "a generator")
    return annotated(function.returns, module, project)  # type: ignore[attr-defined]


def _method(node: ast.Call, function: ast.Attribute, module: Module, project: Project, steps: int) -> Kind | None:
    attr = function.attr
    base = kind(function.value, module, project, steps)
    if base is None:
        if attr == "all" and not node.args and not node.keywords and isinstance(function.value, ast.Attribute):
            return Kind("queryset", "a queryset", part=Kind("model", "a model instance"))
        if attr in ("values", "items") and not node.args and not node.keywords and _is_dict(function.value):
            return Kind("other", f"a dict view (.{attr}())")
        return _own_method(function, module, project)
    if base.name in ("queryset", "manager"):
        return _query(base, attr)
    if base.name == "form" and attr == "save" and base.cls and _saves_model(base.cls, project):
        return Kind("model", "a model instance (saved by the form)")
    if base.name == "file" and base.text == REQUEST_PARTS["FILES"].text and attr in ("get", "getlist"):
        return Kind("file", "an uploaded file")
    if base.name == "querydict" and attr == "copy":
        return base
    if base.name in ("querydict", "dict") and attr in ("values", "items"):
        return Kind("other", f"a dict view (.{attr}())")
    return None


def _query(base: Kind, attr: str) -> Kind | None:
    """The next step of ``X.objects.filter(…).first()``."""
    attr = attr[1:] if attr in ("aget", "acreate", "afirst", "alast") else attr
    if attr in SAME_QUERYSET:
        return Kind("queryset", "a queryset", part=base.part)
    if attr in OTHER_ROWS:
        return Kind("queryset", "a queryset")
    if attr == "iterator":
        return Kind("iterator", "an iterator", part=base.part)
    if attr in ONE_ROW:
        return base.part
    if attr in ("bulk_create", "abulk_create"):
        return Kind("list", "a list with model instances", part=base.part)
    if attr == "in_bulk" and base.part:
        return Kind("dict", f"a dict with {base.part.text}", part=base.part)
    return None


def _is_dict(node: ast.expr) -> bool:
    """Whether a name's only assignment is a dict display, comprehension or ``dict()``."""
    if isinstance(node, ast.Name):
        function = binding_scope(node)
        values = local_values(function, node.id) if function else []
        node = values[0] if len(values) == 1 and values[0] is not None else node
    if isinstance(node, (ast.Dict, ast.DictComp)):
        return True
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Name) and called.id in ("dict", "defaultdict", "OrderedDict", "Counter")


def _own_method(function: ast.Attribute, module: Module, project: Project) -> Kind | None:
    """``self.method()`` of the class around it, by the method's annotation."""
    if not (isinstance(function.value, ast.Name) and function.value.id == "self"):
        return None
    if function.attr == "get_object" and _in_view(function, module, project):
        return Kind("model", "a model instance (get_object)")
    if function.attr == "get_queryset" and _in_view(function, module, project):
        return Kind("queryset", "a queryset", part=Kind("model", "a model instance"))
    owner = next((parent for parent in parents(function) if isinstance(parent, ast.ClassDef)), None)
    for part in owner.body if owner else ():
        if isinstance(part, Function) and part.name == function.attr:
            return _returned(part, module, project)
    return None


def _saves_model(qualified: str, project: Project) -> bool:
    found = project.definition(qualified)
    if not found or not isinstance(found[1], ast.ClassDef):
        return False
    return any(base.endswith(MODEL_FORMS) for base, *_ in project.bases(found[1], found[0]))


_HANDLERS = {
    ast.GeneratorExp: _generator,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.ListComp: _comprehension,
    ast.Dict: _dict,
    ast.DictComp: _dict_comprehension,
    ast.IfExp: _either,
    ast.Await: _await,
    ast.NamedExpr: _named,
    ast.Subscript: _subscript,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
}
