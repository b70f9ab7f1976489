"""The command ``python scripts/evals``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

from validate.report import GREEN, RED, RESET, YELLOW, coloured

from . import cases, formats, graded, report, sizes, triggers
from .clients import CLIENTS
from .run import ARMS, OTHER, WITH, WITHOUT, CannotRun, Plan, Record, check, execute
from .skills import Skill
from .trial import NoServer, Servers, grade


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 something is wrong, 2 could not run, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (cases.BadCase, CannotRun, NoServer) as error:
        print(f"evals: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nevals: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python scripts/evals", description="What the skill changes, measured.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        made.add_argument("--cases", type=Path, default=cases.CASES, help=argparse.SUPPRESS)
        return made

    add("list", _list, "Name the cases.")
    sync = add("sync", _sync, "Write evals/evals.json and the tables of evals/README.md.")
    sync.add_argument("--check", action="store_true", help="write nothing; fail where something is out of date")
    keep = add("keep", _keep, "Keep what a run of `make graders` showed, in docs/data/graders.json.")
    keep.add_argument("lines", type=Path, help="what the run wrote, a line of JSON a grading")
    export = add("export", _export, "Write the cases for `claude plugin eval` into a folder.")
    export.add_argument("folder", type=Path)
    write = add("write", _write, "Write a case's project into a folder, as the user has it or as a solution leaves it.")
    write.add_argument("case")
    write.add_argument("folder", type=Path)
    write.add_argument("--solution", default="")
    grade = add("grade", _grade, "Grade a project: one line for each criterion, with what was seen.")
    grade.add_argument("case")
    grade.add_argument("project", type=Path)
    _add_run(add("run", _run, "Run cases with a client in three arms, grade the results and sum them up."))
    asks = add("triggers", _triggers, "Ask the queries of evals/triggers.json: is the skill read when it should be?")
    asks.add_argument("--split", choices=("train", "validation"), default="", help="only this part")
    _add_client(asks, runs=3, timeout=120)
    summary = add("report", _report, "Sum up the runs of a folder again.")
    summary.add_argument("folder", type=Path)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    _add_client(run, runs=3, timeout=1800)
    run.add_argument("--case", action="append", metavar="GLOB", help="only these cases (repeatable)")
    run.add_argument("--arm", action="append", choices=ARMS, help="only these arms (repeatable)")
    run.add_argument("--other", type=Path, metavar="FOLDER", help="another skill, to compare with")


def _add_client(command: argparse.ArgumentParser, runs: int, timeout: float) -> None:
    command.add_argument("--client", choices=CLIENTS, required=True)
    command.add_argument("--model", default="", help="the client's default when not given")
    command.add_argument(
        "--skill", type=Path, default=formats.SKILL, help="this skill, when it is not the repository's"
    )
    command.add_argument("--runs", type=int, default=runs, help="of each prompt in each arm (%(default)s)")
    command.add_argument("--jobs", type=int, default=2, help="clients at a time (%(default)s)")
    command.add_argument("--timeout", type=float, default=timeout, metavar="SECONDS", help="of one run (%(default)s)")
    command.add_argument("--max-cost-usd", type=float, metavar="USD", help="start no more runs when so much is spent")
    price = "dollars per million tokens read, read from a cache, written; for a client that does not tell the cost"
    command.add_argument("--price", type=_price, metavar="IN/CACHED/OUT", help=price)
    command.add_argument(
        "--folder", type=Path, help="of the runs (build/evals/CLIENT); what is over there is not run again"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")


def _price(text: str) -> tuple[float, float, float]:
    read, cached, written = (float(part) for part in text.split("/"))
    return read, cached, written


def _list(options: argparse.Namespace) -> int:
    for case in cases.every(options.cases):
        print(f"{case.name}: {len(case.criteria)} criteria, {', '.join(case.about['references'])}")
    return 0


def _sync(options: argparse.Namespace) -> int:
    found = cases.every(options.cases)
    problems = sizes.over(found) + sizes.astray(found)
    wanted = {formats.EVALS_JSON: formats.agent_skills_text(found)}
    wanted[sizes.README] = sizes.with_tables(sizes.README.read_text(encoding="utf-8"), found)
    for path, text in wanted.items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        name = path.relative_to(cases.ROOT)
        if options.check:
            problems.append(f"{name}: out of date; run `make sync`")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name}: mended")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


def _keep(options: argparse.Namespace) -> int:
    try:
        lines = [json.loads(line) for line in options.lines.read_text(encoding="utf-8").splitlines()]
        taken, problems = graded.keep(lines, cases.every(options.cases), graded.KEPT)
    except (OSError, ValueError, KeyError) as error:
        raise CannotRun(f"{options.lines}: {error!r}; `make graders KEEP=1` writes it") from None
    for problem in problems:
        print(f"{problem}; nothing of it is kept", file=sys.stderr)
    print(f"{graded.KEPT.relative_to(cases.ROOT)}: {len(taken)} cases kept")
    return 1 if problems else 0


def _export(options: argparse.Namespace) -> int:
    written = formats.export(cases.every(options.cases), options.folder)
    print(f"{len(written)} cases below {options.folder}; beside a plugin's manifest, as its folder evals/, run")
    print("  claude plugin eval PLUGIN --scaffold --allow-tools Bash Write Edit")
    return 0


def _one(options: argparse.Namespace) -> cases.Case:
    return cases.load(options.cases / options.case)


def _write(options: argparse.Namespace) -> int:
    case = _one(options)
    if options.solution and options.solution not in case.solutions:
        raise cases.BadCase(f"{case.name} has no solution {options.solution}; it has {', '.join(case.solutions)}")
    print(case.write(options.folder, options.solution))
    return 0


def _grade(options: argparse.Namespace) -> int:
    if not options.project.is_dir():
        raise CannotRun(f"{options.project} is no folder; `write` makes a project to work in")
    case = _one(options)
    if sys.stderr.isatty():
        print(f"running the project of {case.name} on private servers …", end="\r", file=sys.stderr)
    with Servers() as servers:
        verdicts = grade(case, options.project, servers)
    for verdict in verdicts:
        mark = _paint(GREEN, "passed") if verdict.passed else _paint(RED, "FAILED")
        print(f"{CLEAR if sys.stdout.isatty() else ''}{mark} {verdict.criterion}: {verdict.evidence}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _plan(options: argparse.Namespace) -> Plan:
    skill = Skill(options.skill.resolve())
    arms: dict[str, Skill | None] = {WITHOUT: None, WITH: skill}
    if options.other:
        arms = {WITHOUT: None, OTHER: Skill(options.other.resolve()), WITH: skill}
    wanted = options.arm or list(arms)
    if OTHER in wanted and not options.other:
        raise CannotRun(f"the arm {OTHER} needs --other FOLDER, the skill to compare with")
    patterns = options.case or ["*"]
    found = [case for case in cases.every(options.cases) if any(fnmatch(case.name, p) for p in patterns)]
    watched = [one for one in arms.values() if one]
    return _made(options, found, {arm: arms[arm] for arm in arms if arm in wanted}, watched, options.client)


def _made(
    options: argparse.Namespace, found: list[cases.Case], arms: dict[str, Skill | None], watched: list[Skill], name: str
) -> Plan:
    return Plan(
        client=CLIENTS[options.client],
        cases=found,
        arms=arms,
        watched=watched,
        folder=options.folder or cases.ROOT / "build" / "evals" / name,
        runs=options.runs,
        jobs=options.jobs,
        model=options.model,
        timeout=options.timeout,
        price=options.price,
        most=options.max_cost_usd,
        graded=hasattr(options, "case"),
    )


def _done(plan: Plan, dry: bool) -> list[Record] | None:
    """The records of a plan that was executed; nothing where it was only to be told."""
    runs = plan.all()
    over = sum(run.is_over() for run in runs)
    about = f"{len(plan.cases)} cases × {len(plan.arms)} arms × {plan.runs}: {len(runs)} runs, {over} of them over"
    if dry:
        print(about)
        print(" ".join(plan.client.command("PROMPT", Path("WORKSPACE"), plan.model)))
        return None
    check(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    print(f"{plan.client.name} {plan.version}; {about}; in {plan.folder}", flush=True)
    progress = Progress(len(runs), over)
    return execute(plan, progress.ended, progress.tick)


def _left(plan: Plan, records: list[Record], wanted: str) -> int:
    total = len(plan.all())
    left = total - sum(record.status == wanted for record in records)
    if left:
        print(f"evals: {left} of {total} runs have no result; see run.json of each", file=sys.stderr)
    return 1 if left else 0


def _run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    records = _done(plan, options.dry_run)
    if records is None:
        return 0
    report.write(plan.folder, records)
    print(f"\n{(plan.folder / 'benchmark.md').read_text()}\n{plan.folder / 'benchmark.json'}")
    return _left(plan, records, "graded")


def _triggers(options: argparse.Namespace) -> int:
    skill = Skill(options.skill.resolve())
    asked = triggers.queries(options.split)
    plan = _made(options, triggers.as_cases(asked), {WITH: skill}, [skill], f"{options.client}-triggers")
    records = _done(plan, options.dry_run)
    if records is None:
        return 0
    result = triggers.summary(asked, records)
    (plan.folder / "triggers.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for one in result["results"]:
        if not one["passed"]:
            print(f"{one['split']}: read in {one['trigger_rate']:.0%}, should {one['should_trigger']}: {one['query']}")
    for split, part in result["summary"].items():
        print(f"{split}: {part['passed']} of {part['queries']} queries as they should be")
    return _left(plan, records, "ungraded")


def _report(options: argparse.Namespace) -> int:
    records = report.collect(options.folder)
    if not records:
        raise CannotRun(f"{options.folder} holds no runs; `run --folder` writes them there")
    report.write(options.folder, records)
    print((options.folder / "benchmark.md").read_text(), end="")
    return 0


CLEAR = "\r\x1b[K"  # the line that tells what goes on


def _paint(colour: str, text: str) -> str:
    return f"{colour}{text}{RESET}" if coloured(sys.stdout) else text


def _state(record: Record) -> str:
    """What became of a run, in a few words."""
    if record.status != "graded":
        return _paint(RED if record.status == "failed" else YELLOW, record.status)
    whole = record.passed == len(record.verdicts)
    return _paint(GREEN if whole else YELLOW, f"{record.passed} of {len(record.verdicts)} criteria")


class Progress:
    """A line for each run that ended and, on a terminal, one that tells what goes on."""

    def __init__(self, total: int, over: int) -> None:
        self.total = total
        self.over = over
        self.spent = 0.0
        self.began = time.monotonic()

    def ended(self, record: Record) -> None:
        self.over += 1
        self.spent += record.cost_usd or 0
        line = f"[{self.over:>{len(str(self.total))}}/{self.total}] {record.case} {record.arm} {record.number}: "
        line += _state(record)
        line += f", {record.seconds:.0f} s, {record.tokens.get('total', 0):,} tokens"
        line += "" if record.cost_usd is None else f", ${record.cost_usd:.2f}"
        why = record.error or "; ".join(record.contamination)
        self._print(f"{line}{': ' if why else ''}{why}", "\n")

    def tick(self, running: int) -> None:
        if sys.stdout.isatty():
            minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
            about = f"{self.over} of {self.total} over, {running} running, {minutes}:{seconds:02}"
            self._print(f"{about}, ${self.spent:.2f}" if self.spent else about, "")

    def _print(self, text: str, end: str) -> None:
        print(f"{CLEAR if sys.stdout.isatty() else ''}{text}", end=end, flush=True)
