"""DCE1xx: publishing and the database transaction."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..module import Function, Module, parents, scope
from ..project import Dispatch, Project
from ..registry import Problem, rule

ATOMIC = {"django.db.transaction.atomic", "django.db.transaction.commit_on_success"}


def atomic_around(node: ast.AST, module: Module, project: Project) -> ast.AST | None:
    """The ``with transaction.atomic()`` or decorated function whose transaction is open at a node, if any.

    A function or lambda inside the block runs when it is called, so the search ends at its edge.
    """
    function = scope(node)
    for parent in parents(node):
        if (
            isinstance(parent, (ast.With, ast.AsyncWith))
            and not any(_within(node, item) for item in parent.items)
            and any(_is_atomic(item.context_expr, module, project) for item in parent.items)
        ):
            return parent
        if parent is function:
            break
    if isinstance(function, Function) and any(_is_atomic(d, module, project) for d in function.decorator_list):
        return function
    return None


def _is_atomic(node: ast.expr, module: Module, project: Project) -> bool:
    if isinstance(node, ast.Call) and module.qualified(node.func) == "django.utils.decorators.method_decorator":
        return bool(node.args) and _is_atomic(node.args[0], module, project)
    return project.meaning(node.func if isinstance(node, ast.Call) else node, module) in ATOMIC


def _within(node: ast.AST, other: ast.AST) -> bool:
    return node is other or any(parent is other for parent in parents(node))


@rule("DCE101", "publish-in-atomic", "error", "django-integration#publish-after-commit")
def publish_in_atomic(dispatch: Dispatch, project: Project) -> Iterator[Problem]:
    """A task is published inside `transaction.atomic()`, not on commit.

    Why: a worker may take the message before the commit and find no row (DoesNotExist) or an old one; after a rollback
    the task runs all the same.
    Fix: Publish with `delay_on_commit(...)` (Celery 5.4+), or `transaction.on_commit(partial(task.delay, pk), using=…)`
    for another database.
    Source: Measured (Redis, RabbitMQ and memory transport publish at once).

    Bad:
        === orders/views.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    Good:
        === orders/views.py
        from django.db import transaction
        from orders.models import Order
        from orders.tasks import send_receipt

        def buy(request):
            with transaction.atomic():
                order = Order.objects.create()
                send_receipt.delay_on_commit(order.pk)
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def send_receipt(order_pk): ...
    """
    if dispatch.publishes and not dispatch.on_commit and atomic_around(dispatch.call, dispatch.module, project):
        yield Problem("published before the transaction commits", dispatch.call)
