"""Small projects for the tests of the command, which is run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import celery_audit
from trees import write

COMMAND = [sys.executable, str(Path(celery_audit.__file__).parent)]
TASKS = "=== orders/tasks.py\nfrom celery import shared_task\n\n\n@shared_task\ndef send_receipt(order_pk): ...\n"
VIEWS = """\
=== orders/views.py
from django.db import transaction

from orders.tasks import send_receipt


def buy(request):
    with transaction.atomic():
        order = Order.objects.create()
        send_receipt.delay(order.pk)
"""
CLEAN = TASKS
FAULTY = TASKS + VIEWS
PLACE = "orders/views.py:9:9"


def process(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def many(folder: Path, number: int, files: int = 1) -> None:
    """A project of so many findings in each of so many files."""
    call = "        send_receipt.delay(order.pk)\n"
    views = VIEWS.replace(call, "".join(call.replace("order.pk", str(n)) for n in range(number)))
    write(folder, TASKS + "".join(views.replace("views.py", f"views{n}.py") for n in range(files)))
