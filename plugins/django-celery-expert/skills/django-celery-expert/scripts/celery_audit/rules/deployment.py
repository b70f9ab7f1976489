"""DCE8xx: deployment files, remote control and logging."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import lru_cache

from ..configuration import NOT_PRODUCTION, WORDS
from ..infer import constant
from ..manifests import (
    Command,
    Node,
    Process,
    argv,
    commands_in,
    is_script,
    processes,
    script_commands,
    words_of,
)
from ..module import Module, keyword
from ..project import Project, TextFile
from ..registry import Problem, rule


def is_production(path: str) -> bool:
    """Whether no part of a path is named after development or tests."""
    return not {word.lower() for word in WORDS.findall(path)} & (NOT_PRODUCTION - {"compose", "build"})


@lru_cache(maxsize=2)
def _mentions(project: Project) -> str:
    """What Compose, Kubernetes, Dockerfiles, systemd and supervisor say, where they may start scripts."""
    return "\n".join(line for text in project.text if not is_script(text) for line in text.lines if "#" not in line[:2])


def is_started(text: TextFile, project: Project) -> bool:
    """Whether a manifest names a script by its path, and so starts it; by its name, unless that is a common one."""
    *_, folder, name = ["", *text.path.split("/")]
    if "entrypoint" in name:
        return True
    named = rf"{re.escape(folder)}/{re.escape(name)}" if name in ("start", "run") else re.escape(name)
    return bool(re.search(rf"(?<![\w.-]){named}(?![\w.-])", _mentions(project)))


def _started(text: TextFile, project: Project) -> Iterator[Command]:
    """The Celery commands that a file itself holds and that a platform runs."""
    if is_script(text):
        if is_started(text, project):
            yield from script_commands(text)
        return
    for process in processes(text, project):
        yield from (command for command in process.commands if not command.script)


# Beat.


def _number(node: Node | None) -> int:
    """A count; 1 where it is absent or computed."""
    text = node.value if node is not None and isinstance(node.value, str) else ""
    return int(text) if text.isdecimal() else 1


def _copies(process: Process) -> tuple[int, int]:
    """How often a process runs, and the line that says so."""
    node, document = process.node, process.document
    count: Node | None = None
    if process.kind == "compose" and node is not None:
        count = node.get("deploy", "replicas") or node.get("scale")
    elif process.kind == "kubernetes" and document is not None:
        if document.text("kind") == "DaemonSet":
            return 2, (document.get("kind") or document).line
        count = document.get("spec", "replicas")
    elif process.kind == "supervisor" and "numprocs" in process.settings:
        line, text = process.settings["numprocs"]
        count = Node(line, text)
    return _number(count), count.line if count is not None else process.line


def _beats(text: TextFile, project: Project) -> list[tuple[Process, Command]]:
    """The processes of a file that send schedules without a lock between them."""
    found = []
    for process in processes(text, project):
        command = next((command for command in process.commands if command.has_beat), None)
        if command is not None and not _has_lock(command, project):
            found.append((process, command))
    return found


def _has_lock(command: Command, project: Project) -> bool:
    """Whether Beats of this command wait for each other."""
    names = [command.option("-S", "--scheduler"), *project.setting_texts("beat_scheduler")]
    return any("redbeat" in name.lower() for name in names if name)


def _both_run(one: tuple[Process, Command], other: tuple[Process, Command]) -> bool:
    """Whether two Beats run at once and send the same schedule, as far as one can see."""
    (first, a), (second, b) = one, other
    if a.app != b.app or first.kind == "dockerfile":
        return False
    if a.option("-S", "--scheduler") != b.option("-S", "--scheduler"):
        return False
    profiles = [set(argv(process.node.get("profiles"))) for process in (first, second) if process.node is not None]
    return not all(profiles) or not profiles or bool(set.intersection(*profiles))


@rule("DCE801", "several-beats", "error", "periodic-tasks#run-one-beat")
def several_beats(text: TextFile, project: Project) -> Iterator[Problem]:
    """A deployment file runs more than one Beat on the same schedule.

    Why: each Beat sends every entry when it is due and knows nothing of the others, so every periodic task runs once
        for each of them. A worker with `-B` is a Beat too.
    Fix: run one Beat in one process of its own with one replica, and no `-B`; RedBeat's lock lets a second one wait.
    Source: Measured with two schedulers on one entry, each of which publishes it.

    Bad:
        === compose.yml
        services:
          beat:
            image: shop
            command: celery -A shop beat
            deploy:
              replicas: 2

    Good:
        === compose.yml
        services:
          beat:
            image: shop
            command: celery -A shop beat
          worker:
            image: shop
            command: celery -A shop worker
            deploy:
              replicas: 2
    """
    beats = _beats(text, project)
    for process, command in beats:
        copies, line = _copies(process)
        if copies > 1:
            what = "beat" if command.name == "beat" else "a worker with a Beat inside (-B)"
            times = "on every node" if _is_daemon(process) else f"{copies} times"
            yield Problem(f"{process.name} runs {what} {times}: each of them sends every periodic task", line)
    for number, other in enumerate(beats):
        one = next((one for one in beats[:number] if _both_run(one, other)), None)
        if one is not None:
            message = f"{one[0].name} and {other[0].name} each run a Beat: every periodic task is sent twice"
            yield Problem(message, other[0].line)


def _is_daemon(process: Process) -> bool:
    return process.document is not None and process.document.text("kind") == "DaemonSet"


@rule("DCE802", "worker-with-beat", "warning", "periodic-tasks#run-one-beat")
def worker_with_beat(text: TextFile, project: Project) -> Iterator[Problem]:
    """A production worker carries a Beat inside: `-B`, `--beat`.

    Why: the second replica, or the old worker that still finishes its tasks while the new one starts, is a second
        Beat, and every periodic task is sent twice.
    Fix: start `celery beat` as a process of its own, once, and drop `-B` from the worker.
    Source: Measured on the worker's Beat step, which starts a Beat in every worker that is given `beat=True`.

    Bad:
        === shop.service
        [Service]
        ExecStart=/srv/venv/bin/celery -A shop worker -B

    Good:
        === shop.service
        [Service]
        ExecStart=/srv/venv/bin/celery -A shop worker

        === shop-beat.service
        [Service]
        ExecStart=/srv/venv/bin/celery -A shop beat
    """
    if not is_production(text.path):
        return
    is_compose = any(process.kind == "compose" for process in processes(text, project))
    if is_compose and not re.search(r"prod|deploy|stack|swarm", text.path.lower()):
        return  # made for one machine
    if _has_further_worker(text, project):
        return  # the one with Beat stays alone, the others are scaled
    told = {problem.node for problem in several_beats(text, project)}
    for command in _started(text, project):
        if (
            command.name == "worker"
            and command.has_beat
            and command.line not in told
            and not _has_lock(command, project)
        ):
            yield Problem("this worker carries a Beat (-B): each further worker sends the schedule again", command.line)


def _has_further_worker(text: TextFile, project: Project) -> bool:
    """Whether a Procfile keeps one worker for Beat, beside another of the same app without it."""
    if not text.path.rpartition("/")[2].startswith("Procfile"):
        return False
    workers = [command for command in _started(text, project) if command.name == "worker"]
    return sum(1 for command in workers if command.has_beat) == 1 and len(workers) > 1


@rule("DCE803", "beat-rolls", "warning", "production-deployment#kubernetes")
def beat_rolls(text: TextFile, project: Project) -> Iterator[Problem]:
    """A Kubernetes Deployment of Beat rolls: the new pod starts before the old one ends.

    Why: without `strategy: {type: Recreate}` a Deployment rolls with `maxSurge: 25%`, rounded up to one more pod, so at
        each release two Beats run for a while and send what is due twice.
    Fix: set `strategy: {type: Recreate}` in the Deployment of Beat.
    Source: https://www.manifests.io/kubernetes/1.28/io.k8s.api.apps.v1.RollingUpdateDeployment says that `maxSurge`
        defaults to 25%, rounded up, and `maxUnavailable` to 25%, rounded down.

    Bad:
        === beat.yaml
        kind: Deployment
        spec:
          replicas: 1
          template:
            spec:
              containers:
                - name: beat
                  command: [celery, -A, shop, beat]

    Good:
        === beat.yaml
        kind: Deployment
        spec:
          replicas: 1
          strategy: {type: Recreate}
          template:
            spec:
              containers:
                - name: beat
                  command: [celery, -A, shop, beat]
    """
    if not is_production(text.path):
        return
    for process, _ in _beats(text, project):
        document = process.document
        if process.kind != "kubernetes" or document is None or document.text("kind") != "Deployment":
            continue
        strategy = document.get("spec", "strategy")
        if strategy is None:
            place = document.get("spec", "replicas") or document.get("spec") or document
            message = f"this Deployment of Beat ({process.name}) rolls: at each release two Beats run at once"
            yield Problem(message, place.line)
        elif strategy.text("type") == "RollingUpdate" and strategy.text("rollingUpdate", "maxSurge") not in ("0", "0%"):
            yield Problem(f"RollingUpdate runs two Beats ({process.name}) at once at each release", strategy.line)


# Probes and remote control.


def _probes(text: TextFile, project: Project) -> Iterator[tuple[Process | None, str, int, list[Command]]]:
    """Each health check: whose, what it is called, its line, its Celery commands."""
    for process in processes(text, project):
        node = process.node
        if node is None:
            continue
        if process.kind == "compose":
            checks = {"healthcheck": node.get("healthcheck", "test")}
        else:
            names = ("livenessProbe", "readinessProbe", "startupProbe")
            checks = {name: node.get(name, "exec", "command") for name in names}
        for name, check in checks.items():
            if check is None:
                continue
            words = argv(check)
            by_shell = isinstance(check.value, str) or words[:1] == ["CMD-SHELL"]
            if words[:1] == ["CMD-SHELL"]:
                words = words_of(" ".join(words[1:]))
            yield process, name, check.line, list(commands_in(words, check.line, "sh" if by_shell else ""))
    if "dockerfile" in text.path.lower().rpartition("/")[2]:
        for number in range(1, len(text.lines) + 1):
            if match := re.match(r"\s*HEALTHCHECK\b.*?\bCMD\s+(.*)", " ".join(_continued(text.lines, number))):
                words = argv_of(match[1])
                yield None, "HEALTHCHECK", number, list(commands_in(words, number, "sh"))


def _continued(lines: list[str], number: int) -> Iterator[str]:
    for line in lines[number - 1 : number + 9]:
        yield line.rstrip().rstrip("\\")
        if not line.rstrip().endswith("\\"):
            return


def argv_of(text: str) -> list[str]:
    """The words of a Dockerfile's instruction, in either form."""
    return re.findall(r'"((?:[^"\\]|\\.)*)"', text) if text.lstrip().startswith("[") else words_of(text)


def _asks_all(command: Command) -> bool:
    is_ping = command.name == "status" or (command.name == "inspect" and "ping" in command.rest)
    return is_ping and command.option("-d", "--destination") is None and command.after not in ("|", "|&")


@rule("DCE804", "ping-without-destination", "warning", "production-deployment#probes")
def ping_without_destination(text: TextFile, project: Project) -> Iterator[Problem]:
    """A health check pings all workers, so it passes as long as any of them lives.

    Why: `inspect ping` without `--destination`, and `status`, are broadcasts. They exit 0 when one worker answers,
        whichever it is: a dead worker stays "healthy" beside a live one, and all fail when the broker is slow.
    Fix: for a worker add `-d celery@$HOSTNAME` (`$$HOSTNAME` in Compose), or touch a file from it and probe its age;
        Beat and Flower need probes of their own.
    Source: Measured with kombu's pidbox: without a destination every node answers, with one only that node.

    Bad:
        === compose.yml
        services:
          worker:
            command: celery -A shop worker
            healthcheck:
              test: celery -A shop inspect ping
            deploy: {replicas: 2}

    Good:
        === compose.yml
        services:
          worker:
            command: celery -A shop worker
            healthcheck:
              test: celery -A shop inspect ping -d celery@$$HOSTNAME
            deploy: {replicas: 2}
    """
    workers = [process for process in processes(text, project) if _is(process, "worker")]
    told = set()
    for process, name, line, commands in _probes(text, project):
        for command in commands:
            if not _asks_all(command) or line in told:
                continue
            if process is not None and process.kind == "compose" and workers == [process] and _copies(process)[0] == 1:
                continue  # no other can answer
            told.add(line)
            what = "`status`" if command.name == "status" else "`inspect ping`"
            whose = f" of {process.name}" if process is not None else ""
            if process is not None and process.commands and not _is(process, "worker"):
                yield Problem(f"{name}{whose}: {what} asks the workers, and says nothing about {process.name}", line)
            else:
                yield Problem(f"{name}{whose}: {what} asks every worker, and passes when any of them answers", line)


def _is(process: Process, name: str) -> bool:
    return any(command.name == name for command in process.commands)


BY_HAND = re.compile(r"(^|/)(management/commands|scripts|fabfile|admin)(/|\.py$|$)|(^|/)tasks/(deploy|invoke)")


def _control(call: ast.Call, module: Module, project: Project) -> str | None:
    """The method that a call takes of an app's ``control``."""
    func = call.func
    if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Attribute) or func.value.attr != "control":
        return None
    return func.attr if project.is_app(func.value.value, module) else None


@rule("DCE805", "shutdown-of-all", "error", "production-deployment#kubernetes")
def shutdown_of_all(text: TextFile, project: Project) -> Iterator[Problem]:
    """A container or unit ends by `control shutdown` without a destination.

    Why: `control shutdown` is a broadcast: when one worker is stopped or replaced, all workers on the broker shut down,
        those of other services included.
    Fix: leave it to TERM, which reaches this worker only; by hand add `-d celery@<node>`.
    Source: Measured with kombu's pidbox: without a destination every node runs the command.

    Bad:
        === worker.yaml
        kind: Deployment
        spec:
          template:
            spec:
              containers:
                - name: worker
                  command: [celery, -A, shop, worker]
                  lifecycle:
                    preStop:
                      exec:
                        command: [celery, -A, shop, control, shutdown]

    Good:
        === worker.yaml
        kind: Deployment
        spec:
          template:
            spec:
              terminationGracePeriodSeconds: 360
              containers:
                - name: worker
                  command: [celery, -A, shop, worker]
    """
    found = list(_started(text, project))
    for process in processes(text, project):
        if process.kind == "kubernetes" and process.node is not None:
            hook = process.node.get("lifecycle", "preStop", "exec", "command")
            if hook is not None:
                found += commands_in(argv(hook), hook.line)
        for key in ("execstop", "execreload", "execstoppost"):
            if key in process.settings:
                line, command = process.settings[key]
                found += commands_in(words_of(command.lstrip("-@:+!")), line)
    for command in found:
        is_shutdown = command.name == "control" and "shutdown" in command.rest
        if is_shutdown and command.option("-d", "--destination") is None:
            yield Problem(
                "`control shutdown` without `-d` is a broadcast: it stops every worker on the broker", command.line
            )


@rule("DCE806", "shutdown-broadcast", "error", "production-deployment#kubernetes")
def shutdown_broadcast(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """Code shuts workers down without saying which.

    Why: `app.control.shutdown()` and `broadcast("shutdown")` reach every worker on the broker. Where a process manager
        restarts them this is an outage at least of the tasks' progress; where none does, of everything.
    Fix: pass `destination=["celery@host"]`, or let the platform restart workers.
    Source: Measured with kombu's pidbox: without a destination every node runs the command.

    Bad:
        === shop/tasks.py
        from celery import current_app


        def restart():
            current_app.control.shutdown()

    Good:
        === shop/tasks.py
        from celery import current_app


        def restart(node):
            current_app.control.shutdown(destination=[node])
    """
    if not module.mentions(b"control.shutdown", b"control.broadcast") or BY_HAND.search(module.path):
        return
    method = _control(call, module, project)
    first = constant(call.args[0], module) if call.args else None
    if method not in ("shutdown", "broadcast") or (method == "broadcast" and first != "shutdown"):
        return
    if any(word.arg is None for word in call.keywords) or len(call.args) > (method == "broadcast"):
        return
    if not any(keyword(call, name) for name in ("destination", "pattern")):
        yield Problem(f"control.{method}() without destination stops every worker on the broker", call)


@rule("DCE807", "purge-at-start", "error", "production-deployment#worker-command")
def purge_at_start(text: TextFile, project: Project) -> Iterator[Problem]:
    """A container or unit purges the queues when it starts.

    Why: `celery purge` and `worker --purge` delete every message that waits in the queues. Each restart, each crash and
        each further replica loses all tasks that others have published.
    Fix: drop it; purge by hand, with the queues named (`-Q`), when it must be.
    Source: Measured: a purge takes what is queued, whoever published it.

    Bad:
        === compose.yml
        services:
          worker:
            command: celery -A shop worker --purge

    Good:
        === compose.yml
        services:
          worker:
            command: celery -A shop worker
    """
    for command in _started(text, project):
        if command.name == "worker" and command.option("--purge", "--discard") is not None:
            yield Problem("`worker --purge` deletes all waiting tasks at every start", command.line)
        elif command.name == "purge":
            yield Problem("`celery purge` deletes all waiting tasks at every start", command.line)


@rule("DCE808", "purge-in-code", "warning", "production-deployment#worker-command")
def purge_in_code(call: ast.Call, module: Module, project: Project) -> Iterator[Problem]:
    """Code deletes all waiting tasks: `app.control.purge()`.

    Why: it takes every message out of all of the app's queues, not only what the caller has published, and nothing
        brings them back.
    Fix: revoke the tasks that are meant by their ids, or purge by hand with `celery purge -Q <queue>`.
    Source: Measured: a purge takes what is queued, whoever published it.

    Bad:
        === shop/views.py
        from celery import current_app


        def reset(request):
            current_app.control.purge()

    Good:
        === shop/views.py
        from celery import current_app


        def reset(request, ids):
            current_app.control.revoke(ids)
    """
    if module.mentions(b"control.purge", b"control.discard_all") and not BY_HAND.search(module.path):
        method = _control(call, module, project)
        if method in ("purge", "discard_all"):
            yield Problem(f"control.{method}() deletes every waiting task of all queues, whoever published it", call)


# Command lines.

NO_APP = {"worker", "beat", "inspect", "control", "purge", "status", "call", "shell", "report", "list", "events"}
GONE = {
    "--broker", "--loader", "--config", "--workdir", "--no-color", "--quiet", "--maxtasksperchild",
    "--maxmemperchild", "--autoreload", "--no-execv",
}  # fmt: skip
GLOBAL = {"--broker", "--loader", "--config", "--workdir", "--no-color", "--quiet", "-b"}


PINNED = re.compile(rb"""(?mi)^\s*["']?celery(\[[^\]]*\])?["']?\s*(=\s*["'])?={0,2}~?\^?[34]\.""")


@lru_cache(maxsize=2)
def _pins_old_celery(project: Project) -> bool:
    """Whether the project asks for Celery 3 or 4, where its command lines are right."""
    names = ("requirements.txt", "requirements/base.txt", "requirements/common.txt", "Pipfile", "pyproject.toml")
    root = project.files.root
    there = [name for name in names if os.path.isfile(os.path.join(root, name))]
    return any(PINNED.search(project.files.read(name) or b"") for name in there)


@rule("DCE809", "old-command-line", "error", "production-deployment#worker-command")
def old_command_line(text: TextFile, project: Project) -> Iterator[Problem]:
    """A command line that Celery 5 refuses.

    Why: global options (`-A`, `--broker`, `--workdir` …) stand before the subcommand since Celery 5.0, options with
        old names are gone, and `manage.py celery` left with Celery 4. The command prints its usage and exits with 2.
    Fix: `celery -A proj worker …`, with `--max-tasks-per-child` and `--max-memory-per-child`.
    Source: Measured with Celery's own parser of command lines.

    Bad:
        === Procfile
        worker: celery worker -A shop

    Good:
        === Procfile
        worker: celery -A shop worker
    """
    if _pins_old_celery(project):
        return
    has_command = any(path.endswith("management/commands/celery.py") for path in project.files.python)
    commands = script_commands(text) if is_script(text) or text.path.endswith("Makefile") else _started(text, project)
    for command in commands:
        if command.program == "manage.py":
            if not has_command:
                yield Problem(f"`manage.py celery {command.name}` left with Celery 4: no such command", command.line)
            continue
        options = [word.partition("=")[0] for word in command.rest]
        app = next((option for option in options if option in ("-A", "--app")), None)
        if command.name in NO_APP and app:
            yield Problem(f"`{app}` after `{command.name}` is refused since Celery 5: exit 2", command.line)
        elif command.name in ("worker", "beat"):
            wrong = next((option for option in options if option in GONE or option == "-b"), None)
            if wrong:
                why = f"stands before `{command.name}` since Celery 5" if wrong in GLOBAL else "is gone since Celery 5"
                yield Problem(f"`{wrong}` {why}: exit 2", command.line)


@rule("DCE810", "flower-without-app", "error", "monitoring-observability#flower")
def flower_without_app(text: TextFile, project: Project) -> Iterator[Problem]:
    """Flower gets Celery's own options after its name, where they do nothing.

    Why: `celery flower --app=shop --broker=…` only warns. Flower then runs with a default app and the broker
        `amqp://guest@localhost`, unless CELERY_BROKER_URL, CELERY_BROKER or BROKER_URL is set, and shows no workers.
    Fix: put them before: `celery -A shop --broker=… flower`.
    Source: Measured: the app that Flower gets has the default broker.

    Bad:
        === compose.yml
        services:
          flower:
            command: celery flower --app=shop

    Good:
        === compose.yml
        services:
          flower:
            command: celery -A shop flower
    """
    if _pins_old_celery(project):
        return
    for command in _started(text, project):
        options = {word.partition("=")[0] for word in command.rest} & {"-A", "--app", "-b", "--broker"}
        if command.name != "flower" or not options or command.options:
            continue
        if not any("CELERY_BROKER" in line or "BROKER_URL" in line for line in text.lines):
            message = f"flower ignores `{min(options)}` after its name and looks at amqp://guest@localhost"
            yield Problem(message, command.line)


# Signals at the end.


@lru_cache(maxsize=2)
def _on_alpine(project: Project) -> bool:
    """Whether an image of the project may have busybox's shell, which is another than dash."""
    files = (path for path in project.files.text if "dockerfile" in path.lower())
    return any(b"alpine" in (project.files.read(path) or b"") for path in files)


@rule("DCE811", "shell-keeps-term", "error", "production-deployment#docker-and-compose")
def shell_keeps_term(text: TextFile, project: Project) -> Iterator[Problem]:
    """A container starts its worker under a shell that stays in front of it, without `exec`.

    Why: TERM goes to the first process, and the shell does not pass it on: the worker never begins its warm shutdown,
        works on, and is killed when the grace period ends. Its running tasks are lost or run again.
    Fix: `exec celery …` on the last line; in a Dockerfile the exec form, `CMD ["celery", …]`.
    Source: Measured with `sh` as a script and with `-c`: without `exec` the child survives the TERM of its shell. Dash,
        Debian's `sh`, stays for a single command too; bash stays in scripts, before redirections and with `||`.

    Bad:
        === Dockerfile
        FROM python:3.13-slim
        CMD celery -A shop worker

    Bad:
        === Dockerfile
        FROM python:3.13-slim
        # runs celery
        CMD ["/app/start-worker.sh"]

        === start-worker.sh
        #!/bin/sh
        celery -A shop worker

    Good:
        === Dockerfile
        FROM python:3.13-slim
        CMD ["celery", "-A", "shop", "worker"]

    Good:
        === Dockerfile
        FROM python:3.13-slim
        # runs celery
        CMD ["/app/start-worker.sh"]

        === start-worker.sh
        #!/bin/sh
        exec celery -A shop worker
    """
    source = "\n".join(text.lines)
    if not is_production(text.path) or (is_script(text) and re.search(r"\btrap\b|\bwait\b", source)):
        return
    if not is_script(text):
        kinds = {process.kind for process in processes(text, project)}
        if not kinds <= {"compose", "kubernetes", "dockerfile"} or _on_alpine(project) or "dumb-init" in source:
            return
        if re.search(r"(?m)^SHELL\b|tini\b.*-g\b", source):
            return
    for command in _started(text, project):
        if command.name == "worker" and not command.direct and command.after not in ("|", "|&"):
            shell = "what the shell runs beside it" if command.after == "&" else "the shell, which does not pass it on"
            yield Problem(f"TERM goes to {shell}: this worker works on until it is killed", command.line)


POOLS = {"solo", "threads", "gevent", "eventlet"}  # without child processes


@rule("DCE812", "signal-to-group", "error", "production-deployment#systemd-and-supervisor")
def signal_to_group(text: TextFile, project: Project) -> Iterator[Problem]:
    """The process manager sends TERM to the worker's children as well.

    Why: systemd's default (`KillMode=control-group`) and supervisor's `stopasgroup=true` signal the whole group. The
        pool's children die at once of TERM, in the middle of their tasks, while the parent begins its warm shutdown.
    Fix: `KillMode=mixed` in the unit; `stopasgroup=false` with `killasgroup=true` in supervisor.
    Source: `celery/concurrency/prefork.py` resets SIGTERM to its default in each child (`WORKER_SIGRESET`), and
        https://manned.org/systemd.kill.5 says whom `control-group` and `mixed` signal.

    Bad:
        === worker.service
        [Service]
        ExecStart=/srv/venv/bin/celery -A shop worker

    Bad:
        === supervisord.conf
        [program:worker]
        command=/srv/venv/bin/celery -A shop worker
        stopasgroup=true

    Good:
        === worker.service
        [Service]
        ExecStart=/srv/venv/bin/celery -A shop worker
        KillMode=mixed

    Good:
        === supervisord.conf
        [program:worker]
        command=/srv/venv/bin/celery -A shop worker
        stopasgroup=false
        killasgroup=true
    """
    for process in processes(text, project):
        worker = process.first("worker")
        if worker is None or worker.option("-P", "--pool") in POOLS:
            continue
        if process.kind == "systemd" and "execstop" not in process.settings:
            line, mode = process.settings.get("killmode", (process.line, "control-group"))
            if mode.strip().lower() == "control-group":
                yield Problem("without KillMode=mixed TERM kills the pool's children in mid-task", line)
        elif process.kind == "supervisor" and "stopasgroup" in process.settings:
            line, value = process.settings["stopasgroup"]
            if value.strip().lower() in ("true", "1", "yes", "on"):
                yield Problem("stopasgroup: TERM kills the pool's children in mid-task", line)


SECONDS = {"ms": 0.001, "us": 0.000001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _duration(text: str) -> float | None:
    """Seconds of ``90``, ``1m30s``, ``5min``; None where it cannot be told."""
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip())
    whole = "".join(number + unit for number, unit in parts)
    if not parts or whole != re.sub(r"\s", "", text) or any(unit not in SECONDS for _, unit in parts):
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _limit(command: Command, project: Project) -> tuple[float, str] | None:
    """How long a task may run on a worker, and what says so."""
    for option, key in (("--time-limit", "task_time_limit"), ("--soft-time-limit", "task_soft_time_limit")):
        given = command.option(option)
        if given is not None:
            seconds = _duration(given)
            return (seconds, option) if seconds is not None else None
        values = project.setting(key)
        if values:
            known = len(values) == 1 and isinstance(values[0], (int, float)) and not isinstance(values[0], bool)
            return (float(values[0]), key) if known and values[0] else None
    return None


def _grace(process: Process, path: str) -> tuple[float, int, str] | None:
    """Seconds between TERM and KILL, the line that says so, and its name."""
    node, document = process.node, process.document
    if process.kind == "compose" and node is not None:
        name = "stop_grace_period"
        given = node.get(name)
        if given is None and not re.search(r"prod|deploy|stack|swarm", path.lower()):
            return None
        default = 10.0
    elif process.kind == "kubernetes" and document is not None:
        name = "terminationGracePeriodSeconds"
        given = document.get("spec", "template", "spec", name) or document.get("spec", name)
        default = 30.0
    elif process.kind == "supervisor":
        name = "stopwaitsecs"
        given = Node(*process.settings[name]) if name in process.settings else None
        default = 10.0
    else:
        return None
    if given is None:
        return default, process.line, f"{name} (its default)"
    seconds = _duration(given.value) if isinstance(given.value, str) else None
    return (seconds, given.line, name) if seconds is not None else None


@rule("DCE813", "grace-below-time-limit", "warning", "production-deployment#shutdown")
def grace_below_time_limit(text: TextFile, project: Project) -> Iterator[Problem]:
    """The platform kills a worker before its tasks' time limit is over.

    Why: at TERM the worker waits for running tasks, for as long as their time limit lets them. A platform that sends
        KILL earlier (Compose and supervisor after 10 s, Kubernetes after 30 s, unless told) ends them in the middle.
    Fix: a grace period of the time limit and a minute: stop_grace_period, terminationGracePeriodSeconds, stopwaitsecs.
    Source: https://kubernetes.recipes/recipes/configuration/kubernetes-terminationgraceperiodseconds/ says 30 seconds,
        https://manpages.ubuntu.com/manpages/bionic/man1/docker-container-stop.1.html says 10.

    Bad:
        === shop/settings.py
        CELERY_TASK_TIME_LIMIT = 300

        === worker.yaml
        kind: Deployment
        spec:
          template:
            spec:
              containers:
                - name: worker
                  command: [celery, -A, shop, worker]

    Good:
        === shop/settings.py
        CELERY_TASK_TIME_LIMIT = 300

        === worker.yaml
        kind: Deployment
        spec:
          template:
            spec:
              terminationGracePeriodSeconds: 360
              containers:
                - name: worker
                  command: [celery, -A, shop, worker]
    """
    if not is_production(text.path):
        return
    for process in processes(text, project):
        worker = process.first("worker")
        limit = _limit(worker, project) if worker is not None else None
        grace = _grace(process, text.path)
        if limit is not None and grace is not None and grace[0] < limit[0]:
            seconds, line, name = grace
            yield Problem(
                f"{name} {seconds:g} s: KILL comes before the {limit[0]:g} s that {limit[1]} lets a task run", line
            )


# What stands around the workers.


def _host_is(name: str, url: str | None) -> bool:
    return bool(url) and bool(re.search(rf"//(?:[^/@]*@)?{re.escape(name)}(?=[:/]|$)", url or ""))


@rule("DCE814", "evicting-broker", "error", "configuration-guide#redis-broker")
def evicting_broker(text: TextFile, project: Project) -> Iterator[Problem]:
    """The Redis that is the broker may evict any key.

    Why: a queue is one key without an expiry. With `maxmemory-policy allkeys-…` Redis deletes a whole queue, with every
        task in it, when memory runs short, and says nothing.
    Fix: `--maxmemory-policy noeviction` for the broker; give the cache a Redis of its own.
    Source: `kombu/transport/redis.py` pushes all messages of a queue and priority to one list (`_put`);
        https://redis.io/docs/latest/develop/reference/eviction/ says what each policy may remove.

    Bad:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://redis:6379/0"

        === compose.yml
        services:
          redis:
            image: redis
            command: redis-server --maxmemory 256mb --maxmemory-policy allkeys-lru
          celery:
            command: celery -A shop worker

    Good:
        === shop/settings.py
        CELERY_BROKER_URL = "redis://redis:6379/0"

        === compose.yml
        services:
          redis:
            image: redis
            command: redis-server --maxmemory 256mb --maxmemory-policy noeviction
          celery:
            command: celery -A shop worker
    """
    given = re.findall(r"BROKER_URL\w*\W{1,4}(rediss?://\S+)", "\n".join(text.lines))
    urls = [*project.setting_texts("broker_url"), *given]
    for process in processes(text, project):
        if process.kind != "compose" or process.node is None:
            continue
        command = process.node.get("command") or process.node.get("entrypoint")
        policy = re.search(r"--maxmemory-policy\s+(allkeys-\w+)", " ".join(argv(command)))
        if command is not None and policy and any(_host_is(process.name, url) for url in urls):
            yield Problem(f"{policy[1]} lets Redis delete whole queues of the broker ({process.name})", command.line)
