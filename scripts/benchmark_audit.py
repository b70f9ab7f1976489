"""Time ``celery_audit`` on Django + Celery trees of three sizes, and beside the linters people run anyway.

``python scripts/benchmark_audit.py [--against] [--size N ...] [--rounds N] [--keep FOLDER]``: the trees are made, from
the templates below, with as many files about Celery, of such sizes, as public Django projects have: 6 % of the files,
mean 4 KB, median 1 KB. Mistakes are planted at known lines, so a tool's findings there can be counted, whatever it
calls them. ``--against`` makes a virtual environment per tool from requirements-bench.lock, in a folder that goes away,
and runs every tool on the largest tree in turn, round by round; pylint once, and a tool that takes longer than
``--patience`` seconds is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from matrix import install

ROOT = Path(__file__).resolve().parents[1]
AUDIT = ROOT / "skills" / "django-celery-expert" / "scripts" / "celery_audit"
LOCK = ROOT / "requirements-bench.lock"
SIZES = [1_000, 2_000, 4_000]
PLANTED = re.compile(r"  # planted$")
PLACE = re.compile(r"^(?P<path>[^:\n]+\.py):(?P<line>\d+):\d+:", re.MULTILINE)

# What a file is made of: a head, then a piece so many times. {app}, {App} and {n} are filled in.

MODELS = """\
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
"""
MODEL = '''

class {App}Record{n}(models.Model):
    """What the shop keeps of {app} number {n}."""

    reference = models.CharField(_("reference"), max_length=64, unique=True)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2, default=0)
    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE, related_name="{app}_records_{n}")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["owner", "closed_at"])]

    def __str__(self):
        return f"{{self.reference}} ({{self.amount:.2f}})"

    @property
    def is_open(self):
        return self.closed_at is None

    def close(self, at=None):
        if not self.is_open:
            raise ValueError(f"{{self.reference}} is closed already")
        self.closed_at = at or timezone.now()
        self.save(update_fields=["closed_at"])
'''
VIEWS = """\
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, redirect, render

from {app} import forms, models
"""
VIEW = '''

@login_required
def record_{n}_list(request):
    """A page of the user's records, newest first."""
    records = models.{App}Record{n}.objects.filter(owner=request.user).select_related("owner")
    if search := request.GET.get("q", "").strip():
        records = records.filter(reference__icontains=search)
    page = Paginator(records, 50).get_page(request.GET.get("page"))
    if request.headers.get("accept") == "application/json":
        return JsonResponse({{"records": [record.reference for record in page], "pages": page.paginator.num_pages}})
    return render(request, "{app}/record_{n}_list.html", {{"page": page, "search": search}})


@login_required
def record_{n}_edit(request, pk):
    record = get_object_or_404(models.{App}Record{n}, pk=pk, owner=request.user)
    form = forms.{App}Form{n}(request.POST or None, instance=record)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("{app}:record-{n}-list")
    return render(request, "{app}/record_{n}_edit.html", {{"form": form, "record": record}})
'''
FORMS = """\
from django import forms

from {app} import models
"""
FORM = """

class {App}Form{n}(forms.ModelForm):
    confirm = forms.BooleanField(required=False)

    class Meta:
        model = models.{App}Record{n}
        fields = ["reference", "amount", "closed_at"]

    def clean_amount(self):
        amount = self.cleaned_data["amount"]
        if amount < 0:
            raise forms.ValidationError("An amount is never negative.")
        return amount
"""
ADMIN = """\
from django.contrib import admin

from {app} import models
"""
ADMIN_CLASS = """

@admin.register(models.{App}Record{n})
class {App}Record{n}Admin(admin.ModelAdmin):
    list_display = ["reference", "amount", "owner", "created_at", "closed_at"]
    list_filter = ["created_at", "closed_at"]
    search_fields = ["reference", "owner__username"]
    raw_id_fields = ["owner"]
"""
HELPERS = """\
import logging
from collections import defaultdict
from decimal import Decimal

logger = logging.getLogger(__name__)
"""
HELPER = '''

def totals_{n}(records, currency="EUR"):
    """Sum the amounts by owner and leave out what rounds to nothing."""
    sums = defaultdict(Decimal)
    for record in records:
        if record.amount is None or record.closed_at:
            logger.debug("%s skipped", record.reference)
            continue
        sums[record.owner_id] += record.amount
    found = {{owner: amount.quantize(Decimal("0.01")) for owner, amount in sums.items()}}
    return [{{"owner": owner, "amount": amount, "currency": currency}} for owner, amount in found.items() if amount]
'''
MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('{app}', '0001_initial')]
    operations = ["""
OPERATION = """
        migrations.AddField(
            model_name="record{n}",
            name="note_{n}",
            field=models.CharField(blank=True, default="", max_length=200, verbose_name="note {n}"),
        ),"""
COMMAND = """\
from django.core.management.base import BaseCommand

from {app} import models


class Command(BaseCommand):
    def handle(self, *args, **options):"""
STEP = """
        for record in models.{App}Record{n}.objects.filter(closed_at=None).iterator():
            self.stdout.write(f"{{record.reference}}: {{record.amount}}")
"""
CONSTANTS = '"""Words and limits of {app}."""\n'
CONSTANT = '\nLIMIT_{n} = {n}\nWORDS_{n} = ("open", "closed", "late")\n'
TASKS = """\
import logging

import requests
from celery import chain, group, shared_task
from django.db import transaction
from django.utils import timezone

from {app} import helpers, models

logger = logging.getLogger(__name__)
"""
TASK = '''

@shared_task(
    bind=True,
    name="{app}.send_{n}",
    autoretry_for=(requests.ConnectionError, requests.Timeout),
    retry_backoff=True,
    max_retries=5,
    acks_late=True,
    time_limit=120,
)
def send_{n}(self, record_pk):
    """Tell the warehouse of a record, once."""
    with transaction.atomic():
        record = models.{App}Record{n}.objects.select_for_update().get(pk=record_pk)
        if not record.is_open:
            return
        record.close(timezone.now())
    response = requests.post(
        "https://warehouse.example/records",
        json={{"reference": record.reference, "amount": str(record.amount)}},
        headers={{"Idempotency-Key": f"{app}-{{record_pk}}"}},
        timeout=10,
    )
    response.raise_for_status()
    logger.info("%s sent by %s", record.reference, self.request.id)


@shared_task(name="{app}.total_{n}")
def total_{n}(owner_pk):
    records = models.{App}Record{n}.objects.filter(owner_id=owner_pk)
    return [str(row["amount"]) for row in helpers.totals_{n}(records)]


def send_all_{n}(records):
    group(send_{n}.s(record.pk) for record in records).apply_async(queue="{app}")
    return chain(total_{n}.si(records[0].owner_id), total_{n}.si(records[1].owner_id))
'''
SERVICES = """\
from django.db import transaction

from {app} import models, tasks
"""
SERVICE = '''

def open_{n}(owner, reference, amount):
    """Keep a record and send it as soon as others can see it."""
    with transaction.atomic():
        record = models.{App}Record{n}.objects.create(owner=owner, reference=reference, amount=amount)
        tasks.send_{n}.delay_on_commit(record.pk)
    return record


def reopen_{n}(record):
    record.closed_at = None
    record.save(update_fields=["closed_at"])
    tasks.total_{n}.apply_async(args=[record.owner_id], countdown=30, expires=3_600)
'''
MISTAKES = """

def import_rows(owner, rows):
    with transaction.atomic():
        for row in rows:
            record = models.{App}Record0.objects.create(owner=owner, **row)
            tasks.send_0.delay(record.pk)  # planted


def correct(record, amount):
    record.amount = amount
    with transaction.atomic():
        record.save()
        transaction.on_commit(tasks.send_1.delay(record.pk))  # planted
"""
PROJECT = {
    "config/__init__.py": 'from config.celery import app as celery_app\n\n__all__ = ["celery_app"]\n',
    "config/celery.py": """\
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "config/settings.py": """\
import os

from celery.schedules import crontab

SECRET_KEY = os.environ["SECRET_KEY"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}}}}
USE_TZ = True
TIME_ZONE = "UTC"
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_TASK_ACK_LATE = True  # planted
CELERY_TASK_TIME_LIMIT = 600
CELERY_BEAT_SCHEDULE = {{
    "totals": {{"task": "app0.total_0", "schedule": crontab(hour=6, minute=15), "args": (1,)}},
    "report": {{"task": "app0.report_0", "schedule": crontab(hour=7, minute=0)}},  # planted
}}
""",
}
PIECES = {
    "models.py": (MODELS, MODEL, 16),
    "views.py": (VIEWS, VIEW, 16),
    "forms.py": (FORMS, FORM, 16),
    "admin.py": (ADMIN, ADMIN_CLASS, 16),
    "helpers.py": (HELPERS, HELPER, 16),
    "tasks.py": (TASKS, TASK, 8),
    "services.py": (SERVICES, SERVICE, 12),
    "api/views.py": (VIEWS, VIEW, 16),
    "api/helpers.py": (HELPERS, HELPER, 9),
    "reports/helpers.py": (HELPERS, HELPER, 16),
    **{f"migrations/{n:04}_auto.py": (MIGRATION, OPERATION, n % 6 + 1) for n in range(2, 13)},
    **{f"management/commands/{name}.py": (COMMAND, STEP, 1) for name in ("list_open", "list_late", "close_old")},
    **{f"{name}.py": (CONSTANTS, CONSTANT, n) for n, name in enumerate(("constants", "apps", "urls", "limits"), 1)},
    **{f"{name}__init__.py": (CONSTANTS, CONSTANT, 0) for name in ("", "api/", "reports/", "migrations/")},
    "management/__init__.py": (CONSTANTS, CONSTANT, 0),
}
CLOSED = {MIGRATION: "\n    ]\n"}  # what a file made of pieces still needs at its end


@dataclass
class Tree:
    """A tree on disk, and the lines that hold a mistake."""

    folder: Path
    files: int = 0
    bytes: int = 0
    planted: set[tuple[str, int]] = field(default_factory=set)

    def add(self, path: str, text: str) -> None:
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if PLANTED.search(line):
                self.planted.add((path, number))
        content = "\n".join(PLANTED.sub("", line) for line in lines) + "\n"
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        self.files += 1
        self.bytes += len(content)


def make_tree(folder: Path, size: int) -> Tree:
    """Write a project of so many files; every seventh app has mistakes."""
    tree, apps = Tree(folder), 0
    made = _files()
    while tree.files < size - len(PROJECT):
        path, text, apps = next(made)
        tree.add(path, text)
    names = ", ".join(f'"app{number}"' for number in range(apps))
    for path, text in PROJECT.items():
        tree.add(path, text.format(apps=names) if path.endswith("settings.py") else text)
    return tree


def _files() -> Iterator[tuple[str, str, int]]:
    """Files of app after app without end, with the number of apps begun."""
    number = 0
    while True:
        app = f"app{number}"
        for path, (head, piece, times) in PIECES.items():
            text = head.format(app=app) + "".join(piece.format(app=app, App=app.title(), n=n) for n in range(times))
            if path == "services.py" and number % 7 == 0:
                text += MISTAKES.format(app=app, App=app.title())
            yield f"{app}/{path}", text + CLOSED.get(head, ""), number + 1
        number += 1


# The tools


@dataclass
class Tool:
    """A program, the command that looks at a tree from inside it, and where its output places findings."""

    name: str
    command: list[str]
    places: Callable[[str], set[tuple[str, int]]]
    rounds: int
    patience: float | None = None
    times: list[float] = field(default_factory=list)
    found: set[tuple[str, int]] | None = None  # None: stopped before the end

    def run(self, tree: Tree) -> None:
        begin = time.perf_counter()
        try:
            done = subprocess.run(
                self.command, cwd=tree.folder, capture_output=True, text=True, check=False, timeout=self.patience
            )
        except subprocess.TimeoutExpired:
            self.rounds = 0  # once is enough
            return
        self.times.append(time.perf_counter() - begin)
        self.found = self.places(done.stdout)
        if done.returncode not in range(32) or "Traceback" in done.stderr:
            raise SystemExit(f"{self.name} failed with {done.returncode}: {done.stderr[-2000:]}")

    @property
    def seconds(self) -> str:
        if not self.times:
            return f"stopped after {self.patience:.0f}"
        return f"{min(self.times):.2f} / {statistics.median(self.times):.2f} of {len(self.times)}"


def audit_tool(rounds: int) -> Tool:
    def places(output: str) -> set[tuple[str, int]]:
        return {(finding["path"], finding["line"]) for finding in json.loads(output)["findings"]}

    return Tool("celery_audit", [sys.executable, str(AUDIT), "--format", "json"], places, rounds)


def linters(home: Path, rounds: int, patience: float) -> list[Tool]:
    """Each in an environment of its own, as pinned, with no configuration but its own defaults."""
    pins = re.findall(r"(?ms)^([\w.-]+)==([\w.]+)(.*?)(?=^\S|\Z)", LOCK.read_text())
    versions = {name: version for name, version, _ in pins}

    def program(name: str) -> str:
        python = install(home / name, sys.executable, LOCK.read_text(), "--require-hashes")
        return str(python.with_name(name))

    def places(output: str) -> set[tuple[str, int]]:
        return {(match["path"].removeprefix("./"), int(match["line"])) for match in PLACE.finditer(output)}

    every = ["check", "--isolated", "--no-cache", "--output-format", "concise", "."]
    plugin = ["--load-plugins", "pylint_celery", "--recursive", "y", "."]
    return [
        Tool(f"ruff {versions['ruff']}", [program("ruff"), *every], places, rounds),
        Tool(f"ruff {versions['ruff']}, all rules", [program("ruff"), *every, "--select", "ALL"], places, rounds),
        Tool(f"flake8 {versions['flake8']}", [program("flake8"), "--isolated", "."], places, rounds),
        Tool(
            f"pylint {versions['pylint']} with pylint-celery {versions['pylint-celery']}",
            [program("pylint"), "--rcfile", os.devnull, *plugin],
            places,
            1,
            patience,
        ),
    ]


# The tables


def sizes(folder: Path, counts: list[int], rounds: int) -> Tree:
    """Time the audit at each size; the tree of the last one."""
    print("| files | MB | seconds, best / median of n | files/s | planted mistakes found | found elsewhere |")
    print("|---|---|---|---|---|---|")
    for count in counts:
        tree, tool = make_tree(folder / str(count), count), audit_tool(rounds)
        for _ in range(tool.rounds):
            tool.run(tree)
        found = tool.found or set()
        print(
            f"| {tree.files:,} | {tree.bytes / 1e6:.1f} | {tool.seconds} | {tree.files / min(tool.times):,.0f} | "
            f"{len(found & tree.planted)} of {len(tree.planted)} | {len(found - tree.planted)} |"
        )
    return tree


def against(tree: Tree, home: Path, rounds: int, patience: float) -> None:
    """Time every tool on one tree, one after the other, round by round."""
    tools = [audit_tool(rounds), *linters(home, rounds, patience)]
    for number in range(rounds):
        for tool in tools:
            if number < tool.rounds:
                tool.run(tree)
    print("\n| tool | seconds, best / median of n | lines with a finding | planted mistakes found |")
    print("|---|---|---|---|")
    for tool in tools:
        lines, found = "unknown", "unknown"
        if tool.found is not None:
            lines, found = f"{len(tool.found):,}", f"{len(tool.found & tree.planted)} of {len(tree.planted)}"
        print(f"| {tool.name} | {tool.seconds} | {lines} | {found} |")
    print(
        "\nA mistake counts as found when the tool says anything at all about its line. pylint-celery holds no check:"
        "\nit only stands in for `celery.task`. No Celery plugin for flake8 was found on the package index."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", action="store_true", help="compare with ruff, flake8 and pylint")
    parser.add_argument("--size", type=int, action="append", help="files of a tree, instead of 1,000, 2,000 and 4,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=900, metavar="SECONDS", help="with pylint")
    parser.add_argument("--keep", type=Path, help="make the trees here, and leave them")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="projects-"))
    try:
        machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
        print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {machine}\n")
        tree = sizes(folder, options.size or SIZES, options.rounds)
        if options.against:
            with tempfile.TemporaryDirectory(prefix="linters-") as home:
                against(tree, Path(home), options.rounds, options.patience)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
