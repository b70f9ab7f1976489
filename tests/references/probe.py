"""Runs projects with the interpreter of the environment under test: ``python probe.py DATABASE < jobs.json``.

A job is a project's folder with the modules that the page wrote, its settings modules (the first is the shop's own),
whether ``check`` is one for deployment and whether there are tests. The first job is the bare skeleton, which leaves
its migrated database for the others to go on from. Celery and Django are imported once: each project gets a fork of
this process, and in it each settings module another. What comes back in each folder's result.json are the modules that
were loaded, the steps that were taken and one ``[settings, step, traceback]`` for each failure.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import celery.app.task
import celery.contrib.django.task  # noqa: F401
import django.db.migrations.executor
import django.test.runner
from django.core.management import call_command

DATABASE = Path(sys.argv[1])
RESULT = Path("result.json")
ATONCE = os.cpu_count() or 1


def main(jobs: list[dict]) -> None:
    running = 0
    for number, job in enumerate(jobs):
        if running == ATONCE or number == 1:  # all others wait for the skeleton's database
            os.wait()
            running -= 1
        running += 1
        if not os.fork():
            os.chdir(job["folder"])
            sys.path.insert(0, job["folder"])
            page(job)
            os._exit(0)
    for _ in range(running):
        os.wait()


def page(job: dict) -> None:
    if DATABASE.exists():
        shutil.copy(DATABASE, "shop.sqlite3")
    parts = [(settings, project) for settings in job["settings"]]
    if job["tests"]:  # last, as they need the migrations that were made, and a process that has opened no database
        parts.append((job["settings"][0], tests))
    result = {"loaded": [], "steps": [], "failures": []}
    for settings, part in parts:
        RESULT.write_text(json.dumps({"failures": [[settings, "import", "the process died"]]}))
        if not os.fork():
            os.environ["DJANGO_SETTINGS_MODULE"] = settings
            run = Run(settings)
            part(job, run)
            loaded = [name for name in (settings, *job["modules"]) if name in sys.modules]
            RESULT.write_text(json.dumps({"loaded": loaded, "steps": run.steps, "failures": run.failures}))
            os._exit(0)
        os.wait()
        for key, found in json.loads(RESULT.read_text()).items():
            result[key] += found
    RESULT.write_text(json.dumps(result))


class Run:
    """What was done with one settings module, and what failed."""

    def __init__(self, settings: str) -> None:
        self.settings = settings
        self.steps: list[str] = []
        self.failures: list[tuple[str, str, str]] = []

    def attempt(self, step: str, action, *args, **options) -> bool:
        self.steps.append(step)
        output = io.StringIO()
        try:
            with redirect_stdout(output), redirect_stderr(output):
                action(*args, **options)
        except BaseException:
            self.failures.append((self.settings, step, output.getvalue() + traceback.format_exc()))
            return False
        return True


def project(job: dict, run: Run) -> None:
    """Import everything, then take the steps; with other settings than the shop's own, ``check`` alone."""
    if not run.attempt("import", django.setup):
        return
    imported = [run.attempt("import", importlib.import_module, name) for name in job["modules"]]
    if not all(imported) or not run.attempt("import", load_tasks):
        return
    if run.settings == job["settings"][0]:
        if DATABASE.exists():  # the page's own models get their migrations, as its reader would make them
            run.attempt("migrations", call_command, "makemigrations", verbosity=0)
            importlib.invalidate_caches()
        run.attempt("migrations", call_command, "makemigrations", check_changes=True, dry_run=True)
        run.attempt("migrate", call_command, "migrate", verbosity=0)
        if not DATABASE.exists():
            run.attempt("migrate", keep_database)
    run.attempt("check", call_command, "check", fail_level="WARNING", deploy=job["deploy"])


def keep_database() -> None:
    with django.db.connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(DATABASE)])


def load_tasks() -> None:
    """What a worker does before it takes its first message."""
    app = importlib.import_module("shop.celery").app
    app.loader.import_default_modules()
    app.finalize()


def tests(job: dict, run: Run) -> None:
    """The page's tests, with results in memory: threads that share SQLite's database in memory lock each other out."""
    os.environ["SHOP_RESULTS"] = "cache+memory://"
    if run.attempt("import", django.setup):
        run.attempt("tests", call_command, "test", verbosity=0, interactive=False)


if __name__ == "__main__":
    main(json.load(sys.stdin))
