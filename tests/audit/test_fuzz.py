"""Whatever a Django project with Celery looks like, the audit ends without an exception, and points into its files.

Odd but valid sources are put together from parts; the rules' own examples are cut, doubled, shuffled and misspelt.
``FUZZ_EXAMPLES`` sets the number of examples of all tests together; they differ from run to run when it is set.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery_audit import cli
from celery_audit.registry import RULES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LIMIT = 20  # seconds for one example, most of which need a few thousandths
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # Hypothesis's word on a large example


def examples(share: float) -> settings:
    return settings(
        max_examples=max(5, round(EXAMPLES * share)),
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all examples; in memory where the system offers that."""
    shared = Path("/dev/shm")
    root = shared / f"audit-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path_factory.mktemp("audit")
    root.mkdir(exist_ok=True)
    yield root
    shutil.rmtree(root)


def survives(root: Path, files: dict[str, str]) -> None:
    """Audit a project of these files by the command: its exit status, and each finding inside its file."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode(errors="surrogatepass"))
    begin, out, err = time.monotonic(), io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main([str(root), "--format", "json"])
        lines = {path: (root / path).read_bytes().decode(errors="replace") for path in files}
    finally:
        for part in root.iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert time.monotonic() - begin < LIMIT
    assert err.getvalue() == ""
    report = json.loads(out.getvalue())
    assert not report["failures"], report["failures"]
    assert status == (1 if report["findings"] else 0)
    for finding in report["findings"]:
        inside(finding, re.split(r"\r\n|\r|\n", lines[finding["path"]]))


def inside(finding: dict, lines: list[str]) -> None:
    """A finding stands in its file, ends after it begins, and says something in one line."""
    begin, end = (finding["line"], finding["column"]), (finding["end_line"], finding["end_column"])
    assert (1, 1) <= begin <= end, finding
    assert end[0] <= len(lines), finding
    assert begin[1] <= len(lines[begin[0] - 1]) + 1, finding
    assert end[1] <= len(lines[end[0] - 1]) + 1, finding
    assert finding["message"].strip(), finding
    assert "\n" not in finding["message"], finding
    assert finding["code"] in lines[begin[0] - 1], finding


# Sources from parts: templates in which {e} is an expression, {n} a name, and {k} an option


def words(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


NAMES = words(
    """send report app task self order request transaction on_commit delay Task shared_task Order models settings
    chain group chord crontab partial retry bind name queue args kwargs é _ run save post_save receiver
    current_app"""
)
ATOMS = words(
    r"""None True -1 0 1e999 10**9 'orders.send' "" b'x' ... () [] {} f'{order.pk}' 'a' 'b' r'\d' lambda:0 3_600
    order.pk self.request.retries send report app order request settings.X os.environ['URL'] timezone.now()
    timedelta(days=1) crontab() crontab(minute='*/7') crontab(0,9) Exception requests.Timeout __file__
    'redis://:p@h/1' 'amqp://guest@h//' Queue('a') {**x} [*x] (yield) 1j ''.join([]) x[1:2,::3] not(x) x<y<z
    x:=1"""
).map(lambda atom: f"({atom})" if ":=" in atom or atom.startswith("lambda") else atom)
WORDS = words(
    """countdown eta expires queue args kwargs link link_error bind name max_retries autoretry_for retry_backoff
    exc acks_late base serializer rate_limit time_limit soft_time_limit ignore_result using robust sender
    dispatch_uid minute hour day_of_week schedule task options throws retry_jitter task_id headers priority
    durable"""
)
FUNCTIONS = words(
    """send.delay send.apply_async send.s send.si send.retry self.retry app.send_task send.delay_on_commit chain
    group chord transaction.on_commit on_commit partial shared_task app.task app.task() crontab Celery send.map
    send.chunks send.apply_async_on_commit report.delay AsyncResult send.delay().get self.replace
    current_app.send_task signature app.add_periodic_task app.config_from_object
    PeriodicTask.objects.filter().update app.conf.update app.signature order.save super().save send.starmap xmap
    getattr(send,'delay') send send() (send|report).delay"""
)


def call(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    plain = inner | inner.map("*[{}]".format)
    word = st.builds("{}={}".format, WORDS, inner)
    words = st.lists(word, max_size=3, unique_by=lambda text: text.partition("=")[0])
    extra = st.sampled_from([[], [], ["**options"], ["**{'queue': 'a'}"]])
    return st.builds(
        lambda name, args, words, extra: f"{name}({', '.join([*args, *words, *extra])})",
        FUNCTIONS,
        st.lists(plain, max_size=3),
        words,
        extra,
    )


EXPRESSIONS = st.recursive(
    ATOMS | NAMES,
    lambda inner: st.one_of(
        call(inner),
        call(inner),
        st.builds("({} | {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{} for {} in {}]".format, inner, NAMES, inner),
        st.builds("(lambda {}={}: {})".format, NAMES, inner, inner),
        st.builds("{{'task': {}, 'schedule': {}, 'args': {}}}".format, inner, inner, inner),
        st.builds("({}, {})".format, inner, inner),
        st.builds("({}).{}".format, inner, NAMES),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("dict({}={})".format, WORDS, inner),
    ),
    max_leaves=8,
)
HEADS = st.sampled_from(
    [
        "with transaction.atomic():", "with transaction.atomic(using='b', durable=True) as t, open(x) as f:", "try:",
        "if {e}:", "for {n} in {e}:", "while {e}:", "async def {n}():", "def {n}(self, *a, k=1, **o):",
        "def {n}(a, /, *, b):",
        "@{e}\ndef {n}(x):", "@shared_task\ndef send(order_pk):", "@app.task(bind=True)\ndef report(self, a=1):",
        "@transaction.atomic\ndef {n}(x):", "class {n}(Task):", "class Order(models.Model):", "def save(self, *a):",
        "class {n}({e}):", "@receiver(post_save, sender={e})\ndef {n}(sender, **kwargs):",
        "@transaction.non_atomic_requests\ndef {n}():",
        "@shared_task({k}={e})\ndef {n}(): ", "class OrderAdmin(admin.ModelAdmin):", "def save_model(self, *a):",
        "def ready(self):", "@app.on_after_configure.connect\ndef {n}(sender, **k):",
        "def test_{n}(db):",
    ]
)  # fmt: skip
LINES = st.sampled_from(
    [
        "{e}", "{e}", "{e}", "{n} = {e}", "{n}: int = {e}", "{n} += {e}", "({n}, *_) = {e}", "return {e}", "raise {e}",
        "yield {e}", "del {n}", "global {n}", "pass", "assert {e}, {e}",
        "{n} = {n}2 = {e}", "CELERY_BEAT_SCHEDULE = {e}",
        "CELERY_TASK_ROUTES = {e}", "app.conf.beat_schedule = {e}", "app.conf.{n} = {e}", "CELERY_{n} = {e}",
        "CELERY_BROKER_URL = {e}", "CELERY_BROKER_TRANSPORT_OPTIONS = {e}", "DATABASES = {e}", "app = Celery({e})",
        "app.config_from_object({e}, namespace={e})", "raise self.retry(exc={e})", "self.{n} = {e}  # noqa: DCE1",
        "await {e}", "from {n} import *", "match {e}:\n    case {n}:\n        {e}",
        "import {n}.{n} as {n}", "from . import {n}", "from .{n} import {n} as {n}",
    ]
)  # fmt: skip
IMPORTS = """\
import os, requests
from datetime import timedelta
from functools import partial
from celery import *
from celery import Celery, Task, chain, chord, current_app, group, shared_task, signature
from celery.schedules import crontab
from django.conf import settings
from django.contrib import admin
from django.db import models, transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from orders.tasks import send, report
from orders.models import Order
from django_celery_beat.models import PeriodicTask
app = Celery('shop')
"""


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0) -> str:
    """Some statements, some of them with blocks inside."""
    made = []
    for _ in range(draw(st.integers(1, 4 if depth else 6))):
        nested = depth < 4 and draw(st.booleans())
        line = draw(HEADS if nested else LINES)
        while match := re.search(r"\{([enk])\}", line):
            part = draw({"e": EXPRESSIONS, "n": NAMES, "k": WORDS}[match[1]])
            line = line[: match.start()] + part.replace("{", "\x01").replace("}", "\x02") + line[match.end() :]
        line = line.replace("\x01", "{").replace("\x02", "}")
        if nested:
            line += "\n" + re.sub("(?m)^", "    ", draw(blocks(depth + 1)))
            line += "\nexcept Exception:\n    pass" if line.startswith("try:") else ""
        made.append(line)
    return "\n".join(made)


SOURCES = blocks().map(lambda text: f"{IMPORTS}{text}\n")
PYTHON = words(
    """orders/tasks.py orders/__init__.py orders/models.py orders/views.py orders/admin.py shop/settings.py
    shop/celery.py shop/__init__.py shop/settings/production.py orders/apps.py orders/signals.py celeryconfig.py"""
)


@examples(0.35)
@given(st.dictionaries(PYTHON, SOURCES, min_size=1, max_size=4))
def test_sources(root: Path, files: dict[str, str]) -> None:
    survives(root, files)


# The rules' examples, changed


def project(example: str) -> dict[str, str]:
    parts = [part.partition("\n") for part in re.split(r"(?m)^=== ", example) if part.strip()]
    return {path.strip(): content for path, _, content in parts}


PROJECTS = [project(example) for rule in RULES.values() for example in (*rule.bad, *rule.good)]
TOKENS = sorted({token for files in PROJECTS for text in files.values() for token in re.findall(r"\w+|[^\w\s]+", text)})
OTHER = st.sampled_from(
    [*TOKENS, "", "\n", "    ", "\t", "\r\n", "é", "\0", "\ufeff", "\f", "\\\n", "*", "**", '"""', "{{", "${A:-b}"]
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "drop", "double", "swap", "replace", "insert", "end", "indent"]),
        st.floats(0, 1),
        st.floats(0, 1),
        OTHER,
    ),
    min_size=1,
    max_size=4,
)


def edited(text: str, edits: list[tuple[str, float, float, str]]) -> str:
    """A text after some accidents to its tokens, lines or end."""
    for kind, at, to, other in edits:
        if kind == "cut":
            text = text[: int(at * len(text))]
        elif kind == "end":
            text = text.replace("\n", "\r\n" if at < 0.5 else "\r")
        elif kind in ("drop", "double", "swap", "indent"):
            lines = text.splitlines(keepends=True) or [""]
            one, two = int(at * (len(lines) - 1)), int(to * (len(lines) - 1))
            lines[one], lines[two] = (
                {
                    "drop": ("", lines[two]),
                    "double": (lines[one] * 2, lines[two]),
                    "swap": (lines[two], lines[one]),
                    "indent": (f"    {lines[one]}", lines[two]),
                }[kind]
                if one != two
                else (lines[one] * 2,) * 2
            )
            text = "".join(lines)
        else:
            tokens = re.findall(r"\w+|\s+|[^\w\s]", text) or [""]
            place = int(at * (len(tokens) - 1))
            tokens[place] = other if kind == "replace" else tokens[place] + other
            text = "".join(tokens)
    return text


@examples(0.35)
@given(st.sampled_from(PROJECTS), st.data())
def test_examples_changed(root: Path, files: dict[str, str], data: st.DataObject) -> None:
    survives(root, {path: edited(text, data.draw(EDITS)) for path, text in files.items()})


@examples(0.2)
@given(st.lists(st.sampled_from(PROJECTS), min_size=2, max_size=6))
def test_examples_in_one_project(root: Path, parts: list[dict[str, str]]) -> None:
    """What rules know of one project must not trip over what others made of it."""
    files: dict[str, str] = {}
    for part in parts:
        for path, text in part.items():
            files[path] = files.get(path, "") + text + "\n"
    survives(root, files)


# Deployment files

DEPLOYMENT = words(
    """compose.yml docker-compose.prod.yaml k8s/worker.yaml celery.service Procfile supervisord.conf Dockerfile
    start.sh"""
)
WORDS_OF_FILES = """\
services:\n|  worker:\n|    image: shop\n|    command: |celery -A shop worker|celery -A shop beat| -l info| -B|
 --concurrency=4|--pool gevent| -Q a,b|    command: [|"celery", "-A", "shop"|]\n|    command: >\n|      celery worker\n|
    stop_grace_period: 10s\n|    deploy:\n      replicas: 3\n|healthcheck:\n|celery inspect ping|\n|\\\n|'|"|${A:-b}|
    &a |*a|<<: *a\n|[Service]\n|ExecStart=|KillMode=|TimeoutStopSec=|[program:celery]\n|command=|stopwaitsecs=|worker: |
    CMD ["|ENTRYPOINT |#!/bin/sh\n|exec | && | \\| tee|terminationGracePeriodSeconds: 30\n|args: |- |--- \n|\t|\0|é|
    livenessProbe:\n|exec:\n|RUN |FROM python\n|redis-server|rabbitmq|celery flower|--max-tasks-per-child|=|1e9|-1"""
TEXTS = st.lists(st.sampled_from(WORDS_OF_FILES.split("|")) | st.text(max_size=3), max_size=24).map("".join)


@examples(0.1)
@given(st.dictionaries(DEPLOYMENT, TEXTS, min_size=1, max_size=3), st.sampled_from(PROJECTS))
def test_deployment_files(root: Path, files: dict[str, str], rest: dict[str, str]) -> None:
    survives(root, {**rest, **files})
