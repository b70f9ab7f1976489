"""What kind of object an expression is, and whether a call fits a task."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from celery_audit.kinds import kind
from celery_audit.signatures import mismatch
from test_project import project_of

MODELS = """
=== orders/models.py
import enum
from dataclasses import dataclass
from django.db import models

class Customer(models.Model): ...

class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    wait = models.DurationField()

class Status(enum.Enum):
    PAID = 1

class Label(models.TextChoices):
    PAID = "paid"

@dataclass
class Row:
    pk: int

def rows() -> list[Order]: ...

def numbers():
    yield 1
=== orders/views.py
import datetime
from pathlib import Path
from django.shortcuts import get_object_or_404
from orders.models import Label, Order, Row, Status, numbers, rows

def view(request, order: Order, maybe: "Order | None", either: int | Order, number: int):
    made, _ = Order.objects.get_or_create(pk=1)
    for row in Order.objects.filter(pk=1):
        for plain in Order.objects.values_list("pk", flat=True):
            twice = Order.objects.first()
            twice = 1
            same = Order.objects.first() if number else None
            lock(%s)
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("order", "model"),
        ("maybe", "model"),
        ("either", None),
        ("number", None),
        ("made", "model"),
        ("row", "model"),
        ("row.pk", None),
        ("plain", None),
        ("twice", None),
        ("same", "model"),
        ("order.customer", "model"),
        ("order.wait", "other"),
        ("Order.objects.filter(pk=1)", "queryset"),
        ("Order.objects.filter(pk=1).count()", None),
        ("Order.objects.values('pk').first()", None),
        ("list(Order.objects.all())", "list"),
        ("list(Order.objects.values_list('pk', flat=True))", None),
        ("[one.pk for one in Order.objects.all()]", None),
        ("[one for one in Order.objects.all()]", "list"),
        ("{'order': order}", "dict"),
        ("rows()", "list"),
        ("numbers()", "other"),
        ("get_object_or_404(Order, pk=1)", "model"),
        ("request", "request"),
        ("request.POST", "querydict"),
        ("request.POST['a']", None),
        ("request.FILES['a']", "file"),
        ("request.user", "model"),
        ("request.user.pk", None),
        ("Status.PAID", "other"),
        ("Status.PAID.value", None),
        ("Label.PAID", None),
        ("Row(1)", "other"),
        ("{1, 2}", "other"),
        ("sorted({1, 2})", None),
        ("datetime.timedelta(1)", "other"),
        ("datetime.datetime.now()", None),
        ("Path('a')", "other"),
        ("lambda: 1", "other"),
        ("(1, 2)", None),
    ],
)
def test_kind(expression: str, expected: str | None, tmp_path: Path) -> None:
    project = project_of(tmp_path, MODELS % expression)
    module = project.load("orders/views.py")
    call = next(call for call in module.find(ast.Call) if getattr(call.func, "id", "") == "lock")
    found = kind(call.args[0], module, project)
    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("parameters", "count", "kwargs", "wrong"),
    [
        ("a, b=1", 1, [], None),
        ("a, b=1", 0, [], "needs 'a'"),
        ("a, b=1", 3, [], "takes 2 arguments by position, gets 3"),
        ("a, b=1", 1, ["c"], "has no parameter 'c'"),
        ("a, b=1", 1, ["a"], "gets 'a' by position and by name"),
        ("a, b=1", None, ["c"], "has no parameter 'c'"),
        ("a, b=1", None, ["b"], None),
        ("*a", 9, [], None),
        ("**k", 0, ["c"], None),
        ("a, *, b", 1, [], "needs 'b'"),
        ("", 1, [], "takes no arguments by position, gets 1"),
    ],
)
def test_mismatch(parameters: str, count: int | None, kwargs: list[str], wrong: str | None) -> None:
    given = ast.parse(f"def f({parameters}): ...").body[0].args
    assert mismatch(given, count, kwargs) == wrong


def test_partial_signature_may_still_get_arguments() -> None:
    given = ast.parse("def f(a, b): ...").body[0].args
    assert mismatch(given, 1, [], complete=False) is None
