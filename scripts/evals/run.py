"""The runner: each case, by one client, in each arm, so many times; then the case's grader on what was left behind.

A run has a folder ``CASE/ARM/run-N`` with ``run.json`` (see `Record`), ``outputs/`` (the project as it was left),
``transcript.jsonl``, ``stderr.txt``, and ``timing.json`` and ``grading.json`` as the Agent Skills guide has them. A run
that is over is not done again, so an interrupted command is repeated to go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from .cases import SKELETON, Case
from .clients import Client, Outcome
from .skills import Skill, digest, leaks
from .trial import Servers, Verdict, grade

WITHOUT, OTHER, WITH = ARMS = ("without_skill", "other_skill", "with_skill")
OVER = {"graded", "contaminated"}  # the other states are tried again
DONE = {"graded", "ungraded"}  # by the client, whatever the grader of today says
LATE = "not done in"
LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", ".venv", "node_modules", "*.sqlite3")
COMMIT = ("-c", "user.name=shop", "-c", "user.email=shop@example.com", "commit", "--quiet", "--message", "The shop")
Report = Callable[["Record"], None]


class CannotRun(Exception):
    """What is missing, in a line that says how to mend it."""


@dataclass
class Record:
    """What is kept of a run, as ``run.json``."""

    case: str
    arm: str
    number: int
    client: str
    version: str
    model: str
    inputs: str  # a hash of what the run was given
    grader: str = ""  # a hash of what judged it
    status: str = "failed"  # or ungraded, graded, contaminated
    started: str = ""
    seconds: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    skill_used: bool | None = None  # None where the arm has none
    contamination: list[str] = field(default_factory=list)
    error: str = ""
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> int:
        return sum(verdict["passed"] for verdict in self.verdicts)

    @property
    def pass_rate(self) -> float:
        return self.passed / len(self.verdicts) if self.verdicts else 0.0


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how."""

    client: Client
    cases: list[Case]
    arms: dict[str, Skill | None]
    watched: list[Skill]  # a run that has read one of these, and is not of its arm, is contaminated
    folder: Path
    runs: int = 3
    jobs: int = 2
    model: str = ""
    timeout: float = 1800
    # Dollars per million tokens read, read from a cache, and written: for a client that does not tell the cost.
    price: tuple[float, float, float] | None = None
    most: float | None = None  # dollars at which no more runs are started
    graded: bool = True  # or it is only asked whether the skill is read

    def all(self) -> list[Run]:
        """Every run, in an order in which a stopped command has as many of each arm."""
        numbers = range(1, self.runs + 1)
        return [Run(self, case, arm, number) for number in numbers for case in self.cases for arm in self.arms]

    @cached_property
    def version(self) -> str:
        """The client's own word for its version."""
        with tempfile.TemporaryDirectory(prefix="evals-") as folder:
            self.client.furnish(Path(folder) / "home")
            environment = self.client.environ(Path(folder) / "home")
            command = [self.client.name, "--version"]
            try:
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=120, check=True, cwd=folder
                )
            except (OSError, subprocess.SubprocessError):
                raise CannotRun(
                    f"`{' '.join(command)}` does not run; install the client and put it on the path"
                ) from None
        return (done.stdout.strip().splitlines() or ["unknown"])[0]


@dataclass(frozen=True)
class Run:
    """One run of the plan."""

    plan: Plan
    case: Case
    arm: str
    number: int

    @property
    def folder(self) -> Path:
        return self.plan.folder / self.case.name / self.arm / f"run-{self.number}"

    @property
    def skill(self) -> Skill | None:
        return self.plan.arms[self.arm]

    @cached_property
    def inputs(self) -> str:
        skill = self.skill.digest if self.skill else ""
        return digest(
            self.plan.client.name, self.plan.model, self.case.prompt, skill, SKELETON, self.case.folder / "files"
        )

    @cached_property
    def grader(self) -> str:
        return digest((self.case.folder / "grader.py").read_text(encoding="utf-8"), *self.case.criteria)

    def kept(self) -> Record | None:
        """Its record; nothing where it was not run, or with something else than there is today."""
        record = read(self.folder / "run.json")
        return record if record and record.inputs == self.inputs else None

    def is_over(self) -> bool:
        record = self.kept()
        if not self.plan.graded:
            return bool(record and record.status == "ungraded")
        return bool(record and record.status in OVER and record.grader in ("", self.grader))


def read(path: Path) -> Record | None:
    """A record; nothing where there is none that can be read."""
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep(folder: Path, record: Record) -> None:
    """Write a record, whole or not at all, and the guide's two files."""
    total = record.tokens.get("total", 0)
    _write(folder / "timing.json", {"total_tokens": total, "duration_ms": round(record.seconds * 1000)})
    if record.status == "graded":
        results = [{key: verdict[key] for key in ("text", "passed", "evidence")} for verdict in record.verdicts]
        passed, count = record.passed, len(record.verdicts)
        summary = {"passed": passed, "failed": count - passed, "total": count, "pass_rate": round(record.pass_rate, 4)}
        _write(folder / "grading.json", {"assertion_results": results, "summary": summary})
    _write(folder / "run.json", asdict(record))


def _write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


class Processes:
    """The clients that run now; `end` kills them, and all that they have started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def run(
        self, command: list[str], folder: Path, workspace: Path, environment: dict[str, str], seconds: float
    ) -> str:
        """Run a client to its end; why it failed, or nothing."""
        with (folder / "transcript.jsonl").open("wb") as output, (folder / "stderr.txt").open("wb") as errors:
            with self._lock:
                if self.ended.is_set():
                    return "interrupted"
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=workspace,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
                self._running.add(process)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                return f"{LATE} {seconds:g} s"
            finally:
                _kill(process)  # an assistant may have left a worker or a server behind
                with self._lock:
                    self._running.discard(process)
        return "interrupted" if self.ended.is_set() else f"exit {status}" if status else ""

    def end(self) -> None:
        with self._lock:
            self.ended.set()
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def perform(run: Run, processes: Processes) -> Record:
    """Let the client work in a fresh home and a fresh workspace, and keep what it left."""
    plan, client = run.plan, run.plan.client
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    record = Record(
        run.case.name, run.arm, run.number, client.name, plan.version, plan.model, run.inputs, started=_now()
    )
    with tempfile.TemporaryDirectory(prefix="evals-", ignore_cleanup_errors=True) as folder:
        home, workspace = Path(folder) / "home", Path(folder) / "shop"
        client.furnish(home)
        if run.skill:
            run.skill.install(home / client.skills)
        prepare(run.case, workspace)
        others = [skill for skill in plan.watched if skill != run.skill]
        before = leaks(others, run.skill, "", Outcome(), home, workspace)
        began = time.monotonic()
        command = client.command(run.case.prompt, workspace, plan.model)
        record.error = processes.run(command, run.folder, workspace, client.environ(home), plan.timeout)
        record.seconds = round(time.monotonic() - began, 3)
        transcript = (run.folder / "transcript.jsonl").read_text(encoding="utf-8", errors="replace")
        outcome = client.outcome(transcript)
        record.contamination = before or leaks(others, run.skill, transcript, outcome, home, workspace)
        shutil.copytree(workspace, run.folder / "outputs", ignore=LEFT_OUT, ignore_dangling_symlinks=True)
    _account(record, outcome, plan)
    record.skill_used = run.skill.used(outcome) if run.skill else None
    record.error = record.error or outcome.error
    if record.error:
        record.error = " ".join(f"{record.error} {_last_line(run.folder / 'stderr.txt')}".split())[:300]
    failed = record.error and (plan.graded or not record.error.startswith(LATE))
    record.status = "failed" if failed else "contaminated" if record.contamination else "ungraded"
    keep(run.folder, record)
    return record


def prepare(case: Case, workspace: Path) -> None:
    """The user's project, under version control as a user's is."""
    case.write(workspace)
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for arguments in (("init", "--quiet"), ("add", "--all"), COMMIT):
        command = ["git", *arguments]
        subprocess.run(command, cwd=workspace, env=environment, check=True, capture_output=True)


def _account(record: Record, outcome: Outcome, plan: Plan) -> None:
    """Tokens and cost: as the client tells them, or by the price."""
    counts = {"input": outcome.input, "cached": outcome.cached, "output": outcome.output}
    record.tokens = counts | {"total": outcome.tokens}
    record.cost_usd = outcome.cost
    if outcome.cost is None and plan.price:
        record.cost_usd = sum(count * price for count, price in zip(counts.values(), plan.price, strict=True)) / 1e6


def judge(run: Run, record: Record, servers: Servers) -> Record:
    """Grade what the run left, and keep it. What breaks a grader is kept too, and the run is graded another time."""
    try:
        verdicts = grade(run.case, run.folder / "outputs", servers)
    except Exception as error:
        record.error, record.status = f"not graded: {error!r}"[:300], "ungraded"
    else:
        record.verdicts = [_as_json(run.case, verdict) for verdict in verdicts]
        record.error, record.grader, record.status = "", run.grader, "graded"
    keep(run.folder, record)
    return record


def _as_json(case: Case, verdict: Verdict) -> dict[str, Any]:
    return {
        "criterion": verdict.criterion,
        "text": case.criteria[verdict.criterion],
        "passed": bool(verdict.passed),
        "evidence": verdict.evidence,
    }


def execute(plan: Plan, report: Report, tick: Callable[[int], None]) -> list[Record]:
    """Do the runs of the plan that are not over, and return the records of all.

    Clients run ``plan.jobs`` at a time; graders one after another, here, because each flushes the private servers.
    """
    pending, records = [], []
    for run in plan.all():
        record = run.kept()
        if run.is_over():
            records.append(record)
        else:
            pending.append((run, record))
    processes = Processes()
    spent = sum(record.cost_usd or 0 for record in records)
    with Servers() as servers, ThreadPoolExecutor(plan.jobs) as pool:
        try:
            # What a client has done already and no grader of today has judged is not done again.
            for run, record in [pair for pair in pending if pair[1] and pair[1].status in DONE]:
                records.append(judge(run, record, servers))
                report(records[-1])
            waiting = iter(
                [run for run, record in pending if not record or record.status not in ("ungraded", "graded")]
            )
            for run, record in _performed(waiting, plan, pool, processes, spent, tick):
                records.append(judge(run, record, servers) if plan.graded and record.status == "ungraded" else record)
                report(records[-1])
        except BaseException:
            processes.end()
            raise
    return records


def _performed(
    waiting: Iterator[Run],
    plan: Plan,
    pool: ThreadPoolExecutor,
    processes: Processes,
    spent: float,
    tick: Callable[[int], None],
) -> Iterator[tuple[Run, Record]]:
    """The runs as they end; a new one is started while it may cost something more."""
    running: dict[Future[Record], Run] = {}
    while True:
        while len(running) < plan.jobs and (plan.most is None or spent < plan.most):
            run = next(waiting, None)
            if run is None:
                break
            running[pool.submit(perform, run, processes)] = run
        if not running:
            return
        done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
        tick(len(running))
        for future in done:
            record = future.result()
            spent += record.cost_usd or 0
            yield running.pop(future), record


def check(plan: Plan) -> None:
    """Say what is missing before anything is spent."""
    client = plan.client
    if not client.key():
        names = " or ".join(client.keys)
        raise CannotRun(
            f"{client.name} needs a key: set {names}; what a run costs is yours to pay, --dry-run counts them"
        )
    if not shutil.which("git"):
        raise CannotRun("git is not on the path; install it: the user's project is under version control")
    if not plan.cases:
        raise CannotRun("no case fits; `python scripts/evals list` names them")
    about = [plan.version, *(skill.name for skill in plan.watched)]  # each fails with a line that says why
    if not all(about):
        raise CannotRun("a skill or the client has an empty name or version")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
