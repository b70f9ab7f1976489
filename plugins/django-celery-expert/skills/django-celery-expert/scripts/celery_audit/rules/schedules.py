"""DCE6xx: Beat and its schedules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from ..atomic import callee
from ..infer import UNKNOWN, assigned, constant, own_nodes, seconds
from ..module import MAX_DEPTH, Function, Module, has_open_keywords, scope
from ..project import BeatEntry, Project, Setting, Task, is_canvas
from ..registry import Problem, rule
from ..signatures import mismatch

CRONTABS = {"celery.schedules.crontab", "celery.task.schedules.crontab"}
ROWS = "django_celery_beat.models."
FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")  # the order of crontab()'s positions
BOUNDS = {"minute": (0, 59), "hour": (0, 23), "day_of_week": (0, 6), "day_of_month": (1, 31), "month_of_year": (1, 12)}
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAMES = {**{name: n for n, name in enumerate(DAYS)}, **{name: n for n, name in enumerate(MONTHS, 1)}}
DAYS_IN_MONTH = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1))
SCHEDULE_OPTIONS = {"app", "nowfun", "tz"}  # what crontab() takes besides its fields; tz: CrontabSchedule's own


class Crontab(NamedTuple):
    """A ``crontab(...)`` call, or the creation of a `CrontabSchedule` row, with the fields it writes."""

    call: ast.Call
    module: Module
    fields: dict[str, ast.expr]
    row: bool
    open: bool  # whether stars hide fields

    def value(self, field: str) -> object:
        """The field's constant value; "*" when it is not written; UNKNOWN when it cannot be told."""
        if field not in self.fields:
            return UNKNOWN if self.open else "*"
        return constant(self.fields[field], self.module)

    def values(self, field: str) -> set[int] | None:
        """The numbers a field stands for; None when they cannot be told."""
        spec = self.value(field)
        if spec is UNKNOWN:
            return None
        try:
            return _expand(field, spec)[0]
        except ValueError:
            return None


def crontabs(project: Project) -> Iterator[Crontab]:
    """Every crontab the project writes."""
    for module in project.modules:
        if not module.mentions(b"crontab", b"CrontabSchedule"):
            continue
        for call in module.find(ast.Call):
            name = project.meaning(call.func, module)
            if name in CRONTABS:
                yield _crontab(call, module, row=False)
            elif name and name.startswith(f"{ROWS}CrontabSchedule"):
                method = name[len(ROWS) :]
                if method == "CrontabSchedule" or method.endswith((".create", ".get_or_create")):
                    yield _crontab(call, module, row=True)


def _crontab(call: ast.Call, module: Module, row: bool) -> Crontab:
    fields: dict[str, ast.expr] = {}
    hidden = has_open_keywords(call)
    for position, value in enumerate(call.args):
        if isinstance(value, ast.Starred):
            hidden = True
            break
        if position < len(FIELDS) and not row:
            fields[FIELDS[position]] = value
    for word in call.keywords:
        if word.arg in BOUNDS:
            fields[word.arg] = word.value
        elif row and word.arg == "defaults":
            hidden = True
    return Crontab(call, module, fields, row, hidden)


def _expand(field: str, spec: object) -> tuple[set[int], str]:
    """The numbers of a field as Celery's parser reads it, and the text it passes over; ValueError when it refuses."""
    low, high = BOUNDS[field]
    if isinstance(spec, int):
        numbers, ignored = {int(spec)}, ""
    elif isinstance(spec, str):
        numbers, ignored = _parse(spec, low, high)
    elif isinstance(spec, (list, tuple)):
        if not all(isinstance(part, int) for part in spec):
            raise ValueError("a list must hold numbers")
        numbers, ignored = set(spec), ""
    else:
        raise ValueError(f"{spec!r} is neither a number nor text")
    for number in sorted(numbers):
        if not low <= number <= high:
            raise ValueError(f"{number} is outside {low}-{high}")
    return numbers, ignored


def _parse(spec: str, low: int, high: int) -> tuple[set[int], str]:
    numbers: set[int] = set()
    ignored = ""
    every = list(range(low, high + 1))
    for part in spec.split(","):
        if not part:
            raise ValueError("an empty part")
        match = re.match(r"(?:(\w+?)-(\w+)|(\*))/(\w+)?", part)
        if match:
            first, last, _, step = match.groups()
            if not step or not step.isdigit() or int(step) == 0:
                raise ValueError(f"{part!r} has no valid step")
            found = (every if first is None else _range(first, last, low, high))[:: int(step)]
        elif match := re.match(r"(\w+?)-(\w+)", part):
            found = _range(match[1], match[2], low, high)
        elif part == "*":
            found = every
        else:
            number, rest = _number(part, low, high)
            found, ignored = [number], rest or ignored
        if match:
            ignored = part[match.end() :].strip() or ignored
        numbers.update(found)
    return numbers, ignored


def _range(first: str, last: str, low: int, high: int) -> list[int]:
    start, end = _number(first, low, high)[0], _number(last, low, high)[0]
    if end < start:
        return [*range(start, high + 1), *range(low, end + 1)]
    return list(range(start, end + 1))


def _number(text: str, low: int, high: int) -> tuple[int, str]:
    """A number or a name, of which Celery reads three letters; and what stands behind the name's word."""
    ignored = ""
    if text.startswith("-"):
        raise ValueError(f"{text!r} is negative")
    try:
        number = int(text)
    except ValueError:
        name = NAMES.get(text[:3].lower())
        if name is None:
            raise ValueError(f"{text!r} is no number and no name of a day or month") from None
        number, ignored = name, re.sub(r"^[^\W\d_]+", "", text).strip()
    if not low <= number <= high:
        raise ValueError(f"{number} is outside {low}-{high}")
    return number, ignored


@rule("DCE601", "crontab-without-minute", "error", "periodic-tasks#crontab")
def crontab_without_minute(project: Project) -> Iterator[Problem]:
    """A crontab names an hour, a day or a month, and no minute.

    Why: an omitted field means "every", not 0: `crontab(hour=3)` sends 60 messages from 03:00 to 03:59, and a day of
    the week alone 1,440 a day.
    Fix: Add `minute=0` (and `hour=…` where a day is meant); write `minute="*"` where every minute is wanted.
    Source: Measured (fields of `celery.schedules.crontab` and of a CrontabSchedule row).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"totals": {"task": "orders.totals", "schedule": crontab(hour=3)}}
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"totals": {"task": "orders.totals", "schedule": crontab(minute=0, hour=3)}}
    """
    for found in crontabs(project):
        if found.open or "minute" in found.fields or not found.fields:
            continue
        hours, days = found.values("hour"), "hour" not in found.fields
        count = "every minute of each of its days" if days else "every minute of that hour"
        if hours is not None and len(hours) == 24 and not days:
            count = "every minute of the day"
        elif hours is not None and not days and len(hours) > 1:
            count = "every minute of those hours"
        yield Problem(f"no minute is named, so it fires {count}", found.call, found.module.path)


@rule("DCE602", "crontab-without-hour", "warning", "periodic-tasks#crontab")
def crontab_without_hour(project: Project) -> Iterator[Problem]:
    """A crontab names one minute and a day, and no hour.

    Why: `crontab(minute=0, day_of_month=1)` fires 24 times on the first, not once.
    Fix: Add `hour=…`; write `hour="*"` where every hour of that day is wanted.
    Source: Measured (fields of `celery.schedules.crontab`).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"invoices": {"task": "orders.invoices", "schedule": crontab(minute=0, day_of_month=1)}}
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {
            "invoices": {"task": "orders.invoices", "schedule": crontab(minute=0, hour=4, day_of_month=1)},
            "hourly": {"task": "orders.hourly", "schedule": crontab(minute=0)},
        }
    """
    for found in crontabs(project):
        if found.open or "minute" not in found.fields or "hour" in found.fields:
            continue
        minutes = found.values("minute")
        days = [field for field in FIELDS[2:] if field in found.fields and found.value(field) != "*"]
        if days and minutes is not None and len(minutes) == 1:
            yield Problem(
                f"{days[0]} without hour: it fires 24 times on each of those days", found.call, found.module.path
            )


@rule("DCE603", "crontab-invalid", "error", "periodic-tasks#crontab")
def crontab_invalid(project: Project) -> Iterator[Problem]:
    """A crontab field is out of range, misnamed or unreadable, or the date does not exist.

    Why: `crontab()` raises ValueError (or ParseException, TypeError) where it stands, so the settings or the app do not
    import. A CrontabSchedule row with such a field is stored and never sent. 30 February is refused by 5.7; before,
    Beat dies of it.
    Fix: Minute 0-59, hour 0-23, day of week 0-6 (Sunday is 0) or mon…sun, day of month 1-31, month 1-12 or jan…dec.
    Source: Measured (each form, against `celery.schedules.crontab`).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"report": {"task": "orders.report", "schedule": crontab(0, 9, day_of_week=7)}}
    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        YEARLY = crontab(0, 9, day_of_month=30, month_of_year=2)
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"report": {"task": "orders.report", "schedule": crontab(0, 9, day_of_week="sun")}}
    """
    for found in crontabs(project):
        path = found.module.path
        if not found.row:
            for word in found.call.keywords:
                if word.arg and word.arg not in BOUNDS and word.arg not in SCHEDULE_OPTIONS:
                    yield Problem(f"crontab() has no parameter {word.arg!r}: TypeError", word.value, path)
        broken = False
        for field, node in found.fields.items():
            spec = constant(node, found.module)
            if spec is UNKNOWN or isinstance(spec, bool):
                continue
            try:
                _expand(field, spec)
            except ValueError as error:
                broken = True
                then = "the row is never sent" if found.row else "crontab() raises"
                yield Problem(f"{field}={spec!r}: {error}; {then}", node, path)
        days, months = found.values("day_of_month"), found.values("month_of_year")
        if not broken and days and months and not any(d <= DAYS_IN_MONTH[m] for d in days for m in months):
            yield Problem(
                f"day {min(days)} never occurs in month {', '.join(map(str, sorted(months)))}", found.call, path
            )


@rule("DCE604", "crontab-ignored-text", "error", "periodic-tasks#crontab")
def crontab_ignored_text(project: Project) -> Iterator[Problem]:
    """A crontab field holds more than Celery reads: a whole cron line, or a list that is not separated by commas.

    Why: the parser matches the beginning of a field and passes over the rest without an error:
    `crontab("*/5 3 * * 1")` is every five minutes of every day, `day_of_week="mon - fri"` is Monday alone.
    Fix: Use `crontab.from_string("*/5 3 * * 1")` for a cron line, `"mon-fri"` and `"mon,tue"` without blanks for days.
    Source: Measured (fields of `celery.schedules.crontab`).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": crontab("*/5 3 * * 1")}}
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": crontab.from_string("*/5 3 * * 1")}}
    """
    for found in crontabs(project):
        for field, node in found.fields.items():
            spec = constant(node, found.module)
            if not isinstance(spec, str):
                continue
            try:
                ignored = _expand(field, spec)[1]
            except ValueError:
                continue
            if ignored:
                yield Problem(f"{field}={spec!r}: {ignored!r} is passed over without an error", node, found.module.path)


@rule("DCE605", "crontab-cron-order", "warning", "periodic-tasks#crontab")
def crontab_cron_order(project: Project) -> Iterator[Problem]:
    """A crontab is given its days by position, in the order of cron.

    Why: the third position is the day of the *week* and the fifth the month; cron has day of month and day of week
    there. `crontab(0, 3, 1)` runs on Mondays, not on the first; `crontab(*line.split())` moves every day.
    Fix: Name the fields, or use `crontab.from_string("0 3 1 * *")`, which reads cron's order.
    Source: Measured (fields of `celery.schedules.crontab`).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"invoices": {"task": "orders.invoices", "schedule": crontab(0, 3, 1)}}
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"invoices": {"task": "orders.invoices", "schedule": crontab(0, 3, day_of_month=1)}}
    """
    for found in crontabs(project):
        if found.row:
            continue
        args, path = found.call.args, found.module.path
        starred = next((arg.value for arg in args if isinstance(arg, ast.Starred)), None)
        if starred is not None:
            if len(args) == 1 and _is_split(starred):
                yield Problem(
                    "crontab() takes day of week third and month fifth, a cron line has them elsewhere", args[0], path
                )
            continue
        for position, meant, is_now in ((2, "day of month", "day of week"), (4, "day of week", "month")):
            value = constant(args[position], found.module) if len(args) > position else "*"
            if isinstance(value, (int, str)) and str(value) != "*" and not re.search("[a-z]{3}", str(value).lower()):
                yield Problem(
                    f"position {position + 1} is the {is_now}, where cron has the {meant}", args[position], path
                )
                break


def _is_split(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        node = assigned(node) or node
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "split"


@rule("DCE606", "crontab-uneven-step", "warning", "periodic-tasks#crontab")
def crontab_uneven_step(project: Project) -> Iterator[Problem]:
    """A step does not divide the hour or the day, and begins anew with each of them.

    Why: `minute="*/45"` fires at :00 and :45, 45 and then 15 minutes apart; `minute="*/90"` fires at :00 only.
    Fix: Use `timedelta(minutes=45)`, or a step that divides 60 (24 for hours).
    Source: Measured (fields of `celery.schedules.crontab`).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": crontab(minute="*/45")}}
    Good:
        === shop/settings.py
        from datetime import timedelta

        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": timedelta(minutes=45)}}
    """
    for found in crontabs(project):
        for field, whole in (("minute", 60), ("hour", 24)):
            match = re.fullmatch(r"\*/(\d+)", str(found.value(field)).strip())
            step = int(match[1]) if match else 1
            last = whole % step if step else 0
            if match and last and (step > whole or last * 2 < step):
                numbers = ", ".join(str(number) for number in range(0, whole, step))
                yield Problem(
                    f"{field}='*/{step}' fires at {field} {numbers} only", found.fields[field], found.module.path
                )


ENTRY_KEYS = {
    "task", "schedule", "args", "kwargs", "options", "relative", "name", "app", "last_run_at", "total_run_count",
}  # fmt: skip
ROW_KEYS = {
    "enabled", "one_off", "start_time", "expires", "description", "date_changed", "queue", "exchange", "routing_key",
    "priority", "headers", "expire_seconds",
}  # fmt: skip
KEPT_OPTIONS = {"queue", "exchange", "routing_key", "priority", "headers", "expire_seconds"}  # by DatabaseScheduler


def scheduler(project: Project) -> str:
    """Which scheduler Beat runs with: "core", "database", "redbeat", or "other" where it is the project's own."""
    found = set()
    for setting in project.settings:
        if setting.written.lower().endswith("beat_scheduler"):
            value = constant(setting.value, setting.module)
            found.add(value if isinstance(value, str) else str(project.meaning(setting.value, setting.module)))
    for text in project.text:
        for line in text.lines:
            if match := re.search(r"(?:-S|--scheduler)[\s=\"',]+([\w.:]+)", line):
                found.add(match[1])
    kinds = {
        "database" if name == "django" or name.startswith("django_celery_beat.")
        else "redbeat" if "redbeat" in name.lower()
        else "core" if name.startswith("celery.")
        else "other"
        for name in found
    }  # fmt: skip
    return next((kind for kind in ("other", "database", "redbeat") if kind in kinds), "core")


def entry_task(entry: BeatEntry, project: Project) -> Task | None:
    """The project's task that an entry names, by text, by ``task.name`` or by a signature."""
    node = entry.parts.get("task")
    name = constant(node, entry.module)
    if isinstance(name, str):
        return project.named(name)
    if isinstance(node, ast.Attribute) and node.attr == "name":
        return project.task_of(node.value, entry.module)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("s", "si"):
        return project.task_of(node.func.value, entry.module)
    return None


@rule("DCE607", "beat-unknown-task", "error", "periodic-tasks#mistakes-to-look-for")
def beat_unknown_task(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """A Beat entry names a task that the project does not have.

    Why: Beat sends whatever name stands there; the worker logs "Received unregistered task" and discards the message at
    every tick.
    Fix: Write the task's registered name: `name=` of its decorator where there is one, else module and function.
    Source: Measured (Beat sends an unknown name without an error).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"totals": {"task": "orders.tasks.daily_total", "schedule": 60}}
        === orders/__init__.py
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def daily_totals(): ...
    Good:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"totals": {"task": "orders.tasks.daily_totals", "schedule": 60}}
        === orders/__init__.py
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def daily_totals(): ...
    """
    node = entry.parts.get("task")
    name = constant(node, entry.module)
    if entry.call is not None or not isinstance(name, str) or name.startswith("celery.") or not project.tasks:
        return
    if project.named(name) is not None or not _is_missing(name, project):
        return
    moved = next((t for t in project.tasks.values() if f".{t.qualified}".endswith(f".{name}")), None)
    if moved is not None:
        yield Problem(f"no task is called {name!r}: that function is registered as {moved.name!r}", node or entry.node)
        return
    close = get_close_matches(name, project.by_name, 1, 0.75)
    hint = f"; the closest is {close[0]!r}" if close else ""
    yield Problem(f"no task of this project is called {name!r}{hint}", node or entry.node)


def _is_missing(name: str, project: Project) -> bool:
    """Whether the project would have to define that name: it names a module of its own, or nearly one of its tasks."""
    if any(
        isinstance(task.options.get("name"), ast.expr) and task.option("name") is UNKNOWN
        for task in project.tasks.values()
    ):
        return False  # names are made at run time
    dotted, _, last = name.rpartition(".")
    if any(f".{name}".endswith(f".{task.name}") for task in project.tasks.values()):
        return False  # the audited folder lies below the import root
    if any(name.encode() in (project.files.read(path) or b"") for path, *_ in project.unparsed):
        return False
    if not dotted:
        return bool(get_close_matches(name, project.by_name, 1, 0.85))
    if project.has_module(dotted):
        module = project.find_module(dotted, "")
        if module is None or module.stars:
            return False
        known = project.resolve(name)
        found = project.definition(known)
        if found is not None and not isinstance(found[1], (*Function, ast.ClassDef)):
            return False  # made by something that is not understood
        if found is not None and isinstance(found[1], (*Function, ast.ClassDef)):
            decorated = bool(found[1].decorator_list) or isinstance(found[1], ast.ClassDef)
            return not decorated or any(task.node is found[1] for task in project.tasks.values())
        return last not in module.imports
    top = dotted.split(".")[0]
    return project.has_module(top) and (
        bool(get_close_matches(name, project.by_name, 1, 0.6))
        or f"{top}/" in {p[: len(top) + 1] for p in project.files.python}
    )


@rule("DCE608", "beat-arguments", "error", "periodic-tasks#arguments-and-options")
def beat_arguments(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """A Beat entry's arguments do not fit the task, or are no tuple and dict.

    Why: Beat checks the signature when it sends: "Couldn't apply scheduled task" (TypeError) is logged at every tick
    and nothing is sent; a task Beat does not know fails in the worker. `"args": (1)` is a number, and a text is spread
    into its letters.
    Fix: Give `args` as a tuple or list, `(1,)`, `kwargs` as a dict, with what the task's function takes.
    Source: Measured (`celery.beat.Scheduler.apply_async` raises SchedulingError).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 60, "kwargs": {"shop": 1}}}
        === orders/tasks.py
        from celery import shared_task

        @shared_task(name="orders.sync")
        def sync(shop_pk): ...
    Good:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 60, "kwargs": {"shop_pk": 1}}}
        === orders/tasks.py
        from celery import shared_task

        @shared_task(name="orders.sync")
        def sync(shop_pk): ...
    """
    if entry.call is not None:
        return
    args, kwargs = entry.parts.get("args"), entry.parts.get("kwargs")
    value = constant(args, entry.module)
    if isinstance(value, (int, float, str)) or value is True:
        yield Problem(f"args is {value!r}, not a tuple or list: write ({value!r},)", args or entry.node)
        return
    if isinstance(kwargs, (ast.List, ast.Tuple, ast.Set)):
        yield Problem("kwargs is not a dict", kwargs)
        return
    task = entry_task(entry, project)
    if task is None or task.parameters is None or len(getattr(task.function, "decorator_list", ())) > 1:
        return
    given = _length(args)
    names = _names(kwargs)
    if given is None or names is None:
        return
    why = mismatch(task.parameters, given, names)
    if why:
        yield Problem(f"{task.name} {why}", args or kwargs or entry.node)


def _length(node: ast.expr | None) -> int | None:
    if node is None:
        return 0
    if isinstance(node, (ast.Tuple, ast.List)) and not any(isinstance(part, ast.Starred) for part in node.elts):
        return len(node.elts)
    return None


def _names(node: ast.expr | None) -> set[str] | None:
    if node is None:
        return set()
    if isinstance(node, ast.Dict) and all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in node.keys):
        return {key.value for key in node.keys}  # type: ignore[union-attr,misc]
    return None


@rule("DCE609", "beat-entry-key", "error", "periodic-tasks#static-schedule")
def beat_entry_key(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """A Beat entry has a key that entries do not have, or lacks its task or schedule.

    Why: Beat passes the keys to `ScheduleEntry(**entry)`: an unknown one is a TypeError and Beat does not start
    (DatabaseScheduler logs it and never stores the entry). `queue` and `expires` belong into `options`.
    Fix: Keys are task, schedule, args, kwargs, options and relative; what `apply_async` takes goes into `options`.
    Source: Measured (`celery.beat.Scheduler.merge_inplace`).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 60, "arg": (1,)}}
    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 60, "queue": "slow"}}
    Good:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {
            "sync": {"task": "orders.sync", "schedule": 60, "args": (1,), "options": {"queue": "slow"}},
        }
    """
    if entry.call is not None:
        return
    kind = scheduler(project)
    if kind == "other":
        return
    allowed = ENTRY_KEYS | ROW_KEYS if kind == "database" else ENTRY_KEYS
    unknown = [key for key in entry.parts if key not in allowed]
    for key in unknown:
        close = get_close_matches(key, ("task", "schedule", "args", "kwargs", "options", "relative"), 1, 0.6)
        hint = (
            f", meant {close[0]!r}" if close else ", put it into 'options'" if key in KEPT_OPTIONS | {"expires"} else ""
        )
        then = "the entry is never stored" if kind == "database" else "Beat does not start (TypeError)"
        yield Problem(f"unknown key {key!r}{hint}: {then}", entry.parts[key])
    if not unknown:
        for key in ("task", "schedule"):
            if key not in entry.parts and entry.parts.keys() & {"task", "schedule"}:
                yield Problem(f"the entry has no {key!r}: it is never sent rightly", entry.node)


@rule("DCE610", "beat-option-dropped", "error", "periodic-tasks#arguments-and-options")
def beat_option_dropped(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """An entry's option is one that django-celery-beat's DatabaseScheduler drops.

    Why: DatabaseScheduler keeps queue, exchange, routing_key, priority, headers and expire_seconds; `expires`,
    `countdown`, `time_limit` and the rest vanish without a word, so a late message never expires.
    Fix: Write `"expire_seconds"` for `"expires"`; give the other options to the task's decorator.
    Source: Measured (`django_celery_beat.schedulers.ModelEntry`, 2.9).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 300, "options": {"expires": 240}}}
    Good:
        === shop/settings.py
        CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 300, "options": {"expire_seconds": 240}}}
    """
    options = entry.parts.get("options")
    if isinstance(options, ast.Name):
        options = assigned(options) or next(iter(entry.module.assignments.get(options.id, ())), None)
    written: list[tuple[str, ast.AST]] = []
    if isinstance(options, ast.Dict):
        written = [
            (key.value, key) for key in options.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
    elif entry.call is not None:
        known = {"schedule", "sig", "task", "args", "kwargs", "name"}
        written = [(word.arg, word.value) for word in entry.call.keywords if word.arg and word.arg not in known]
    dropped = [(key, node) for key, node in written if key not in KEPT_OPTIONS]
    if dropped and scheduler(project) == "database":
        for key, node in dropped:
            hint = ": write 'expire_seconds'" if key == "expires" else ""
            yield Problem(f"DatabaseScheduler drops the option {key!r}{hint}", node)


@rule("DCE611", "beat-schedule-type", "error", "periodic-tasks#static-schedule")
def beat_schedule_type(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """An entry's schedule is a text, a dict or a class: nothing that Beat can ask when it is due.

    Why: `'str' object has no attribute 'app'` ends Beat at its start (DatabaseScheduler logs it and never stores the
    entry); cron lines are not read.
    Fix: Give `crontab.from_string("*/5 * * * *")`, `crontab(...)`, `timedelta(...)` or a number of seconds.
    Source: Measured (`celery.beat.Scheduler.merge_inplace`).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": "*/5 * * * *"}}
    Good:
        === shop/settings.py
        from celery.schedules import crontab

        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": crontab.from_string("*/5 * * * *")}}
    """
    if scheduler(project) == "other":
        return
    node = entry.parts.get("schedule")
    value = constant(node, entry.module)
    if isinstance(value, str):
        yield Problem(f"the schedule is the text {value!r}, which Beat cannot read", node or entry.node)
    elif isinstance(node, (ast.Dict, ast.List, ast.Tuple)):
        yield Problem("the schedule is a display, not a crontab, a timedelta or a number", node)
    elif value is None and node is not None:
        yield Problem("the schedule is None", node)
    elif isinstance(node, (ast.Name, ast.Attribute)) and project.meaning(node, entry.module) in CRONTABS:
        yield Problem("the schedule is the class crontab, not a call of it", node)


@rule("DCE612", "beat-interval-not-positive", "error", "periodic-tasks#static-schedule")
def beat_interval_not_positive(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """An entry's interval is zero or negative.

    Why: such a schedule is always due, next check in 0 s: Beat sends messages as fast as it can.
    Fix: Give a positive interval; to switch an entry off, leave it out.
    Source: Measured (`celery.schedules.schedule.is_due`).

    Bad:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 0}}
    Good:
        === shop/settings.py
        CELERY_BEAT_SCHEDULE = {"sync": {"task": "orders.sync", "schedule": 300.0}}
    """
    node = entry.parts.get("schedule")
    if isinstance(node, ast.Call) and project.meaning(node.func, entry.module) == "celery.schedules.schedule":
        node = next(iter(node.args), None) or next((w.value for w in node.keywords if w.arg == "run_every"), None)
    interval = seconds(node, entry.module)
    if interval is not None and interval <= 0:
        yield Problem(f"an interval of {interval:g} s is always due: Beat sends without pause", node or entry.node)


@rule("DCE613", "beat-canvas-entry", "error", "periodic-tasks#long-periodic-work")
def beat_canvas_entry(entry: BeatEntry, project: Project) -> Iterator[Problem]:
    """A Beat entry's task is a signature, a chain or a group, or `add_periodic_task` is given no signature.

    Why: an entry names one task by text. A signature there is a TypeError (unhashable) at every tick; a group or chain
    given to `add_periodic_task` is sent as `celery.group` or `celery.chain`, which no worker can run. A text, or the
    result of calling the task, is an AttributeError.
    Fix: Name one task, which starts the chain or group itself; `add_periodic_task` takes `task.s(...)`.
    Source: Measured (`celery.beat.Scheduler.apply_async`, `Celery.add_periodic_task`).

    Bad:
        === shop/celery.py
        from celery import Celery, chain
        from orders.tasks import fetch, store

        app = Celery("shop")
        app.conf.beat_schedule = {"sync": {"task": chain(fetch.s(), store.s()), "schedule": 60}}
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def fetch(): ...
        @shared_task
        def store(rows): ...
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.conf.beat_schedule = {"sync": {"task": "orders.tasks.sync", "schedule": 60}}
        === orders/tasks.py
        from celery import chain, shared_task

        @shared_task
        def fetch(): ...
        @shared_task
        def store(rows): ...
        @shared_task
        def sync():
            chain(fetch.s(), store.s()).delay()
    """
    node = entry.parts.get("sig" if entry.call is not None and "sig" in entry.parts else "task")
    if node is None:
        return
    module = entry.module
    function = node.func if isinstance(node, ast.Call) else None
    method = function.attr if isinstance(function, ast.Attribute) else ""
    if entry.call is None:
        if is_canvas(node, project, module):
            yield Problem("an entry's task is a name, not a signature: TypeError at every tick", node)
        elif project.task_of(node, module) is not None:
            yield Problem("an entry's task is a name, not the task itself", node)
        return
    if isinstance(constant(node, module), str):
        yield Problem("add_periodic_task is given a text, not a signature: AttributeError", node)
    elif method in ("delay", "apply_async") and project.task_of(function.value, module) is not None:  # type: ignore[union-attr]
        yield Problem(f"add_periodic_task is given the result of .{method}(), which sends the task now", node)
    elif function is not None and project.task_of(function, module) is not None:
        yield Problem("add_periodic_task is given the task's result: it runs here, once", node)
    else:
        if isinstance(node, ast.Name):
            node = assigned(node) or node
        many = isinstance(node, ast.BinOp) or (
            isinstance(node, ast.Call)
            and (project.meaning(node.func, module) or "").endswith((".chain", ".group", ".chord"))
        )
        if many and is_canvas(node, project, module):
            yield Problem("add_periodic_task cannot schedule a chain, group or chord", entry.parts["task"])


@rule("DCE614", "periodic-task-decorator", "error", "periodic-tasks#static-schedule")
def periodic_task_decorator(node: ast.ImportFrom, module: Module, project: Project) -> Iterator[Problem]:  # noqa: ARG001
    """`periodic_task` is imported, which Celery 5 does not have.

    Why: `celery.task` and `celery.decorators` were removed in 5.0: ModuleNotFoundError where they are imported.
    Fix: Use `@shared_task`, and an entry in `CELERY_BEAT_SCHEDULE`.
    Source: Measured (import of both modules).

    Bad:
        === orders/tasks.py
        from celery.task import periodic_task

        @periodic_task(run_every=60)
        def sync(): ...
    Good:
        === orders/tasks.py
        from celery import shared_task

        @shared_task
        def sync(): ...
    """
    if node.module in ("celery.task", "celery.decorators", "celery.task.base") and not node.level:
        for alias in node.names:
            if alias.name in ("periodic_task", "PeriodicTask"):
                yield Problem(f"{node.module}.{alias.name} was removed in Celery 5", node)
    elif node.module == "celery.task.schedules" and not node.level:
        yield Problem("celery.task.schedules was removed in Celery 5: use celery.schedules", node)


@rule("DCE615", "on-after-configure-too-late", "error", "periodic-tasks#static-schedule")
def on_after_configure_too_late(node: ast.Attribute, module: Module, project: Project) -> Iterator[Problem]:
    """A module of tasks connects to `on_after_configure`, which has been sent by the time it is imported.

    Why: the app's configuration is read before autodiscovery imports `tasks.py`; the handler never runs and its
    `add_periodic_task` calls never happen, without a message.
    Fix: Connect to `on_after_finalize`, call `app.add_periodic_task(...)` directly, or move the handler beside the app.
    Source: Measured (`celery.apps.beat.Beat.init_loader` with an autodiscovered module).

    Bad:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.autodiscover_tasks()
        === orders/tasks.py
        from shop.celery import app

        @app.on_after_configure.connect
        def schedule(sender, **kwargs):
            sender.add_periodic_task(60, sync.s())

        @app.task
        def sync(): ...
    Good:
        === shop/celery.py
        from celery import Celery

        app = Celery("shop")
        app.autodiscover_tasks()
        === orders/tasks.py
        from shop.celery import app

        @app.on_after_finalize.connect
        def schedule(sender, **kwargs):
            sender.add_periodic_task(60, sync.s())

        @app.task
        def sync(): ...
    """
    if node.attr != "connect" or not isinstance(node.value, ast.Attribute) or node.value.attr != "on_after_configure":
        return
    app = project.meaning(node.value.value, module)
    if not project.is_app(node.value.value, module) or app is None or app.startswith("celery."):
        return
    found = project.definition(app)
    if found is not None and found[0] is not module and module.path.rpartition("/")[2] == "tasks.py":
        yield Problem("on_after_configure was sent before this module is imported: the handler never runs", node)


CHANGES = ("update", "bulk_create", "bulk_update")
WATCHED = ("PeriodicTask", "CrontabSchedule", "IntervalSchedule", "SolarSchedule", "ClockedSchedule")


@rule("DCE616", "schedule-rows-without-signal", "error", "periodic-tasks#database-scheduler")
def schedule_rows_without_signal(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """Rows of django-celery-beat are changed by `QuerySet.update` or in bulk, and Beat is not told.

    Why: Beat looks for changes through signals of `save()` and `delete()`; `update()`, `bulk_create()` and
    `bulk_update()` send none. A task that was disabled so keeps running for up to five minutes (before 2.8.1: until
    another row is saved).
    Fix: Call `PeriodicTasks.update_changed()` after it, or save the rows one by one.
    Source: Measured (`PeriodicTasks.last_change()` after each).

    Bad:
        === orders/admin.py
        from django_celery_beat.models import PeriodicTask

        def pause(names):
            PeriodicTask.objects.filter(name__in=names).update(enabled=False)
    Good:
        === orders/admin.py
        from django_celery_beat.models import PeriodicTask, PeriodicTasks

        def pause(names):
            PeriodicTask.objects.filter(name__in=names).update(enabled=False)
            PeriodicTasks.update_changed()
    """
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in CHANGES or module.is_migration:
        return
    model = _rows_of(call.func.value, module, project)
    if model is None:
        return
    around = scope(call)
    while isinstance(around, ast.Lambda):
        around = scope(around)
    inside: Iterable[ast.AST] = own_nodes(around) if around is not None else ast.walk(module.tree)
    parts = list(inside)
    if any(_tells_beat(part) for part in parts) or _only_keeps_count(call):
        return
    helpers = (callee(part, module, project) for part in parts if isinstance(part, ast.Call) and part is not call)
    if any(_tells_beat(part) for helper in helpers if helper is not None for part in ast.walk(helper)):
        return
    yield Problem(f"{model}.{call.func.attr}() sends no signal: Beat does not see the change", call)


def _tells_beat(node: ast.AST) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) in ("update_changed", "changed", "PeriodicTasks")


def _only_keeps_count(call: ast.Call) -> bool:
    """Whether an update touches nothing that Beat plans by."""
    counts = ("last_run_at", "total_run_count", "date_changed", "description")
    return bool(call.keywords) and all(word.arg in counts for word in call.keywords)


def _rows_of(node: ast.expr, module: Module, project: Project) -> str | None:
    """The model of django-celery-beat whose manager or queryset an expression is."""
    for _ in range(MAX_DEPTH):
        name = project.meaning(node, module)
        if name and name.startswith(ROWS):
            model, _, manager = name[len(ROWS) :].partition(".")
            return model if model in WATCHED and manager in ("objects", "_default_manager") else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("get", "first", "last", "create"):
                return None
            node = node.func.value
        elif isinstance(node, ast.Name):
            value = assigned(node)
            if value is None:
                return None
            node = value
        else:
            return None
    return None


@rule("DCE617", "schedule-get-or-create", "info", "periodic-tasks#database-scheduler")
def schedule_get_or_create(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """An interval or crontab row is fetched by `get_or_create`.

    Why: these tables have no unique key, and admin and Beat add equal rows: from the second on `get_or_create` raises
    MultipleObjectsReturned.
    Fix: `CrontabSchedule.objects.filter(...).first() or CrontabSchedule.objects.create(...)`.
    Source: Measured (two equal rows, then `get_or_create`).

    Bad:
        === orders/apps.py
        from django_celery_beat.models import IntervalSchedule

        def schedule():
            every, _ = IntervalSchedule.objects.get_or_create(every=10, period="minutes")
    Good:
        === orders/apps.py
        from django_celery_beat.models import IntervalSchedule

        def schedule():
            fields = {"every": 10, "period": "minutes"}
            every = IntervalSchedule.objects.filter(**fields).first() or IntervalSchedule.objects.create(**fields)
    """
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("get_or_create", "update_or_create"):
        return
    name = project.meaning(call.func.value, module)
    if name in (f"{ROWS}IntervalSchedule.objects", f"{ROWS}CrontabSchedule.objects") and not module.is_migration:
        model = name.split(".")[-2]
        yield Problem(f"{model} has no unique key: MultipleObjectsReturned once two rows are equal", call)


STANDARD_TIME = re.compile(
    r"Europe/(?:Istanbul|Moscow|Minsk|Samara|Saratov|Volgograd|Kirov|Kaliningrad|Ulyanovsk|Astrakhan|Simferopol)$"
    r"|US/(?:Arizona|Hawaii|Samoa)$|Canada/(?:Saskatchewan|Yukon)$|Australia/(?:Brisbane|Darwin|Perth|Queensland|North|West)"
)
SUMMER_TIME = re.compile(
    r"Europe/|US/|Canada/|Australia/|Pacific/Auckland$|NZ$|GB$|Eire$|CET$|EET$|MET$|WET$|(?:EST5EDT|CST6CDT|MST7MDT|PST8PDT)$"
    r"|America/(?:New_York|Chicago|Denver|Los_Angeles|Detroit|Toronto|Montreal|Vancouver|Halifax|Winnipeg|Edmonton|Boise|"
    r"Anchorage|Havana|Santiago|Indiana/|Kentucky/|St_Johns)|Asia/(?:Jerusalem|Tel_Aviv|Beirut)$|Atlantic/(?:Madeira|Azores)$"
)


@rule("DCE618", "crontab-silent-at-clock-change", "info", "periodic-tasks#time-zones-and-dst")
def crontab_silent_at_clock_change(project: Project) -> Iterator[Problem]:
    """Work for every few minutes is a crontab, in a time zone whose clock goes back in autumn.

    Why: when 02:00 becomes 01:00, a local `crontab(minute="*/15")` is silent for 75 minutes: the repeated hour has been
    served.
    Fix: Use `timedelta(minutes=15)`, or `CELERY_TIMEZONE = "UTC"`, for work that must not pause.
    Source: Measured (crontab.is_due, minute by minute through 1 November 2026 in America/New_York).

    Bad:
        === shop/settings.py
        from celery.schedules import crontab

        TIME_ZONE = "Europe/Berlin"
        CELERY_BEAT_SCHEDULE = {"relay": {"task": "orders.relay", "schedule": crontab(minute="*/5")}}
    Good:
        === shop/settings.py
        from datetime import timedelta

        TIME_ZONE = "Europe/Berlin"
        CELERY_BEAT_SCHEDULE = {"relay": {"task": "orders.relay", "schedule": timedelta(minutes=5)}}
    """
    zone = _time_zone(project)
    if zone is None:
        return
    found = []
    for entry in project.beat:
        call = entry.parts.get("schedule")
        if not isinstance(call, ast.Call) or project.meaning(call.func, entry.module) not in CRONTABS:
            continue
        written = _crontab(call, entry.module, row=False)
        minutes, hours = written.values("minute"), written.values("hour")
        if minutes and hours and len(minutes) > 1 and len(hours) == 24:
            found.append((call, entry.module.path))
    if found:
        others = f" (and {len(found) - 1} more entries)" if len(found) > 1 else ""
        call, path = found[0]
        yield Problem(f"silent for an hour when the clock of {zone} goes back{others}", call, path)


def _time_zone(project: Project) -> str | None:
    """The time zone with summer time that Beat's crontabs follow, where all settings that name one agree."""

    def named(setting: Setting) -> object:
        return constant(setting.value, setting.module)

    own = [s for s in project.settings if s.written.lower() in ("celery_timezone", "timezone") and s.style != "module"]
    chosen = own or [setting for setting in project.settings if setting.written == "TIME_ZONE"]
    zones = {named(setting) for setting in chosen}
    zone = next(iter(zones)) if len(zones) == 1 else None
    if isinstance(zone, str) and SUMMER_TIME.match(zone) and not STANDARD_TIME.match(zone):
        return zone
    return None
