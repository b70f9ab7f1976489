"""The harness reports what is wrong with a page, at the page's line; its exceptions are needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from matrix import oldest
from pages import EXCEPTIONS, PAGES, Block, Environment, Note, Outcome, Step, blocks, notes, prove

BROKEN = """# Broken

```python title="orders/tasks.py"
from celery import shared_task


@shared_task(name="orders.fine", retry_on_worker_lost=True)  # 5.7+
def fine() -> None: ...
```

```python title="orders/late.py"
from orders.tasks import fine
from orders.models import Invoice
```

```python title="orders/late.py"
LATE = fine
```

```python title="shop/settings_wrong.py"
# Wrong: shows what not to do
raise RuntimeError
```

```python
import this_block_names_no_file
```

```python title="orders/words.py"
this is no Python
```
"""

FAILING = """# Failing

```python title="shop/celery.py"
from django.core import checks


@checks.register
def never(app_configs, **kwargs):
    return [checks.Error("never", id="shop.E999")]
```
"""

UNTRUE = """# Untrue

```python title="orders/tests.py"
from django.test import SimpleTestCase


class Tests(SimpleTestCase):
    def test_sum(self):
        self.assertEqual(1 + 1, 3)
```
"""

UNLOADABLE = """# Unloadable

```python title="orders/models.py"
from django.db import models
```

```python title="orders/models.py"
DAY = models.DateFeld()
```

```python title="orders/tasks.py"
from orders.models import DAY
```
"""

SAYS = """# Says

`worker_eta_task_limit` (5.6+), `--old` and `--new` (5.7+), `old_setting = "auto"` (5.7+), `email` (Django 6.0+).

| feature | since |
|---|---|
| `new_option=True`, that `works` | 5.7 |
"""


def pretend(celery: str, *names: str) -> Environment:
    """An environment that has no more than the names."""
    environment = Environment("pretended", Path(sys.executable))
    environment.__dict__["facts"] = {
        "distributions": {"celery": celery, "django": "5.2"},
        "settings": names,
        "task options": names,
        "command-line options": {"celery": names},
        "Redis transport options": (),
    }
    return environment


@pytest.fixture(scope="module")
def proved(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("made-up")
    texts = {"broken": BROKEN, "failing": FAILING, "untrue": UNTRUE, "unloadable": UNLOADABLE}
    written = [folder / f"{name}.md" for name in texts]
    for page, text in zip(written, texts.values(), strict=True):
        page.write_text(text)
    environment = Environment("newest", Path(sys.executable))
    outcomes = prove(written, folder / "projects", environment)
    return {claim: outcome for page in outcomes.values() for claim, outcome in page.items()}


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (3, "executed", ""),
        (11, "failed", "broken.md:13: ImportError: cannot import name 'Invoice'"),
        (16, "failed", "broken.md:16: not reached, as "),
        (20, "wrong", ""),
        (25, "failed", "broken.md:25: a Python block names its file"),
        (29, "failed", "broken.md:30: invalid syntax"),
    ],
)
def test_every_block_is_accounted_for_at_its_line(proved, line, kind, message):
    found = {c.line: out for c, out in proved.items() if isinstance(c, Block) and c.page.stem == "broken"}
    outcome = found[line]
    assert outcome.kind == kind
    assert message in outcome.message.splitlines()[0] if message else not outcome.message


def test_a_failed_step_says_which_and_where(proved):
    outcomes = {(step.page.stem, step.name): outcome for step, outcome in proved.items() if isinstance(step, Step)}
    assert "shop.E999" in outcomes["failing", "check"].message
    assert 'untrue.md", line 9, in test_sum' in outcomes["untrue", "tests"].message
    assert outcomes["failing", "migrate"] == outcomes["untrue", "check"] == Outcome("passed")


def test_a_model_that_fails_leaves_nothing_executed(proved):
    found = {c.line: out for c, out in proved.items() if isinstance(c, Block) and c.page.stem == "unloadable"}
    assert {line: outcome.kind for line, outcome in found.items()} == {3: "executed", 7: "failed", 11: "failed"}
    assert "unloadable.md:8: AttributeError" in found[7].message
    assert "not reached, as" in found[11].message


def test_steps_after_a_failed_import_are_not_reached(proved):
    broken = [out for step, out in proved.items() if isinstance(step, Step) and step.page.stem == "broken"]
    assert broken
    assert all("was not reached" in outcome.message for outcome in broken)


def test_marked_lines_stay_out_below_their_version(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('```python title="shop/settings.py"\nOLD = 1\nNEW = 2  # 5.7+\n```\n')
    (block,) = blocks(page)
    assert list(block.lines(pretend("5.6.3"))) == ["OLD = 1", ""]
    assert list(block.lines(pretend("5.7.0"))) == ["OLD = 1", "NEW = 2  # 5.7+"]


@pytest.mark.parametrize(
    ("celery", "names", "kind"),
    [
        ("5.6.3", (), "below"),
        ("5.6.3", ("celery_result_chord_expires", "result_chord_expires"), "failed"),
        ("5.7.0", (), None),
    ],
)
def test_a_block_with_a_floor_needs_it(tmp_path, celery, names, kind):
    page = tmp_path / "page.md"
    page.write_text('```python title="shop/settings.py"\n# Celery 5.7+\nCELERY_RESULT_CHORD_EXPIRES = 1\n```\n')
    (block,) = blocks(page)
    environment = pretend(celery, *names)
    environment.__dict__["missing"] = frozenset()
    outcome = block.outside(environment)
    assert (outcome and outcome.kind) == kind


def test_only_the_references_own_packages_can_be_lacking(tmp_path):
    """Without django-celery-beat there is no python-crontab either, whose module has the name of Celery's schedule."""
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="a.py"\nimport django_guid\n```\n\n```python title="b.py"\ncrontab(minute=0)\n```\n'
    )
    environment = pretend("5.7.0")
    lacking, fine = (block.outside(environment) for block in blocks(page))
    assert lacking == Outcome("lacking", "django_guid")
    assert fine is None


def test_notes_are_read_from_prose_tables_and_code(tmp_path):
    page = tmp_path / "says.md"
    page.write_text(SAYS)
    assert [(note.line, note.name, note.package, note.floor, note.value) for note in notes(page)] == [
        (3, "worker_eta_task_limit", "Celery", "5.6", False),
        (3, "--old", "Celery", "5.7", False),
        (3, "--new", "Celery", "5.7", False),
        (3, "old_setting", "Celery", "5.7", True),
        (3, "email", "Django", "6.0", False),
        (7, "new_option", "Celery", "5.7", True),
        (7, "works", "Celery", "5.7", False),
    ]


@pytest.mark.parametrize(
    ("celery", "names", "value", "kind"),
    [
        ("5.6.3", (), False, "checked"),
        ("5.6.3", ("name",), False, "failed"),
        ("5.6.3", ("name",), True, "value"),
        ("5.7.0", ("name",), False, "checked"),
        ("5.7.0", (), True, "failed"),
    ],
)
def test_a_name_exists_from_its_version_on_and_not_before(celery, names, value, kind):
    note = Note(Path("page.md"), 1, "name", "Celery", "5.7", value)
    assert note.verdict(pretend(celery, *names)).kind == kind


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("CELERY_KNOWN = 1", True),
        ("CELERY_NEWER = 1", False),
        ("@shared_task(known=1)\ndef f(): return print(newer=2)", True),
        ("f.apply_async(newer=1)", False),
        ("from celery import shared_task\nfrom orders.models import Order", True),
        ("from celery import newer", False),
        ("import django.newer", False),
        ("from django.contrib.auth.models import User", True),  # which wants settings
    ],
)
def test_what_an_environment_can_lack(code, allowed):
    assert pretend("5.6.3", "known").allows(code) is allowed


@pytest.mark.parametrize(("name", "feature"), EXCEPTIONS)
def test_every_exception_is_needed(name, feature):
    environment = Environment("oldest", oldest())
    excepted = [note for page in PAGES if page.name == name for note in notes(page) if note.name == feature]
    assert [note.verdict(environment).kind for note in excepted] == ["excepted"]
