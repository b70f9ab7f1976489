"""Every command line of the pages and the README is one that its program takes, as that program's own parser says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from command_lines import FILES, Command, commands
from command_parsers import (
    celery_problem,
    flower_problem,
    flower_variables,
    kubectl_problem,
    make_problem,
    pip_problem,
)
from pages import PAGES, ROOT, SKELETON, Environment, build

COMMANDS = [command for path in FILES for command in commands(path)]
PARSERS = {"pip": pip_problem, "kubectl": kubectl_problem, "make": make_problem}
CHECKED_BELOW = {"celery", "manage.py", "redis-cli", "redis-server", "rabbitmqctl"}
# What else the blocks start, and why no test here reads it.
OTHERS = {
    **dict.fromkeys(("claude", "codex", "gemini", "opencode", "npx"), "a client's own command line, see tests/clients"),
    **dict.fromkeys(("export", "find", "grep", "mkdir", "rm", "useradd"), "part of every system"),
    "python": "the validators, see tests/validators/test_cli.py",
}
AT_LEAST = {"celery": 18, "manage.py": 3, "redis-cli": 2, "redis-server": 1, "rabbitmqctl": 1, "kubectl": 4, "pip": 3}
AT_LEAST |= {"bash": 30, "ini": 2, "yaml": 5, "dockerfile": 3, "span": 8}

# Tags and options are looked at by the real commands; `check --tag` also wants the tag registered.
MANAGE = """
import importlib, json, sys
import django
from django.core.management import CommandError, get_commands, load_command_class
from django.core.checks.registry import registry

django.setup()
argvs, modules = json.loads(sys.argv[1])
for module in modules:
    importlib.import_module(module)
problems = []
for name, *words in argvs:
    try:
        app = get_commands()[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        options = command.create_parser("manage.py", name).parse_args(words)
        for tag in (getattr(options, "tags", None) or ()) if name == "check" else ():
            if not registry.tag_exists(tag, include_deployment_checks=True):
                raise CommandError(f"no check has the tag {tag!r}")
        problems.append(None)
    except KeyError:
        problems.append(f"no command {name!r}")
    except CommandError as error:
        problems.append(str(error))
print(json.dumps(problems))
"""


def of(*programs: str) -> list:
    return [pytest.param(command, id=command.place) for command in COMMANDS if command.program in programs]


def test_enough_was_found() -> None:
    seen = Counter(command.program for command in COMMANDS) + Counter(command.where for command in COMMANDS)
    lacking = {kind: (seen[kind], least) for kind, least in AT_LEAST.items() if seen[kind] < least}
    assert not lacking, f"(found, expected): {lacking}"


def test_no_program_is_passed_over() -> None:
    known = {*PARSERS, *CHECKED_BELOW, *OTHERS}
    strange = [str(command) for command in COMMANDS if command.program not in known]
    assert not strange, f"give it a parser, or name it in OTHERS: {strange}"


@pytest.mark.parametrize("command", of("celery"))
def test_celery_command(command: Command) -> None:
    if "flower" in command.argv:
        _need_flower()
    assert not (problem := celery_problem(list(command.argv[1:]), mention=command.where == "span")), (
        f"{command}: {problem}"
    )


@pytest.mark.parametrize("command", of(*PARSERS))
def test_other_command(command: Command) -> None:
    assert not (problem := PARSERS[command.program](list(command.argv[1:]))), f"{command}: {problem}"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("celery -A shop wroker", "No such command 'wroker'"),
        ("celery -A shop worker --concurency 4", "--concurrency"),
        ("celery -A shop worker --concurrency many", "non-negative integer"),
        ("celery -A shop worker --max-tasks-per-child lots", "not a valid integer"),
        ("celery -A shop worker -l LOUD", "is not one of"),
        ("celery -A shop worker -P forks", "is not one of"),
        ("celery -A shop worker default", "Unable to parse|Error"),
        ("celery -A shop worker -n default@/h", "no node name"),
        ("celery worker -A shop", "No such option '-A'"),
        ("celery -A shop beat -b redis://", "No such option '-b'"),
        ("celery -A shop beat -S djang", "no scheduler 'djang'"),
        ("celery worker -l INFO", "without -A"),
        ("celery -A sohp worker", "no such package"),
        ("celery -A shop inspect actives", "not recognized"),
        ("celery -A shop inspect terminate", "not recognized"),
        ("celery -A shop inspect query_task", "names no task"),
        ("celery -A shop inspect ping extra", "takes no arguments"),
        ("celery -A shop control rate_limit a 1/m b", "takes arguments"),
        ("celery -A shop inspect ping --timeout soon", "not a valid float"),
        ("celery -A shop control terminate KILL", "names no task"),
        ("celery -A shop control rate_limit orders.tasks.ship", "rate_limit"),
        ("celery -A shop control pool_grow some", "invalid literal"),
        ("celery upgrade setting shop/settings.py", "No such command 'setting'"),
        ("celery upgrade settings", "Missing argument"),
        ("celery -A shop purge --forse", "--force"),
        ("celery -A shop", "without a sub-command"),
        ("pip instal celery", "no command"),
        ("pip install --no-cache celery --upgrde", "no such option"),
        ("kubectl rollout unod deployment/web", "not in the table"),
        ("kubectl rollout status deployment/web --timout 1m", "--timout"),
        ("make tets", "no target"),
    ],
)
def test_wrong_command_is_refused(line: str, says: str) -> None:
    [command] = commands(FILES[0], f"```bash\n{line}\n```\n")
    assert command.line == 2
    parser = PARSERS.get(command.program, celery_problem)
    assert re.search(says, parser(list(command.argv[1:])) or "accepted")


@pytest.mark.parametrize(
    "line",
    [
        "celery -A shop --workdir /nowhere --loader app worker -c 2 --autoscale 8,2 -Q a,b -n w@%h",
        "celery -A shop worker --concurrency $N",
        "celery -A shop worker -c <number> -- worker.prefetch_multiplier=1",
        "celery -A shop beat -S django_celery_beat.schedulers:DatabaseScheduler --max-interval 5",
        "celery -A shop control pool_grow N -d celery@$HOSTNAME",
        "celery -A shop control rate_limit TASK 10/m",
        "celery -A shop inspect query_task ID ID",
        "celery -A shop status --json",
        "celery --version",
    ],
)
def test_right_command_is_taken(line: str) -> None:
    [command] = commands(FILES[0], f"```bash\n{line}\n```\n")
    assert celery_problem(list(command.argv[1:])) is None


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("```bash\nA=1 exec celery -A x \\\n  worker && echo 'b\nc' # d\nmake a | b 2>/dev/null\n```", None),
        ("```console\n$ celery -A shop status\n-> celery@a: OK\n```", ["celery -A shop status"]),
        ("```text\ncelery -A shop status\ncelery@a: OK\n```", ["celery -A shop status"]),
        (
            "```ini\n[Service]\nExecStart=-/srv/bin/celery -A shop \\\n  worker -n a@%h\n```",
            ["celery -A shop worker -n a@/h"],
        ),
        ("```ini\n[program:a]\ncommand=celery -A shop worker -n a@%%h\n```", ["celery -A shop worker -n a@%h"]),
        ("```yaml\na: {command: [celery, -A], args: [shop]}\n```", ["celery -A shop"]),
        ('```yaml\na: {command: [sh, -c, "exec celery -A shop status && ls"]}\n```', ["celery -A shop status", "ls"]),
        ("```yaml\na: &b {command: celery status}\nc: *b\n```", ["celery status"]),
        ('```yaml\ntest: ["CMD-SHELL", "celery status || exit 1"]\n```', ["celery status", "exit 1"]),
        ("```yaml\nargs: [celery, status]\n```", ["celery status"]),
        ('```dockerfile\nFROM a\nRUN pip install a \\\n  b\nCMD ["celery"]\n```', ["pip install a b", "celery"]),
        ("Run `python manage.py check` and `celery status`, not `celery`.", ["manage.py check", "celery status"]),
    ],
)
def test_commands_are_found(block: str, expected: list[str] | None) -> None:
    found = [" ".join(command.argv) for command in commands(FILES[0], block + "\n")]
    assert found == (expected or ["celery -A x worker", "echo b\nc", "make a", "b"])


# Flower


def _need_flower() -> None:
    pytest.importorskip("flower", reason="needs the PyPI package flower (dev group)")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--adress=127.0.0.1"], "adress"),
        (["--port=http"], "invalid literal"),
        (["--broker=redis://"], "broker"),
        (["--state-save-interval"], "requires a value"),
        (["extra"], "no argument 'extra'"),
    ],
)
def test_wrong_flower_option_is_refused(argv: list[str], says: str) -> None:
    _need_flower()
    assert says in (flower_problem(argv) or "accepted")


def test_flower_variables_exist() -> None:
    _need_flower()
    inspected = 0
    for path in FILES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in re.findall(r"(?<![$\w{])FLOWER_[A-Z0-9_]+", line):
                inspected += 1
                assert name in flower_variables(), f"{path.relative_to(ROOT)}:{number}: Flower reads no {name}"
    assert inspected >= 2
    assert "FLOWER_BASIC_AUHT" not in flower_variables()


# manage.py


@pytest.mark.parametrize(
    "page", sorted({c.path for c in COMMANDS if c.program == "manage.py"}), ids=lambda page: page.stem
)
def test_manage_commands(page: Path, tmp_path: Path) -> None:
    """The command is Django's, an installed app's or the page's own, and takes these options."""
    asked = [command for command in COMMANDS if command.program == "manage.py" and command.path == page]
    problems = _manage(page, tmp_path, [list(command.argv[1:]) for command in asked])
    wrong = [f"{command}: {problem}" for command, problem in zip(asked, problems, strict=True) if problem]
    assert not wrong, "\n".join(wrong)


def test_wrong_manage_commands_are_refused(tmp_path: Path) -> None:
    [page] = [page for page in PAGES if page.stem == "monitoring-observability"]
    argvs = [["queue_exporter"], ["chek"], ["check", "--deplyo"], ["check", "--tag", "none"], ["migrate", "-v", "9"]]
    fine, *problems = _manage(page, tmp_path, argvs)
    assert fine is None  # the page's own command
    expected = ["no command", "unrecognized arguments", "no check has the tag", "invalid choice"]
    assert all(want in (problem or "") for want, problem in zip(expected, problems, strict=True)), problems


def _manage(page: Path, tmp_path: Path, argvs: list[list[str]]) -> list[str | None]:
    """Ask Django in the page's project; a text that is no page (the README) is asked about in the bare shop."""
    source = build(page if page in PAGES else SKELETON, tmp_path, Environment("newest", Path(sys.executable)))
    done = subprocess.run(
        [sys.executable, "-c", MANAGE, json.dumps([argvs, source.modules])],
        cwd=tmp_path,
        env={"DJANGO_SETTINGS_MODULE": "shop.settings", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Redis and RabbitMQ


@contextmanager
def redis(*options: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A private server on a socket of its own, started with the options as written."""
    if not shutil.which("redis-server"):
        pytest.skip("needs redis-server and redis-cli: apt-get install redis-server")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a socket's path must be short
        socket = f"{folder}/s"
        command = ["redis-server", *options, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            deadline = time.monotonic() + 10
            while not Path(socket).exists() and server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            yield server, socket
        finally:
            server.terminate()
            server.communicate(timeout=10)


def redis_cli(socket: str, *words: str) -> str | None:
    done = subprocess.run(["redis-cli", "-e", "-s", socket, *words], capture_output=True, text=True, timeout=10)
    said = (done.stdout + done.stderr).strip()
    if done.returncode or (words[0].upper() == "CONFIG" and not said):
        return said or "no such setting"
    return None


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with redis() as (_, path):
        yield path


@pytest.mark.parametrize("command", of("redis-cli"))
def test_redis_command_runs(command: Command, socket: str) -> None:
    assert not (problem := redis_cli(socket, *command.argv[1:])), f"{command}: {problem}"


@pytest.mark.parametrize("command", of("redis-server"))
def test_redis_server_starts(command: Command) -> None:
    with redis(*command.argv[1:]) as (server, _):
        assert server.poll() is None, f"{command}: {server.stdout.read()}"


@pytest.mark.parametrize(
    "words",
    ["CONFG GET maxmemory", "CONFIG GET maxmemory-polcy", "ACL SETUSER shop on +@al", "ACL SETUSR shop"],
)
def test_wrong_redis_command_is_refused(words: str, socket: str) -> None:
    assert redis_cli(socket, *words.split())


@pytest.mark.parametrize("options", ["--maxmemory-policy noevict", "--apendonly yes"])
def test_wrong_redis_option_is_refused(options: str) -> None:
    with redis(*options.split()) as (server, _):
        assert server.wait(timeout=10) != 0


def rabbitmqctl_problem(argv: list[str]) -> str | None:
    """The command's own help names its options; a policy's definition is JSON."""
    if not shutil.which("rabbitmqctl"):
        pytest.skip("needs rabbitmqctl: apt-get install rabbitmq-server")
    done = _rabbitmqctl_help(argv[0])
    if "Only root or rabbitmq" in done.stdout + done.stderr:
        pytest.skip("rabbitmqctl must be run as root")
    if done.returncode:
        return f"rabbitmqctl has no command {argv[0]!r}"
    strange = {word.partition("=")[0] for word in argv if word.startswith("--")} - set(
        re.findall(r"--[\w-]+", done.stdout)
    )
    if strange:
        return f"rabbitmqctl {argv[0]} has no option {', '.join(sorted(strange))}"
    try:
        json.loads(argv[-1]) if argv[0] == "set_policy" else None
    except ValueError as error:
        return f"the definition is no JSON: {error}"
    return None


@cache
def _rabbitmqctl_help(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["rabbitmqctl", "help", name], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", of("rabbitmqctl"))
def test_rabbitmqctl_command(command: Command) -> None:
    assert not (problem := rabbitmqctl_problem(list(command.argv[1:]))), f"{command}: {problem}"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["set_polcy", "a", "b", "{}"], "no command"),
        (["set_policy", "--aply-to", "queues", "a", "b", "{}"], "--aply-to"),
        (["set_policy", "a", "b", "{'c': 1}"], "no JSON"),
    ],
)
def test_wrong_rabbitmqctl_command_is_refused(argv: list[str], says: str) -> None:
    assert says in (rabbitmqctl_problem(argv) or "accepted")
